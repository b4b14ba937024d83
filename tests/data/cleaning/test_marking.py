"""Marks: what is found, that nothing from after a cutoff decides it, and what becomes of what is marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import poisson

from everloop.core.errors import DataError
from everloop.core.settings.cleaning import CleaningSettings
from everloop.data.cleaning.marking import mark, memory_of, with_marks
from everloop.data.marks import KINDS, Marks
from everloop.data.panel import Future, Panel

from .conftest import CUTOFF, intermittent

MakePanel = Callable[..., Panel]
PERIODS = 420


def cells(panel: Panel, marks: Marks, kind: str) -> set[tuple[int, int]]:
    """The marked cells of a kind as ``(series, periods before the cutoff)``."""
    rows = marks.row[marks.kind == KINDS.index(kind)]
    return set(
        zip(panel.series_of_rows()[rows].tolist(), (panel.cutoff - panel.index_of_rows()[rows]).tolist(), strict=True)
    )


def dirty(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Sales and prices of 40 articles with something of every kind planted in them."""
    random = np.random.default_rng(seed)
    y = random.poisson(6.0, (40, PERIODS))
    price = np.full(y.shape, 2.0)
    y[3, 300:312] = 0
    y[5, 405:] = 0
    y[:, 350] = 0
    y[7, 330] = -2
    y[9, 340] = 300
    price[11, 310:313] = 20.0
    price[12, 200] = 0.0
    return y, price


def test_each_kind_is_found_where_it_was_planted(make_panel: MakePanel) -> None:
    y, price = dirty()
    panel = make_panel(y, price=price)
    marks = mark(panel, CleaningSettings(price="price"))
    assert cells(panel, marks, "inferred_stock_out") == {
        *((3, PERIODS - 1 - day) for day in range(300, 312)),
        *((5, PERIODS - 1 - day) for day in range(405, PERIODS)),
    }
    assert cells(panel, marks, "closed_day") == {(series, PERIODS - 351) for series in range(40)}
    assert cells(panel, marks, "return") == {(7, PERIODS - 331)}
    assert cells(panel, marks, "outlier") == {(9, PERIODS - 341)}
    assert cells(panel, marks, "price_error") == {
        *((11, PERIODS - 1 - day) for day in (310, 311, 312)),
        (12, PERIODS - 201),
    }
    assert marks.counts() == {
        "closed_day": 40,
        "inferred_stock_out": 12 + PERIODS - 405,
        "return": 1,
        "outlier": 1,
        "price_error": 4,
    }


def test_told_stock_outs_come_before_inferred_ones(make_panel: MakePanel) -> None:
    y, _ = dirty()
    stock = np.full(y.shape, 50.0)
    stock[3, 298:312] = 0  # sold out in the middle of two days, too
    panel = make_panel(y, stock=stock)
    marks = mark(panel, CleaningSettings(stock_column="stock"))
    assert cells(panel, marks, "stock_out") == {(3, PERIODS - 1 - day) for day in range(298, 312)}
    assert {series for series, _ in cells(panel, marks, "inferred_stock_out")} == {5}


@pytest.mark.parametrize("treatment", ["leave_out", "impute"])
@pytest.mark.parametrize("back", [1, 3, 8, 9, 10, 60, 78, 79, 80, 81, 107, 109, 110, 115, 119, 120, 219])
def test_an_earlier_cutoff_sees_what_it_would_have_seen_then(make_panel: MakePanel, treatment: Any, back: int) -> None:
    """Cutting a marked panel back is the same as marking the panel of that day, whatever came later."""
    settings = CleaningSettings(
        price="price",
        inferred_stock_outs=treatment,
        closed_days=treatment,
        returns=treatment,
        outliers=treatment,
        price_errors=treatment,
    )
    y, price = dirty()
    planted = y.copy(), price.copy()
    planted[0][:, PERIODS - back :] = np.random.default_rng(back).poisson(0.3, (40, back)) * 9  # another future
    planted[1][:, PERIODS - back :] = 7.0
    then = make_panel(y, price=price).until(CUTOFF - back)
    expected = with_marks(then, settings)
    for history, prices in ((y, price), planted):
        seen = with_marks(make_panel(history, price=prices), settings).until(CUTOFF - back)
        assert np.array_equal(seen.y, expected.y, equal_nan=True)
        assert np.array_equal(seen.observed["price"], expected.observed["price"], equal_nan=True)
        assert np.array_equal(seen.scored(), expected.scored(), equal_nan=True)


