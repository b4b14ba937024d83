"""``everloop order``: from the champion and a table of stock to orders that go back to their release."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from everloop.cli.main import main
from everloop.core.project import Project
from everloop.serve.batch.ordering import OrderRows

Capture = pytest.CaptureFixture[str]
COSTS = ("costs.overstock=1", "costs.stockout=4", "costs.currency=EUR", "validate.windows=4", "validate.metric=cost")
NAMES = ["shop", "item", "day", "forecast", "stock", "on_order", "order_up_to", "order_quantity", "expected_cost"]
NAMES += ["critical_ratio", "release", "prediction"]


def answer(capsys: Capture, *words: str, status: int = 0) -> Any:
    assert main([*words, "--json"]) == status
    told = capsys.readouterr()
    return json.loads(told.out if status == 0 else told.err)


def stock_file(folder: Path, *rows: tuple[str, str, object, object], name: str = "stock.csv") -> str:
    file = folder / name
    frame = pl.DataFrame(rows, schema=["shop", "item", "stock", "on_order"], orient="row")
    (frame.write_csv if name.endswith("csv") else frame.write_parquet)(file)
    return str(file)


def test_orders_from_the_run_to_the_file(make_kiosk: Callable[..., Project], capsys: Capture, tmp_path: Path) -> None:
    root = make_kiosk(*COSTS, days=150).root
    at = ("-p", str(root), *(word for each in COSTS for word in ("-s", each)))
    assert main(["run", *at]) == 0
    told = capsys.readouterr().out
    assert "cost of orders (EUR)" in told
    assert re.search(r"COST .*for each sold +WAPE", told)
    assert main(["release", "champion", *at]) == 0
    assert "cost of orders" in capsys.readouterr().out
    assert main(["compare", "--metric", "wape", *at]) == 0
    assert re.search(r"WAPE +COST", capsys.readouterr().out)
    first, second = answer(capsys, "compare", "--metric", "cost", *at)
    assert first["value"] < second["value"]
    assert first["release"], "validate.metric = cost releases whose orders cost least"

    stock = stock_file(tmp_path, ("north", "tea", 10, 5), ("south", "50/50", 100_000, 0), ("south", "tea", -3, ""))
    out = tmp_path / "orders.csv"
    found = answer(capsys, "order", "--stock", stock, "--out", str(out), *at)
    frame = pl.read_csv(out)
    assert frame.columns == NAMES
    assert found["rows"] == frame.height == 6
    assert (frame["critical_ratio"] == 0.8).all()
    assert set(frame["release"]) == {found["release"]}
    assert answer(capsys, "trace", frame["prediction"][0], *at)["release"]
    forecast = pl.DataFrame(answer(capsys, "forecast", *at)["forecasts"])
    demand = forecast.group_by("shop", "item", maintain_order=True).agg(pl.col("forecast").sum())
    assert frame["forecast"].to_list() == pytest.approx(demand["forecast"].to_list())
    by_key = {(row["shop"], row["item"]): row for row in frame.to_dicts()}
    tea = by_key["north", "tea"]
    assert abs(tea["order_quantity"] - (tea["order_up_to"] - 15)) < 1
    assert by_key["south", "50/50"]["order_quantity"] == 0
    assert by_key["south", "50/50"]["expected_cost"] > 90_000
    assert by_key["south", "tea"]["stock"] == 0
    assert found["order_quantity"] == frame["order_quantity"].sum()
    assert found["expected_cost"] == pytest.approx(frame["expected_cost"].sum())

    assert main(["order", "--stock", stock, *at]) == 0
    shown = capsys.readouterr()
    assert "order_up_to" in shown.out
    assert "3 series have no row in the stock" in shown.err
    assert "1 series have a stock below zero" in shown.err
    assert "EUR" in shown.err

    packed = answer(capsys, "order", "-s", "costs.pack=24", "-s", "costs.periods=3", *at)["orders"]
    assert {row["order_quantity"] % 24 for row in packed} == {0.0}
    assert sum(row["forecast"] for row in packed) < 0.6 * frame["forecast"].sum()
    dear = answer(capsys, "order", *at, "-s", "costs.stockout=0.1")["orders"]
    levels = [row["order_up_to"] for row in dear]
    assert (np.array(levels) < frame["order_up_to"].to_numpy()).all(), "less where too much costs more"

    places = (f"delta:{tmp_path}/lake", f"sqlite:///{tmp_path}/o.db", f"{tmp_path}/o.parquet")
    for place in places:
        assert answer(capsys, "order", "--stock", stock, "--out", place, *at)["is_written"]
    assert not answer(capsys, "order", "--stock", stock, "--out", places[0], *at)["is_written"]
    assert answer(capsys, "order", "--out", places[0], *at)["is_written"], "another stock makes other orders"
    with sqlite3.connect(tmp_path / "o.db") as database:
        total = database.execute("SELECT sum(order_quantity) FROM orders").fetchone()[0]
    database.close()
    assert total == frame["order_quantity"].sum()


@pytest.fixture
def released(make_kiosk: Callable[..., Project], capsys: Capture) -> tuple[str, ...]:
    root = make_kiosk(days=150).root
    assert main(["run", "-p", str(root)]) == 0
    capsys.readouterr()
    return ("-p", str(root))


def test_what_cannot_be_ordered(released: tuple[str, ...], capsys: Capture, tmp_path: Path) -> None:
    costs = ("-s", "costs.overstock=1", "-s", "costs.stockout=4")
    found = answer(capsys, "order", *released, status=2)["error"]
    assert (found["code"], found["path"]) == ("settings_missing", "costs")
    cases: list[tuple[tuple[tuple[str, str, object, object], ...], str, str]] = [
        ((("north", "te", 1, 0),), "stock_series", "did you mean 'north/tea'?"),
        ((("north", "tea", 1, 0), ("north", "tea", 2, 0)), "stock_twice", ""),
        ((("north", "tea", "many", 0),), "stock_value", ""),
        ((("north", "tea", "inf", 0),), "stock_value", ""),
    ]
    for rows, code, hint in cases:
        stock = stock_file(tmp_path, *rows)
        found = answer(capsys, "order", "--stock", stock, *costs, *released, status=4)["error"]
        assert found["code"] == code
        assert hint in found["hint"]
        assert found["hint"]
        assert found["path"] == stock
    pl.DataFrame({"shop": ["north"], "item": ["tea"], "stck": [1]}).write_csv(tmp_path / "s.csv")
    found = answer(capsys, "order", "--stock", f"{tmp_path}/s.csv", *costs, *released, status=4)["error"]
    assert (found["code"], found["hint"]) == ("column_missing", "did you mean 'stck'?")
    far = ("-s", "costs.overstock=1", "-s", "costs.stockout=999")
    answered = answer(capsys, "order", *far, *released)
    assert {row["order_quantity"] for row in answered["orders"]} == {None}
    assert main(["order", *far, *released]) == 0
    assert "no order for 6 series: too few past errors" in capsys.readouterr().err
    found = answer(capsys, "order", "-s", "costs.overstock=1 prise", "-s", "costs.stockout=1", *released, status=2)
    assert found["error"]["code"] == "cost_column"


def test_rows_come_in_blocks(released: tuple[str, ...], capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from everloop.serve.batch import ordering

    kept: list[OrderRows] = []
    whole = ordering.order_rows

    def recorded(*given: Any) -> OrderRows:
        kept.append(whole(*given))
        return kept[-1]

    monkeypatch.setattr("everloop.cli.order.order_rows", recorded)
    answer(capsys, "order", "-s", "costs.overstock=1", "-s", "costs.stockout=4", *released)
    monkeypatch.setattr(ordering, "_BLOCK_ROWS", 4)
    [rows] = kept
    assert [block.height for block in rows.blocks()] == [4, 2]
    assert pl.concat(rows.blocks()).equals(rows.plain())
    assert np.isfinite(rows.orders.quantity).all()
