"""The one definition of the features, for training, batch and live requests alike.

A row is a series, an origin (the last period that may be known) and a step: its target lies ``step`` periods after
the origin. History enters up to the origin alone; known-ahead columns enter at the target too. In training the
origin lies a random step before each target, in a forecast it is the panel's cutoff, so one model serves all
steps, and the near ones see the newest rows.

All series of a block lie in one array of shape ``(series, columns)`` that ends at the cutoff; windows are summed
by :mod:`everloop.models.windows`, so a row has the same bits in a long block and in a tail of ``spec.memory``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.models.windows import window_means, window_sums

__all__ = ["Block", "FeatureSpec", "Features", "Rows", "features_of"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

# Windows that a season's multiples do not give well, by unit: about a week, a month, a quarter and a half year.
_WINDOWS = {"h": (24, 72, 168, 336), "d": (7, 14, 28, 56, 182), "w": (4, 8, 13, 26, 52), "mo": (3, 6, 12, 24)}
_SEASONAL_LAGS = 3
_WAKING = 0.1
"""A series that rests has at least this share of its long-run level, since it may wake."""
_SEASONAL_MEANS = (4, 8)


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Which features there are; made once from a training panel, and kept with the model.

    Attributes:
        season: the length of the season in steps.
        windows: lengths of the trailing windows in steps, rising.
        known: known-ahead columns that are numbers.
        known_codes: known-ahead columns that are codes of texts.
        observed: observed columns.
        static: static columns that are numbers.
        static_codes: static columns that are codes.
        calendar: parts of the target's date.
    """

    season: int
    windows: tuple[int, ...]
    known: tuple[str, ...] = ()
    known_codes: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    static_codes: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()

    @classmethod
    def of(cls, panel: Panel) -> FeatureSpec:
        """The features that a panel's frequency and columns give."""
        frequency = panel.frequency
        season = frequency.season
        windows = _WINDOWS.get(frequency.unit) if frequency.count == 1 else None
        coded = set(panel.categories)
        return cls(
            season=season,
            windows=windows or tuple(max(2, season) * each for each in (1, 2, 4, 8)),
            known=tuple(sorted(set(panel.known) - coded)),
            known_codes=tuple(sorted(set(panel.known) & coded)),
            observed=tuple(sorted(panel.observed)),
            static=tuple(sorted(set(panel.static) - coded)),
            static_codes=tuple(sorted(set(panel.static) & coded)),
            calendar=_calendar_parts(frequency),
        )

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> FeatureSpec:
        """What :meth:`to_json` gave."""
        fields: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in tree.items()}
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """The specification as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def memory(self) -> int:
        """How many trailing periods of a series its features depend on."""
        return max(self.windows[-1], self.season * max(*_SEASONAL_MEANS, _SEASONAL_LAGS))

    @property
    def middle(self) -> int:
        """The window of the deviation, the share of zeros and the usual level of a covariate."""
        return self.windows[min(2, len(self.windows) - 1)]

    @property
    def names(self) -> list[str]:
        """The features' names, in the order of the columns."""
        return [
            "step",
            "scale",
            *(f"mean_{window}" for window in self.windows),
            *(f"seasonal_lag_{which}" for which in range(1, _SEASONAL_LAGS + 1)),
            *(f"seasonal_mean_{terms}" for terms in _SEASONAL_MEANS),
            *("last", "deviation", "zero_share", "zero_share_long", "since_sale", "observations"),
            *(f"calendar_{part}" for part in self.calendar),
            *(f"known_{name}{suffix}" for name in self.known for suffix in ("", "_to_usual", "_to_last")),
            *(f"known_{name}" for name in self.known_codes),
            *(f"observed_{name}{suffix}" for name in self.observed for suffix in ("", "_usual")),
            *(f"static_{name}" for name in (*self.static, *self.static_codes)),
        ]

    @property
    def code_positions(self) -> list[int]:
        """The columns that hold codes of texts."""
        codes = {f"known_{name}" for name in self.known_codes} | {f"static_{name}" for name in self.static_codes}
        return [position for position, name in enumerate(self.names) if name in codes]


