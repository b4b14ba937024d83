"""``everloop forecast --new``: series that are in no data yet, beside the others, everywhere that a batch goes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from everloop.cli.main import main
from everloop.core.project import Project
from everloop.store.engine import open_store
from everloop.store.facts import find_prediction
from kiosk import sales

Capture = pytest.CaptureFixture[str]
PLAN = "shop,item,promo\nsouth,scones,1\nnorth,007,\n"


def answer(capsys: Capture, *words: str, status: int = 0) -> Any:
    assert main([*words, "--json"]) == status
    told = capsys.readouterr()
    return json.loads(told.out if status == 0 else told.err)


@pytest.fixture
def shop(make_kiosk: Callable[..., Project], capsys: Capture) -> Project:
    """A kiosk with a champion, and a plan."""
    project = make_kiosk(days=150)
    (project.root / "plan.csv").write_text(PLAN)
    answer(capsys, "run", "-p", str(project.root))
    return project


def stored(project: Project, name: str) -> bytes:
    store = open_store(project.store_url)
    try:
        with store.read() as tx:
            found = find_prediction(tx, name)
        return found.request + found.response
    finally:
        store.close()


def test_new_series_come_after_the_others_wherever_a_batch_goes(shop: Project, capsys: Capture) -> None:
    root, at = shop.root, ("-p", str(shop.root))
    plain = answer(capsys, "forecast", *at)
    before = stored(shop, plain["prediction_id"])
    words = ("forecast", "--new", str(root / "plan.csv"), *at)
    grown = answer(capsys, *words)
    assert (grown["rows"], grown["new_series"]) == (42 + 14, 2)
    assert grown["prediction_id"] == plain["prediction_id"] != grown["new_prediction_id"]
    assert grown["forecasts"][:42] == plain["forecasts"]
    new = pl.DataFrame(grown["forecasts"][42:])
    assert new.columns == list(plain["forecasts"][0])
    assert new.select("shop", "item").unique(maintain_order=True).rows() == [("north", "007"), ("south", "scones")]
    assert new["day"].to_list() == [each["day"] for each in grown["forecasts"][:7]] * 2

    ids = {plain["prediction_id"]: 42, grown["new_prediction_id"]: 14}
    for out in ("f.csv", "f.parquet", f"delta:{root / 'lake'}", f"sqlite:///{root / 'f.db'}"):
        out = str(root / out) if out.startswith("f.") else out
        assert answer(capsys, *words, "--out", out)["is_written"]
        assert answer(capsys, *words, "--out", out)["is_written"] == (out == str(root / Path(out).name)), (
            "a file is always written, a table not again"
        )
    for file in (pl.read_csv(root / "f.csv", infer_schema=False), pl.read_parquet(root / "f.parquet")):
        assert file["item"].to_list() == [each["item"] for each in grown["forecasts"]]
    assert dict(pl.read_delta(root / "lake").group_by("prediction").len().rows()) == ids
    with sqlite3.connect(root / "f.db") as database:
        assert dict(database.execute("SELECT prediction, count(*) FROM forecasts GROUP BY 1").fetchall()) == ids
    database.close()

    assert answer(capsys, "forecast", "--out", f"delta:{root / 'lake'}", *at)["is_written"], "and they go without --new"
    assert dict(pl.read_delta(root / "lake").group_by("prediction").len().rows()) == {plain["prediction_id"]: 42}
    assert stored(shop, plain["prediction_id"]) == before


def test_new_series_are_a_prediction_that_can_be_repeated(shop: Project, capsys: Capture) -> None:
    root, at = shop.root, ("-p", str(shop.root))
    first = answer(capsys, "forecast", "--new", str(root / "plan.csv"), *at)
    traced = answer(capsys, "trace", first["new_prediction_id"], "--repeat", *at)
    assert traced["kind"] == "batch_new", traced
    assert traced["repeated"]["is_equal"]
    other = {"item": ["007", "scones"], "promo": [None, 1], "shop": ["north", "south"]}
    pl.DataFrame(other).write_parquet(root / "plan.parquet")
    again = answer(capsys, "forecast", "--new", str(root / "plan.parquet"), *at)
    assert again["new_prediction_id"] == first["new_prediction_id"], "neither order nor format tells them apart"
    (root / "plan.csv").write_text(PLAN.replace("scones,1", "scones,0"))
    assert answer(capsys, "forecast", "--new", str(root / "plan.csv"), *at)["new_prediction_id"] not in (
        first["prediction_id"],
        first["new_prediction_id"],
    )


def test_what_people_read_tells_of_them(shop: Project, capsys: Capture) -> None:
    assert main(["forecast", "--new", str(shop.root / "plan.csv"), "-p", str(shop.root)]) == 0
    told = capsys.readouterr()
    assert "2 more rows" in told.err
    assert "note: 2 series are new" in told.err
    assert "the last 14 rows are of 2 new series; prediction " in told.err
    assert "scones" in told.out


def test_a_plan_that_does_not_fit_writes_nothing(shop: Project, capsys: Capture) -> None:
    root, at = shop.root, ("-p", str(shop.root))
    sales(151).write_csv(root / "sales.csv")
    answer(capsys, "ingest", *at)
    file, out = root / "plan.csv", root / "f.csv"
    tries: list[tuple[str | None, tuple[str, ...], int, str]] = [
        (PLAN, ("--by", "total"), 2, "forecast_new"),
        ("shop,promo\nnorth,1\n", (), 4, "column_missing"),
        ("shop,item\nnorth,tea\n", (), 4, "launch_known"),
        ("", (), 4, "column_missing"),
        (None, (), 3, "file_missing"),
    ]
    for content, words, status, code in tries:
        file.unlink() if content is None else file.write_text(content)
        told = answer(capsys, "forecast", "--new", str(file), "--out", str(out), *words, *at, status=status)["error"]
        assert (told["code"], told["path"]) == (code, "--new" if words else str(file))
        assert told["hint"]
    assert not out.exists()
    with sqlite3.connect(shop.home / "everloop.db") as database:
        assert database.execute("SELECT count(*) FROM predictions").fetchone() == (0,)
    database.close()