def test_a_run_is_not_marked_before_it_is_long_enough(make_panel: MakePanel) -> None:
    y, _ = dirty()
    settings = CleaningSettings(inferred_stock_outs="leave_out")
    panel = with_marks(make_panel(y), settings)
    seen = []
    for day in range(299, 313):
        past = panel.until(CUTOFF - PERIODS + 1 + day)
        seen.append(int(np.isnan(past.y[past.offsets[3] : past.offsets[4]]).sum()))
    first = next(place for place, count in enumerate(seen) if count)
    assert seen == [0] * first + list(range(first, 13)) + [12]
    assert 3 <= first <= 5


def test_marks_depend_on_no_more_history_than_they_say(make_panel: MakePanel) -> None:
    random = np.random.default_rng(11)
    y = intermittent(30, 900, seed=4)
    for series in range(30):
        for _ in range(6):
            start, length = int(random.integers(200, 880)), int(random.integers(5, 90))
            y[series, start : start + length] = 0
    y[:, 700] = 0
    settings = CleaningSettings(inferred_stock_outs="leave_out", closed_days="impute")
    panel = make_panel(y)
    wide = memory_of(panel.frequency, settings)
    whole = with_marks(panel, settings)
    assert len(whole.marks or ()) > 1000
    for kept in (1, 50, 200):
        short = with_marks(panel.tail(kept + wide), settings).tail(kept)
        assert np.array_equal(short.scored(), whole.tail(kept).scored(), equal_nan=True)
        assert short.marks is not None
        assert whole.marks is not None
        assert np.array_equal(short.marks.known_at, whole.tail(kept).marks.known_at)  # type: ignore[union-attr]


@pytest.mark.parametrize("stay", [0.0, 0.3, 0.8])
def test_wrongly_marked_runs_stay_below_their_rate(make_panel: MakePanel, stay: float) -> None:
    """Where zeros come from the chain that the rule assumes, runs are marked at most as often as was set."""
    y = intermittent(1500, 560, seed=8, stay=stay)
    y[:, 0] = 1
    rate = 200.0
    settings = CleaningSettings(false_runs=rate)
    panel = make_panel(y)
    marks = mark(panel, settings)
    rows = marks.row[marks.kind == KINDS.index("inferred_stock_out")]
    begins = int(np.isin(panel.y[rows - 1] == 0, False).sum())
    expected = rate * marks.looked_at / 1e6
    assert begins <= poisson.ppf(0.999, expected)


def test_long_stock_outs_of_fast_sellers_are_found(make_panel: MakePanel) -> None:
    y = intermittent(400, 560, seed=9)
    random = np.random.default_rng(5)
    starts = random.integers(300, 500, 400)
    for series, start in enumerate(starts):
        y[series, start : start + 14] = 0
    panel = make_panel(y)
    marks = mark(panel, CleaningSettings())
    hit = cells(panel, marks, "inferred_stock_out")
    share = np.mean([(series, 560 - 1 - int(start) - 6) in hit for series, start in enumerate(starts)])
    zeros = (y[:, :280] == 0).mean(axis=1)
    fast = np.flatnonzero(zeros < 0.2)
    caught = np.mean([(int(series), 560 - 1 - int(starts[series]) - 6) in hit for series in fast])
    assert caught >= 0.97
    assert share > 0.4


def test_an_article_that_is_sold_no_more_is_no_stock_out_for_ever(make_panel: MakePanel) -> None:
    y = np.random.default_rng(1).poisson(6.0, (3, 500))
    y[1, 300:] = 0
    panel = make_panel(y)
    marks = mark(panel, CleaningSettings(longest_run=40))
    assert cells(panel, marks, "inferred_stock_out") == {(1, 499 - day) for day in range(300, 340)}


