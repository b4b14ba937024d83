"""The settings, the stock and the commands of the guide to orders do what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from everloop.cli.main import main

GUIDE = (Path(__file__).parents[2] / "docs" / "how-to" / "order.md").read_text(encoding="utf-8")
SETTINGS = """
[project]
name = "shop"

[data]
source = "sales.csv"
series = ["store_id", "item_id"]
time = "date"
target = "units"
observed = ["price"]

[forecast]
horizon = 7

[train]
candidates = ["seasonal_naive"]

[tracking]
plots = false
"""


def block(kind: str) -> str:
    [found] = re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return str(found)


def sales(days: int = 119) -> pl.DataFrame:
    rng = np.random.default_rng(4)
    rows = []
    first = np.datetime64("2024-01-01")
    for number in range(8):
        level, price = rng.uniform(2, 9), round(float(rng.uniform(1, 4)), 2)
        for day in range(days):
            units = int(rng.poisson(level))
            rows.append(("CA_1", f"FOODS_1_{number:03d}", str(first + day), units, price))
    return pl.DataFrame(rows, schema=["store_id", "item_id", "date", "units", "price"], orient="row")


def test_the_guide_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "everloop.toml").write_text(SETTINGS + block("toml"), encoding="utf-8")
    sales().write_csv("sales.csv")
    [stock] = re.findall(r"^```\n(store_id,.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    (tmp_path / "stock.csv").write_text(stock, encoding="utf-8")
    for line in block("sh").splitlines():
        name, *words = shlex.split(line)
        assert name == "everloop"
        assert main(words) == 0
    told = capsys.readouterr()
    assert "cost of orders (EUR)" in told.out
    assert "7 series have no row in the stock" in told.err
    frame = pl.read_csv("orders.csv")
    columns = [
        name for row in re.findall(r"^\| (`.*?) \|", GUIDE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    assert set(columns[: columns.index("prediction") + 1]) == set(frame.columns) - {"store_id", "item_id", "date"}
    assert (frame["order_quantity"] % 6 == 0).all()
    assert frame["critical_ratio"].to_list() == pytest.approx([0.8] * 8)
    one = frame.filter(pl.col("item_id") == "FOODS_1_001").to_dicts()[0]
    assert (one["stock"], one["on_order"]) == (3.0, 12.0)
    assert abs(one["stock"] + one["on_order"] + one["order_quantity"] - one["order_up_to"]) < 6
