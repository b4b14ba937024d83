from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from everloop.core.errors import UsageError
from everloop.data.panel import Panel
from everloop.validate.hierarchy import Sums, wrmsse

LEVELS = [[], ["store"], ["dept"], ["store", "dept"], ["store", "item"]]


def slow_wrmsse(panel: Panel, actual: np.ndarray, forecast: np.ndarray, weights: np.ndarray) -> float:
    """The guide's formula, one sum at a time."""
    levels = []
    for columns in LEVELS:
        names = []
        for row, key in enumerate(panel.keys):
            values = dict(zip(panel.series_columns, key, strict=True)) | {"dept": str(panel.static["dept"][row])}
            names.append(tuple(values[column] for column in columns))
        level = 0.0
        for name in set(names):
            rows = [row for row, each in enumerate(names) if each == name]
            history = sum(panel.last(int(panel.lengths.max()))[row].astype(float) for row in rows)
            history = np.trim_zeros(np.nan_to_num(history), "f")
            scale = np.mean(np.diff(history) ** 2)
            error = sum(actual[row] - forecast[row] for row in rows)
            level += sum(weights[rows]) / sum(weights) * np.sqrt(np.mean(error**2) / scale)
        levels.append(level)
    return float(np.mean(levels))


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
