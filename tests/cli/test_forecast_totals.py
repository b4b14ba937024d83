"""``everloop forecast --by``: totals add up, and have intervals learnt from their own past errors."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from everloop.cli.main import main
from everloop.core.project import Project
from everloop.serve.batch import totals

Capture = pytest.CaptureFixture[str]


def answer(capsys: Capture, *words: str, status: int = 0) -> Any:
    assert main([*words, "--json"]) == status
    told = capsys.readouterr()
    return json.loads(told.out if status == 0 else told.err)


def frame_of(answered: Any) -> pl.DataFrame:
    return pl.DataFrame(answered["forecasts"])


def test_totals_of_every_level_add_up(make_kiosk: Callable[..., Project], capsys: Capture, tmp_path: Path) -> None:
    root = make_kiosk(days=150).root
    at = ("-p", str(root))
    answer(capsys, "run", *at)
    series = frame_of(answer(capsys, "forecast", *at))
    answered = answer(capsys, "forecast", "--by", "total", "--by", "shop", "--by", "shop,item", *at)
    found = frame_of(answered)
    assert answered["rows"] == 7 * (1 + 2 + 6)
    assert found.columns == ["sum_by", "shop", "item", "day", "forecast", "lo-80", "hi-80"]
    by_shop = series.group_by("shop", "day").agg(pl.col("forecast").sum()).sort("shop", "day")
    own = found.filter(pl.col("sum_by") == "shop")
    assert own["forecast"].to_list() == pytest.approx(by_shop["forecast"].to_list())
    assert set(own["item"]) == {""}
    every = found.filter(pl.col("sum_by") == "total")
    assert every["forecast"].sum() == pytest.approx(series["forecast"].sum())
    itself = found.filter(pl.col("sum_by") == "shop,item").drop("sum_by")
    assert itself.sort("shop", "item", "day").equals(series.sort("shop", "item", "day"))
    width = {name: each["hi-80"].sum() - each["lo-80"].sum() for (name,), each in found.group_by("sum_by")}
    assert 0 < width["total"] < width["shop"], "errors that are independent cancel"

    lake = tmp_path / "lake"
    for out in (f"delta:{lake}", f"sqlite:///{tmp_path}/f.db", f"{tmp_path}/f.parquet", f"{tmp_path}/f.csv"):
        assert answer(capsys, "forecast", "--by", "shop", "--by", "total", "--out", out, *at)["is_written"]
    assert not answer(capsys, "forecast", "--by", "shop", "--by", "total", "--out", f"delta:{lake}", *at)["is_written"]
    assert answer(capsys, "forecast", "--by", "item", "--by", "total", "--out", f"delta:{lake}", *at)["is_written"]
    assert pl.read_parquet(tmp_path / "f.parquet").height == 21
    with sqlite3.connect(tmp_path / "f.db") as database:
        assert database.execute("SELECT count(*), min(sum_by) FROM totals").fetchone() == (21, "shop")
    database.close()


def test_totals_that_are_forecast_too_agree_with_the_series(
    make_kiosk: Callable[..., Project], capsys: Capture
) -> None:
    root = make_kiosk(days=150).root
    at = ("-p", str(root))
    answer(capsys, "run", *at)
    plain = frame_of(answer(capsys, "forecast", "--by", "total", *at))
    ways = ("-s", "forecast.reconcile=mint_shrink", "-s", 'forecast.totals=[[], ["shop"]]')
    ways += ("-s", "forecast.totals_candidate=statistical")
    total = frame_of(answer(capsys, "forecast", "--by", "total", *ways, *at))
    item = frame_of(answer(capsys, "forecast", "--by", "item", *ways, *at))
    series = frame_of(answer(capsys, "forecast", "--by", "series", *ways, *at))
    assert total["forecast"].to_list() != pytest.approx(plain["forecast"].to_list(), rel=1e-3)
    for part in (item, series):
        summed = part.group_by("day", maintain_order=True).agg(pl.col("forecast").sum())
        assert summed["forecast"].to_list() == pytest.approx(total["forecast"].to_list())
    assert (series["lo-80"] <= series["forecast"]).all()
    assert (total["lo-80"] < total["forecast"]).all()
    assert main(["forecast", "--by", "shop", *ways, *at]) == 0
    assert re.search(r"note: by shop: WAPE 0\.\d+ in the backtest's windows, 0\.\d+ as sums", capsys.readouterr().err)
    again = frame_of(answer(capsys, "forecast", "--by", "total", *ways, *at))
    assert again.equals(total)
    assert main(["forecast", "--by", "total", *ways[:2], *at]) == 2
    assert "needs forecast.totals" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--by", "shpo"), "total_column"),
        (("--by", "shop", "--by", "shop"), "total_twice"),
        (("--by", "series", "--by", "item,shop"), "total_twice"),
    ],
)
def test_levels_that_cannot_be(
    make_kiosk: Callable[..., Project], capsys: Capture, words: tuple[str, ...], code: str
) -> None:
    at = ("-p", str(make_kiosk(days=150).root))
    answer(capsys, "run", *at)
    assert answer(capsys, "forecast", *words, *at, status=2)["error"]["code"] == code


def test_only_as_much_history_is_read_as_is_needed(
    make_kiosk: Callable[..., Project], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_kiosk(days=330).root
    at = ("-p", str(root))
    answer(capsys, "run", *at)
    read: list[int] = []
    whole = totals.load_panel

    def recorded(project: Project, *, history: int, **named: Any) -> Any:
        read.append(history)
        return whole(project, history=history, **named)

    monkeypatch.setattr(totals, "load_panel", recorded)
    short = answer(capsys, "forecast", "--by", "total", "--by", "shop", *at)
    monkeypatch.setattr(totals, "_reach", lambda *_: 0)
    full = answer(capsys, "forecast", "--by", "total", "--by", "shop", *at)
    assert (read[0] > 230, read[0] < 330, read[1:]) == (True, True, [0])
    assert short["forecasts"] == full["forecasts"]


def test_a_series_that_was_not_seen_for_long_is_in_its_total(
    make_kiosk: Callable[..., Project], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_kiosk(days=150).root
    frame = pl.read_csv(root / "sales.csv")
    frame.filter((pl.col("item") != "tea") | (pl.col("day") < "2024-05-15")).write_csv(root / "sales.csv")
    at = ("-p", str(root))
    answer(capsys, "run", *at)
    series = frame_of(answer(capsys, "forecast", *at))
    assert set(series["item"]) == {"tea", "buns", "50/50"}
    monkeypatch.setattr(totals, "_reach", lambda *_: 5)
    found = frame_of(answer(capsys, "forecast", "--by", "item", *at))
    assert set(found["item"]) == {"tea", "buns", "50/50"}
    assert found["forecast"].sum() == pytest.approx(series["forecast"].sum())
