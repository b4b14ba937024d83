"""Simulated shops with a forecaster in charge for a year: how often are its errors said to have left their range.

Two worlds: the one that the method was developed on, and another, with other shapes, that it is measured on. The
forecaster is the mean of the last four same weekdays that were known; it may go bad on a day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.monitor.expected import Stream, judge_streams
from everloop.monitor.live_days import COLUMNS, LiveDays
from everloop.validate.backtest import Backtest, BacktestPlan, Fold
from everloop.validate.expected import Expected, expected_ranges

__all__ = ["Fault", "World", "first_alarm", "live_year"]

Floats = NDArray[np.float64]
HORIZON = 28
_YEAR = 365
_BEFORE = 70
_SERIES = 10


@dataclass(frozen=True)
class World:
    """How shops sell.

    Attributes:
        name: what it is called in the table.
        years: of history before the release is made.
        windows: of the backtest.
        memory: the autoregression of what all series of a day have in common.
        common: the deviation of the logarithm of that.
        heavy: the deviation of the logarithm of each sale's size; 0 for Poisson counts.
        zeros: the share of days that a series sells nothing.
        december: how much sales rise in December, on some days of it only.
        yearly: the height of a smooth yearly season.
    """

    name: str
    years: float = 3.0
    windows: int = 3
    memory: float = 0.5
    common: float = 0.1
    heavy: float = 0.0
    zeros: float = 0.0
    december: float = 0.0
    yearly: float = 0.2


@dataclass(frozen=True)
class Fault:
    """From a day of the year on, forecasts are multiplied by ``factor`` and shaken by ``noise`` (a log deviation)."""

    day: int
    factor: float = 1.0
    noise: float = 0.0


def live_year(world: World, seed: int, fault: Fault | None = None) -> tuple[Expected, LiveDays, int]:
    """A release's ranges, its live year, and the observation after its last day."""
    rng = np.random.default_rng(seed)
    past = round(world.years * _YEAR)
    first = 14_000 + int(rng.integers(_YEAR))
    y = _sales(world, rng, past + _YEAR, first)
    near, middle, far = (_means(y, lag) for lag in (7, 14, 28))
    spread = np.nanstd(near[:, _BEFORE:past] - y[:, _BEFORE:past], axis=1)
    expected = _ranges(world, y[:, :past], (near, middle, far), spread, first)
    if fault is not None:
        shake = np.exp(fault.noise * rng.standard_normal(y.shape))
        changed = np.arange(y.shape[1]) >= past + fault.day
        near, middle, far = (np.where(changed, each * fault.factor * shake, each) for each in (near, middle, far))
    live = slice(past, past + _YEAR)
    sums = np.zeros((_YEAR, 3, len(COLUMNS)))
    for place, (mean, steps) in enumerate(((near, 7), (middle, 7), (far, 14))):
        sums[:, place] = steps * _sums(y[:, live], mean[:, live], spread)
    observations = first + past + np.arange(_YEAR)
    months = observations.astype("M8[D]").astype("M8[M]").astype(np.int64) % 12 + 1
    return expected, LiveDays(observations, months, sums, np.ones(_YEAR, dtype=bool)), int(observations[-1]) + 1


def first_alarm(streams: list[Stream], kinds: tuple[str, ...]) -> int | None:
    """The day of the year on which any stream of some kinds first leaves its range, ``None`` for never."""
    days = []
    for stream in streams:
        if stream.kind not in kinds or not len(stream.observations):
            continue
        for path in stream.evidence.values():
            beyond = np.flatnonzero(path >= stream.threshold)
            if len(beyond):
                days.append(int(stream.observations[beyond[0]]))
    return min(days) if days else None


def judged(world: World, seed: int, alarms_per_year: float, fault: Fault | None = None) -> tuple[list[Stream], int]:
    """The streams of a simulated year, and its first observation."""
    expected, days, present = live_year(world, seed, fault)
    streams = judge_streams(expected, days, present=present, alarms_per_year=alarms_per_year)
    return streams, int(days.observations[0])


def _sales(world: World, rng: np.random.Generator, days: int, first: int) -> Floats:
    when = (first + np.arange(days)).astype("M8[D]")
    day = (when - when.astype("M8[Y]")).astype(np.int64)
    month = when.astype("M8[M]").astype(np.int64) % 12
    shock = np.zeros(days)
    noise = rng.standard_normal(days) * world.common * np.sqrt(1 - world.memory**2)
    for place in range(1, days):
        shock[place] = world.memory * shock[place - 1] + noise[place]
    shape = 1 + world.yearly * np.sin(2 * np.pi * (day / _YEAR + rng.uniform()))
    shape = shape * np.where((month == 11) & (rng.uniform(size=days) < 0.5), 1 + world.december, 1.0)
    weekly = np.exp(0.3 * rng.standard_normal((_SERIES, 7)))[:, (first + np.arange(days)) % 7]
    mean = rng.gamma(3.0, 8.0, (_SERIES, 1)) * weekly * shape * np.exp(shock)
    if world.heavy:
        mean = mean * np.exp(world.heavy * rng.standard_normal(mean.shape) - world.heavy**2 / 2)
    sold = rng.poisson(mean).astype(np.float64)
    return np.where(rng.uniform(size=sold.shape) < world.zeros, 0.0, sold)


def _means(y: Floats, lag: int) -> Floats:
    """The mean of four same weekdays, the newest of them ``lag`` days back; NaN before there are four."""
    total = np.full((4, *y.shape), np.nan)
    for week in range(4):
        back = lag + 7 * week
        total[week, :, back:] = y[:, :-back]
    mean: Floats = total.mean(axis=0)
    return mean


def _ranges(world: World, y: Floats, means: tuple[Floats, Floats, Floats], spread: Floats, first: int) -> Expected:
    days = y.shape[1]
    panel = Panel(
        frequency=Frequency.parse("1d"),
        series_columns=("shop",),
        keys=tuple((f"{place:02d}",) for place in range(_SERIES)),
        cutoff=first + days - 1,
        offsets=np.arange(_SERIES + 1) * days,
        y=y.astype(np.float32).ravel(),
    )
    step = np.arange(HORIZON)
    folds = []
    for window in reversed(range(world.windows)):
        start = days - HORIZON * (window + 1)
        part = slice(start, start + HORIZON)
        mean = np.where(step < 7, means[0][:, part], np.where(step < 14, means[1][:, part], means[2][:, part]))
        half = 1.28 * spread[:, None]
        ones = np.ones(_SERIES)
        folds.append(
            Fold(
                cutoff=first + start - 1,
                positions=np.arange(_SERIES),
                actual=y[:, part],
                mean=mean,
                lower={80.0: mean - half},
                upper={80.0: mean + half},
                mase_scale=ones,
                rmsse_scale=ones,
                fit_seconds=0.0,
                forecast_seconds=0.0,
            )
        )
    plan = BacktestPlan(world.windows, HORIZON, HORIZON)
    return expected_ranges(Backtest(plan, (80.0,), tuple(folds)), panel)


def _sums(y: Floats, mean: Floats, spread: Floats) -> Floats:
    """The columns of one step's forecasts by day, shape ``(days, len(COLUMNS))``."""
    error = mean - y
    half = 1.28 * spread[:, None]
    inside = (np.abs(error) <= half).sum(axis=0)
    count = np.full(y.shape[1], float(len(y)))
    width = np.full(y.shape[1], 2 * float(half.sum()))
    columns = [count, count, np.abs(error).sum(axis=0), error.sum(axis=0), y.sum(axis=0)]
    return np.column_stack([*columns, inside, count, width, width, mean.sum(axis=0)])
