"""The one definition of the features, for training, batch and live requests alike.

A row is a series, an origin (the last period that may be known) and a step: its target lies ``step`` periods after
the origin. History enters up to the origin alone; known-ahead columns enter at the target too. In training the
origin lies a random step before each target, in a forecast it is the panel's cutoff, so one model serves all
steps, and the near ones see the newest rows.

All series of a block lie in one array of shape ``(series, columns)`` that ends at the cutoff; windows are summed
by :mod:`everloop.models.windows`, so a row has the same bits in a long block and in a tail of ``spec.memory``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.models.blocks import Block
from everloop.models.feature_spec import SEASONAL_LAGS, SEASONAL_MEANS, FeatureSpec
from everloop.models.neighbours import nearest_changes, nearest_events
from everloop.models.windows import window_counts, window_means

__all__ = ["Features", "Rows", "features_of"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_WAKING = 0.1
"""A series that rests has at least this share of its long-run level, since it may wake."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of a block are wanted: each array has shape ``(rows,)``.

    Attributes:
        series: the row of the block.
        origin: the block's column of the last period that may be known; negative before the block.
        step: how far the target lies after the origin, at least 1.
    """

    series: Ints
    origin: Ints
    step: Ints

    @classmethod
    def ahead(cls, n_series: int, columns: int, horizon: int) -> Rows:
        """The rows of a forecast: each series' next ``horizon`` steps, series after series."""
        return cls(
            series=np.repeat(np.arange(n_series), horizon),
            origin=np.full(n_series * horizon, columns - 1),
            step=np.tile(np.arange(1, horizon + 1), n_series),
        )


@dataclass(frozen=True, slots=True)
class Features:
    """The features of some rows.

    Attributes:
        matrix: shape ``(rows, len(spec.names))``, NaN where there is no history.
        scale: the size of the series at the origin, shape ``(rows,)``, above zero. Everything in the matrix that has
            the target's unit is given in units of it, and so is the target in training.
        deviation: the standard deviation of the middle window in the target's unit, NaN where there is none.
    """

    matrix: Floats
    scale: Doubles
    deviation: Doubles


def features_of(spec: FeatureSpec, block: Block, rows: Rows, *, least: float, unseen: float) -> Features:
    """The features of some rows.

    Args:
        spec: which features.
        block: the series.
        rows: the rows.
        least: the least scale, above zero.
        unseen: the scale of a series without history.
    """
    sizes, counters = _sizes(spec, block, rows), _counters(spec, block, rows)
    scale = np.maximum(np.where(np.isnan(sizes["scale"]), unseen, sizes["scale"]), least)
    out = np.empty((len(rows.series), len(spec.names)), dtype=np.float32)
    columns = iter(range(out.shape[1]))

    def put(values: NDArray[Any]) -> None:
        out[:, next(columns)] = values

    put(rows.step)
    put(scale)
    for name, values in sizes.items():
        if name != "scale":
            put(values / scale)
    for values in counters:
        put(values)
    target = rows.origin + rows.step
    times = block.frequency.times(block.cutoff - block.y.shape[1] + 1 + target)
    for part in spec.calendar:
        put(_calendar(part, times))
    for name in spec.known:
        for values in _covariate(spec, block.known[name], rows):
            put(values)
    for name in spec.known_codes:
        put(_at(block.known[name], rows.series, target))
    known_until = rows.origin + spec.horizon
    for name in spec.events:
        for near in nearest_events(block.known[name], rows.series, target, known_until):
            put(near)
    for name in spec.flags:
        for near in nearest_changes(block.known[name], rows.series, target, known_until):
            put(near)
    for name in spec.observed:
        usual = window_means(block.observed[name], [spec.middle])[spec.middle]
        put(_at(block.observed[name], rows.series, rows.origin))
        put(_at(usual, rows.series, rows.origin))
    for name in (*spec.static, *spec.static_codes):
        put(block.static[name][rows.series])
    for name, _ in spec.keys:
        put(block.static[f"key {name}"][rows.series])
    return Features(out, scale, sizes["deviation"])