@dataclass(frozen=True, slots=True)
class Block:
    """Some series of a panel in rectangular arrays, NaN before a series begins.

    Attributes:
        frequency: the grid.
        cutoff: the grid index of the last column of ``y``.
        y: shape ``(series, columns)``.
        observed: likewise.
        known: shape ``(series, columns + steps ahead)``; ahead of the cutoff a missing number is the last known.
        static: shape ``(series,)``.
        filled: known-ahead columns of which a value ahead was missing and the last known one stands in.
    """

    frequency: Frequency
    cutoff: int
    y: Floats
    observed: dict[str, Floats]
    known: dict[str, Floats]
    static: dict[str, Floats]
    filled: tuple[str, ...] = ()

    @classmethod
    def cut(
        cls,
        panel: Panel,
        spec: FeatureSpec,
        series: Ints,
        *,
        columns: int,
        steps: int = 0,
        future: dict[str, Floats] | None = None,
    ) -> Block:
        """The last ``columns`` of some series with ``steps`` of known-ahead values.

        Values in ``future`` (shape ``(len(series), steps)``) stand in for the stored ones where they are no NaN.
        """
        source = panel.offsets[series + 1, None] - columns + np.arange(columns)[None, :]
        is_inside = source >= panel.offsets[series, None]
        source = np.where(is_inside, source, 0)

        def block(values: Floats) -> Floats:
            if not len(values):
                return np.full(source.shape, np.nan, dtype=np.float32)
            return np.where(is_inside, values[source], np.float32(np.nan))

        known, filled = {}, []
        for name in (*spec.known, *spec.known_codes):
            past = block(panel.known[name])
            ahead = np.full((len(series), steps), np.nan, dtype=np.float32)
            if name in panel.future.columns:
                stored = panel.future.columns[name][series, :steps]
                ahead[:, : stored.shape[1]] = stored
            asked = (future or {}).get(name)
            if asked is not None:
                ahead = np.where(np.isnan(asked), ahead, asked)
            if name in spec.known and steps:
                ahead, is_filled = _last_known(past, ahead)
                if is_filled:
                    filled.append(name)
            known[name] = np.concatenate([past, ahead], axis=1)
        return cls(
            frequency=panel.frequency,
            cutoff=panel.cutoff,
            y=block(panel.y),
            observed={name: block(panel.observed[name]) for name in spec.observed},
            known=known,
            static={name: panel.static[name][series] for name in (*spec.static, *spec.static_codes)},
            filled=tuple(filled),
        )


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
    for name in spec.observed:
        usual = window_means(block.observed[name], [spec.middle])[spec.middle]
        put(_at(block.observed[name], rows.series, rows.origin))
        put(_at(usual, rows.series, rows.origin))
    for name in (*spec.static, *spec.static_codes):
        put(block.static[name][rows.series])
    return Features(out, scale, sizes["deviation"])


def _sizes(spec: FeatureSpec, block: Block, rows: Rows) -> dict[str, Doubles]:
    """What has the target's unit, in the order of ``spec.names``, and the scale (NaN without history)."""
    series, origin = rows.series, rows.origin
    means = window_means(block.y, spec.windows)
    seasonal = window_means(block.y, _SEASONAL_MEANS, stride=spec.season)
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
        **{f"lag_{back}": _at(block.y, series, same - spec.season * back) for back in range(_SEASONAL_LAGS)},
        **{f"seasonal_{terms}": _at(seasonal[terms], series, same) for terms in _SEASONAL_MEANS},
        "last": _at(block.y, series, origin),
        "deviation": np.sqrt(np.maximum(variance, 0.0)),
    }


def _counters(spec: FeatureSpec, block: Block, rows: Rows) -> list[NDArray[Any]]:
    """What the target's past says without its unit, in the order of ``spec.names``."""
    middle, wide = spec.middle, spec.windows[-1]
    is_there = ~np.isnan(block.y)
    zeros = window_means(np.where(is_there, block.y == 0, np.nan), [middle, wide])
    counts = window_sums(is_there.astype(np.float64), [wide])
    since = _since_sale(block.y, most=spec.memory)
    return [_at(table, rows.series, rows.origin) for table in (zeros[middle], zeros[wide], since, counts[wide])]


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


def _last_known(past: Floats, ahead: Floats) -> tuple[Floats, bool]:
    """Missing values ahead replaced by the last known one of the series; whether one was replaced."""
    is_missing = np.isnan(ahead)
    if not is_missing.any():
        return ahead, False
    both = np.concatenate([past, ahead], axis=1)
    columns = np.arange(both.shape[1])[None, :]
    last = np.maximum.accumulate(np.where(np.isnan(both), 0, columns), axis=1)
    filled = np.take_along_axis(both, last, axis=1)[:, past.shape[1] :]
    return filled, bool((is_missing & ~np.isnan(filled)).any())


def _calendar_parts(frequency: Frequency) -> tuple[str, ...]:
    unit = frequency.unit
    if unit in ("s", "min", "h"):
        return ("hour", "weekday", "monthday", "month")
    if unit == "d":
        return ("weekday", "monthday", "week", "month")
    return {"w": ("week", "month"), "mo": ("month",), "q": ("quarter",)}.get(unit, ())


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