def test_imputed_is_the_mean_of_the_same_weekdays_before(make_panel: MakePanel) -> None:
    y, _ = dirty()
    panel = with_marks(make_panel(y), CleaningSettings(inferred_stock_outs="impute"))
    row = 3 * PERIODS
    expected = y[3, [302 - 7, 302 - 14, 302 - 21, 302 - 28]].mean()
    assert panel.y[row + 302] == pytest.approx(expected)
    # the second week of the run looks past the first one
    assert panel.y[row + 309] == pytest.approx(expected)
    assert np.isnan(panel.scored()[row + 302])
    assert panel.untreated().y[row + 302] == 0


def test_what_is_kept_stays_as_it_is(make_panel: MakePanel) -> None:
    y, price = dirty()
    panel = make_panel(y, price=price)
    kept = with_marks(panel, CleaningSettings(price="price"))
    assert np.array_equal(kept.y, panel.y)
    assert np.array_equal(kept.scored(), panel.y)
    assert kept.marks is not None
    assert kept.marks.to_dict()["kinds"]["outlier"] == {"periods": 1, "treatment": "keep"}


@pytest.mark.parametrize("frequency", ["1h", "1w", "1mo", "2d"])
def test_other_frequencies(make_panel: MakePanel, frequency: str) -> None:
    y = np.random.default_rng(2).poisson(8.0, (5, 1200))
    y[2, 1000:1030] = 0
    panel = make_panel(y, frequency=frequency)
    marks = mark(panel, CleaningSettings(longest_run=20))
    assert cells(panel, marks, "inferred_stock_out") == {(2, 1199 - day) for day in range(1000, 1020)}
    assert marks.counts() == {"inferred_stock_out": 20}


def test_missing_rows_neither_break_a_run_nor_lengthen_it(make_panel: MakePanel) -> None:
    y = np.random.default_rng(2).poisson(8.0, (5, PERIODS)).astype(float)
    y[:, 6::7] = np.nan  # no trade on Sundays
    y[1, 280:294] = np.where(np.isnan(y[1, 280:294]), np.nan, 0)
    panel = make_panel(y)
    marks = mark(panel, CleaningSettings())
    assert cells(panel, marks, "inferred_stock_out") == {
        (1, PERIODS - 1 - day) for day in range(280, 294) if day % 7 != 6
    }


@pytest.mark.parametrize(
    ("key", "name", "code"),
    [
        ("stock_column", "stok", "cleaning_column"),
        ("price", "prise", "cleaning_column"),
        ("store", "x", "cleaning_column"),
    ],
)
def test_a_column_that_is_not_there_is_named(make_panel: MakePanel, key: str, name: str, code: str) -> None:
    y, price = dirty()
    panel = make_panel(y, price=price, stock=price)
    with pytest.raises(DataError) as caught:
        mark(panel, CleaningSettings(**{key: name}))  # type: ignore[arg-type]
    assert caught.value.code == code
    assert caught.value.path == f"data.cleaning.{key}"


def test_stores_are_closed_one_by_one(make_panel: MakePanel) -> None:
    y = np.random.default_rng(2).poisson(4.0, (20, 200))
    y[:10, 150] = 0
    panel = make_panel(y)
    panel = replace(panel, keys=tuple(("a" if n < 10 else "b", f"i{n:04d}") for n in range(20)))
    one = mark(panel, CleaningSettings())
    each = mark(panel, CleaningSettings(store="shop"))
    assert cells(panel, one, "closed_day") == set()
    assert cells(panel, each, "closed_day") == {(series, 49) for series in range(10)}


def test_a_price_ahead_that_is_none_is_unknown(make_panel: MakePanel) -> None:
    y, price = dirty()
    panel = make_panel(y, price=price)
    ahead = np.full((40, 7), 2.0, dtype=np.float32)
    ahead[4, 2] = 0.0
    panel = replace(panel, known={"price": panel.observed["price"]}, observed={}, future=Future(7, {"price": ahead}))
    for treatment in ("leave_out", "impute"):
        made = with_marks(panel, CleaningSettings(price="price", price_errors=treatment))
        assert np.argwhere(np.isnan(made.future.columns["price"])).tolist() == [[4, 2]]
    assert with_marks(panel, CleaningSettings(price="price")).future.columns["price"][4, 2] == 0
