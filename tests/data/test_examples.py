"""The examples take in what was published: a small set in the published form, and the real files where they are."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from everloop.core.clock import ManualClock
from everloop.core.project import load_project
from everloop.data import table
from everloop.data.ingest import ingest
from everloop.data.loading import load_panel

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("EVERLOOP_SHARED_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Two items in two stores in the form of the M5 files; item B comes on sale in the second week."""
    first = date(2011, 1, 29)
    days = [first + timedelta(days=day) for day in range(1969)]
    weeks = [11101 + day // 7 for day in range(1969)]
    pl.DataFrame(
        {
            "date": days,
            "wm_yr_wk": weeks,
            "d": [f"d_{day + 1}" for day in range(1969)],
            "event_name_1": ["SuperBowl" if day in (8, 1945) else None for day in range(1969)],
            "event_name_2": ["Easter" if day == 1945 else None for day in range(1969)],
            **{f"snap_{state}": [day % 3 // 2 for day in range(1969)] for state in ("CA", "TX", "WI")},
        }
    ).write_csv(tmp_path / "calendar.csv")
    keys = [("A", "CA_1"), ("B", "CA_1"), ("A", "TX_1"), ("B", "TX_1")]
    wide = {
        "id": [f"{item}_{store}_evaluation" for item, store in keys],
        "item_id": [item for item, _ in keys],
        "dept_id": ["FOODS_1"] * 4,
        "cat_id": ["FOODS"] * 4,
        "store_id": [store for _, store in keys],
        "state_id": [store[:2] for _, store in keys],
    }
    sold = {f"d_{day + 1}": [(day + place) % 5 for place in range(4)] for day in range(1941)}
    pl.DataFrame({**wide, **sold}).write_csv(tmp_path / "sales_train_evaluation.csv")
    prices = [
        (store, item, week, 2.0 + (week % 2))
        for item, store in keys
        for week in sorted(set(weeks))
        if item == "A" or week > 11101
    ]
    names = ["store_id", "item_id", "wm_yr_wk", "sell_price"]
    pl.DataFrame(prices, schema=names, orient="row").write_csv(tmp_path / "sell_prices.csv")
    return tmp_path


@pytest.mark.parametrize(("store", "series"), [("CA_1", 2), ("ALL", 4)])
def test_m5_as_it_was_published(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, series: int
) -> None:
    monkeypatch.setenv("EVERLOOP_M5", str(published))
    monkeypatch.setenv("EVERLOOP_M5_STORE", store)
    project = load_project(ROOT / "examples" / "m5", home=tmp_path / "home", environ={})
    result = ingest(project, ManualClock(datetime(2016, 5, 23, tzinfo=UTC)))
    assert (result.quarantined, result.version.rows) == (0, series * 1941 - series // 2 * 7)
    panel, _ = load_panel(project, horizon=28)
    assert panel.keys[:2] == (("A", "CA_1"), ("A", "TX_1")) if store == "ALL" else panel.n_series == 2
    assert sorted(panel.lengths) == sorted([1941] * (series // 2) + [1934] * (series // 2))
    np.testing.assert_array_equal(panel.y[:10], [day % 5 for day in range(10)])
    labels = panel.categories["event"]
    assert labels == ("SuperBowl", "SuperBowl and Easter", "none")
    assert [labels[int(code)] for code in panel.future.columns["event"][0, 3:6]] == ["none", labels[1], "none"]
    assert panel.future.columns["price"].shape == (series, 28)
    assert not np.isnan(panel.future.columns["price"]).any()


@pytest.mark.skipif(not (SHARED / "rossmann").is_dir(), reason="the Rossmann data are not there")
def test_rossmann_by_settings_alone(tmp_path: Path) -> None:
    rows = (
        pl.scan_parquet(SHARED / "rossmann" / "train_days_with_sales.parquet").filter(pl.col("Store") <= 30).collect()
    )
    rows.write_parquet(tmp_path / "train.parquet")
    project = load_project(ROOT / "examples" / "rossmann", home=tmp_path / "home", environ={})
    result = ingest(project, ManualClock(datetime(2015, 8, 1, tzinfo=UTC)), source=str(tmp_path / "train.parquet"))
    assert (result.quarantined, result.added) == (0, rows.height)
    panel, _ = load_panel(project, horizon=42)
    assert panel.n_series == 30
    assert np.nansum(panel.y.astype(np.float64)) == rows["Sales"].sum()
    assert table.read(project.table)["Store"].n_unique() == 30