def _sizes(spec: FeatureSpec, block: Block, rows: Rows) -> dict[str, Doubles]:
    """What has the target's unit, in the order of ``spec.names``, and the scale (NaN without history)."""
    series, origin = rows.series, rows.origin
    means = window_means(block.y, spec.windows)
    seasonal = window_means(block.y, SEASONAL_MEANS, stride=spec.season)
    square = window_means(np.square(block.y, dtype=np.float64), [spec.middle])[spec.middle]
    has_negative = bool((block.y < 0).any())
    size = window_means(np.abs(block.y), spec.windows[-2:]) if has_negative else means
    recent, long = (_at(size[window], series, origin) for window in spec.windows[-2:])
    # the newest period of the target's season that the origin knows
    same = origin + rows.step - spec.season * -(-rows.step // spec.season)
    variance = _at(square, series, origin) - _at(means[spec.middle], series, origin) ** 2
    return {
        "scale": np.where(np.isnan(recent), long, np.maximum(recent, _WAKING * long)),
        **{f"mean_{window}": _at(means[window], series, origin) for window in spec.windows},
        **{f"lag_{back}": _at(block.y, series, same - spec.season * back) for back in range(SEASONAL_LAGS)},
        **{f"seasonal_{terms}": _at(seasonal[terms], series, same) for terms in SEASONAL_MEANS},
        "last": _at(block.y, series, origin),
        "deviation": np.sqrt(np.maximum(variance, 0.0)),
    }


def _counters(spec: FeatureSpec, block: Block, rows: Rows) -> list[NDArray[Any]]:
    """What the target's past says without its unit, in the order of ``spec.names``."""
    middle, wide = spec.middle, spec.windows[-1]
    there = window_counts(~np.isnan(block.y), [middle, wide])
    zeros = window_counts(block.y == 0, [middle, wide])
    since = _since_sale(block.y, most=spec.memory)
    with np.errstate(invalid="ignore"):
        shares = [zeros[window] / there[window] for window in (middle, wide)]
    tables: list[NDArray[Any]] = [*shares, since, there[wide]]
    return [_at(table, rows.series, rows.origin) for table in tables]


def _covariate(spec: FeatureSpec, values: Floats, rows: Rows) -> list[NDArray[Any]]:
    """A known-ahead number at the target, relative to its usual value and to its last one before the origin."""
    usual = _at(window_means(values, [spec.middle])[spec.middle], rows.series, rows.origin)
    value = _at(values, rows.series, rows.origin + rows.step)
    last = _at(values, rows.series, rows.origin)
    with np.errstate(invalid="ignore", divide="ignore"):
        return [value, _finite(value / usual), _finite(value / last)]


def _at(values: NDArray[Any], series: Ints, column: Ints) -> NDArray[Any]:
    """Values at some columns, NaN outside."""
    is_inside = (column >= 0) & (column < values.shape[1])
    return np.where(is_inside, values[series, np.where(is_inside, column, 0)], np.nan)


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.isfinite(values), values, np.nan)


def _since_sale(y: Floats, *, most: int) -> Floats:
    """Periods since the last value above zero, at most ``most``, which also stands for "none seen"."""
    columns = np.arange(y.shape[1])[None, :]
    last = np.maximum.accumulate(np.where(y > 0, columns, -most), axis=1)
    return np.minimum(columns - last, most - 1).astype(np.float32)


def _calendar(part: str, times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    days = times.astype("M8[D]")
    months = times.astype("M8[M]")
    month = months.astype(np.int64) % 12
    match part:
        case "hour":
            value = (times.astype("M8[h]") - days.astype("M8[h]")).astype(np.int64)
        case "weekday":
            value = (days.astype(np.int64) + 3) % 7
        case "monthday":
            value = (days - months.astype("M8[D]")).astype(np.int64) + 1
        case "week":
            value = (days - times.astype("M8[Y]").astype("M8[D]")).astype(np.int64) // 7 + 1
        case "month":
            value = month + 1
        case _:
            value = month // 3 + 1
    return np.asarray(value, dtype=np.int64)
