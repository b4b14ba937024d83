"""The commands that ask and tell, beside the server that answers the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from everloop.cli.main import main
from everloop.store.facts import find_prediction

KEY = "S0/item%2F1"


@pytest.fixture
def run(world, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:  # type: ignore[no-untyped-def]
    def call(*arguments: str) -> tuple[int, str, str]:
        status = main([*arguments, "--project", str(world.project.root)])
        out, err = capfd.readouterr()
        return status, out, err

    return call


class TestForecast:
    def test_a_file_holds_one_row_a_series_and_date(self, world, run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        world.champion()
        for name in ("f.parquet", "f.csv"):
            status, out, err = run("forecast", "--out", str(tmp_path / name))
            assert (status, out) == (0, "")
            assert "84 rows" in err
        frame = pl.read_parquet(tmp_path / "f.parquet")
        assert frame.columns == ["store_id", "item_id", "date", "forecast", "lo-80", "hi-80", "lo-95", "hi-95"]
        assert frame.height == 6 * 14
        assert frame["date"].dtype == pl.Date
        assert frame.row(14)[:2] == ("S0", "item/1")
        week = world.panel.y.reshape(6, -1)[:, -7:]
        np.testing.assert_array_equal(frame["forecast"].to_numpy().reshape(6, 14), np.tile(week, 2))
        again = pl.read_csv(tmp_path / "f.csv", try_parse_dates=True)
        assert again.equals(frame)

    def test_it_is_stored_as_a_prediction(self, world, run) -> None:  # type: ignore[no-untyped-def]
        world.champion()
        status, out, _ = run("forecast", "--json", "--horizon", "3", "--level", "50")
        tree = json.loads(out)
        assert status == 0
        assert list(tree["forecasts"][0])[2:] == ["date", "forecast", "lo-50", "hi-50"]
        assert len(tree["forecasts"]) == 18
        with world.store.read() as tx:
            assert find_prediction(tx, tree["prediction_id"]).kind == "batch"

    def test_on_a_terminal_it_is_a_table(self, world, run) -> None:  # type: ignore[no-untyped-def]
        world.champion()
        status, out, err = run("forecast")
        assert status == 0
        assert "lo-80" in out
        assert "44 more rows" in err

    def test_failures(self, world, run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        status, _, err = run("forecast", "--out", "x.xlsx")
        assert (status, "error[format]" in err) == (2, True)
        status, _, err = run("forecast")
        assert (status, "error[no_champion]" in err) == (8, True)
        world.champion()
        status, _, err = run("forecast", "--out", str(tmp_path / "none" / "f.csv"))
        assert (status, "error[write]" in err) == (2, True)
        assert run("forecast", "--horizon", "99")[0] == 2


class TestPredict:
    def test_here_and_from_the_server_alike(self, world, run, serving) -> None:  # type: ignore[no-untyped-def]
        world.champion()
        asked = (
            "predict",
            KEY,
            "--horizon",
            "2",
            "--level",
            "80",
            "--what-if",
            "price=2.5,2",
            "--what-if",
            "event=fair",
        )
        here = json.loads(run(*asked, "--json")[1])
        with serving(world) as running:
            there = json.loads(run(*asked, "--json", "--url", running.url)[1])
            found = json.loads(run(*asked, "--json", "--url", "auto")[1])
            status, _, err = run("predict", "S0/none", "--url", running.url)
            assert (status, "error[series_unknown]" in err) == (2, True)
        assert here["forecasts"] == there["forecasts"] == found["forecasts"]
        with world.store.read() as tx:
            request = json.loads(find_prediction(tx, there["prediction_id"]).request)
        assert request["future"] == {"event": "fair", "price": [2.5, 2.0]}

    def test_a_series_that_is_in_no_data_yet(self, world, run) -> None:  # type: ignore[no-untyped-def]
        n = world.panel.n_series
        codes = (np.arange(n) % 2).astype(np.float32)
        texts = {**world.panel.categories, "dept": ("small", "large")}
        world.panel = replace(world.panel, static={"dept": codes}, categories=texts)
        world.champion()
        status, out, err = run("predict", "S1/x", "--static", "dept=small", "--what-if", "price=1.5", "--horizon", "2")
        assert (status, "S1/x" in out) == (0, True), err
        assert "note: 1 series is new" in err
        assert "error[static_column]" in run("predict", "S1/x", "--new")[2]
        assert "error[what_if]" in run("predict", "S1/x", "--static", "dept")[2]

    def test_as_a_table(self, world, run) -> None:  # type: ignore[no-untyped-def]
        world.champion()
        status, out, err = run("predict", KEY, "S1/item%2F0", "--horizon", "2")
        assert status == 0
        assert out.count("2026-03-01") == 2
        assert "prediction " in err

    def test_failures(self, world, run) -> None:  # type: ignore[no-untyped-def]
        world.champion()
        assert "error[server_away]" in run("predict", KEY, "--url", "http://127.0.0.1:9")[2]
        assert "error[server_away]" in run("predict", KEY, "--url", "auto")[2]
        assert "error[url]" in run("predict", KEY, "--url", "file:///etc/hosts")[2]
        assert "error[what_if]" in run("predict", KEY, "--what-if", "price")[2]
        assert "error[future_unknown]" in run("predict", KEY, "--what-if", "prize=2")[2]


class TestOutcomes:
    @pytest.fixture
    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "store_id": ["S0", "S9"],
                "item_id": ["item/1", "007"],
                "date": ["2026-02-27", "2026-02-28"],
                "units": [3, 4],
            }
        )

    @pytest.mark.parametrize("name", ["o.csv", "o.parquet", "o.json"])
    def test_from_any_file_once(self, world, run, tmp_path: Path, frame: pl.DataFrame, name: str) -> None:  # type: ignore[no-untyped-def]
        world.champion()
        path = tmp_path / name
        if name == "o.csv":
            frame.write_csv(path)
        elif name == "o.parquet":
            frame.with_columns(pl.col("date").str.to_date()).write_parquet(path)
        else:
            rows = [
                {"series": KEY, "time": "2026-02-27", "value": 3},
                {"series": {"store_id": "S9", "item_id": "007"}, "time": "2026-02-28", "value": 4},
            ]
            path.write_text(json.dumps({"outcomes": rows}))
        first = json.loads(run("outcomes", str(path), "--json")[1])
        assert first == {"stored": 2, "duplicates": 0, "unknown_series": ["S9/007"]}
        status, out, err = run("outcomes", str(path))
        assert (status, "known already" in out, "1 series are not forecast yet" in err) == (0, True, True)

    def test_failures(self, world, run, tmp_path: Path, frame: pl.DataFrame) -> None:  # type: ignore[no-untyped-def]
        assert "error[file_missing]" in run("outcomes", str(tmp_path / "none.csv"))[2]
        assert "error[format]" in run("outcomes", str(tmp_path / "none.xlsx"))[2]
        frame.rename({"units": "unit"}).write_csv(tmp_path / "a.csv")
        status, _, err = run("outcomes", str(tmp_path / "a.csv"))
        assert (status, "did you mean 'unit'?" in err) == (4, True)
        frame.with_columns(units=pl.lit("many")).write_csv(tmp_path / "b.csv")
        assert "at: outcomes[0].value" in run("outcomes", str(tmp_path / "b.csv"))[2]
        (tmp_path / "c.json").write_text("{")
        assert "error[file_unreadable]" in run("outcomes", str(tmp_path / "c.json"))[2]
        (tmp_path / "d.json").write_text('{"outcome": []}')
        assert "error[outcomes_shape]" in run("outcomes", str(tmp_path / "d.json"))[2]
        with world.store.read() as tx:
            assert tx.exec_driver_sql("SELECT count(*) FROM outcomes").scalar() == 0
