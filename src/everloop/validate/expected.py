"""What a release's live errors must look like, learnt from its backtest: ranges by steps ahead, and a season.

Days are judged on a scale without season: the logarithm of the error over the sales, less the month's factor. How far
a window's level lies from another's is learnt from the candidate's few windows and, as a prior, from the seasonal
naive over the whole history, which was examined in many more. See ``docs/explanation/methods/live-accuracy.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.stats.levels import LevelPrior, LevelRange, level_range
from everloop.validate.backtest import Backtest, Fold
from everloop.validate.history import History, Spread, learn_history

__all__ = [
    "CONFIDENCE",
    "EXPECTED_FILE",
    "BucketRange",
    "Expected",
    "coverage_kind",
    "expected_ranges",
    "log_error",
    "observation_of",
    "per_observation",
]

Floats = NDArray[np.float64]

EXPECTED_FILE = "evidence/expected.json"
"""Where a release's bundle holds its ranges."""
CONFIDENCE = 0.975
"""Of each end of a range: 95 % of windows lie within."""
_SCALE_TO_COVERAGE = 0.45
"""How much the coverage of an 80 % interval of a normal error falls as the error's logarithm rises: 2 z phi(z)."""
_FLOOR = 1e-3
_AVERAGED = 4
_DAY_US = 86_400_000_000


class BucketRange(msgspec.Struct, frozen=True):
    """The ranges for some steps ahead.

    Attributes:
        first: the first step ahead, from 1.
        last: the last one.
        error: of the logarithm of the WAPE, without season.
        bias: of the signed error over the sales.
        coverage: of the share of outcomes within the interval of ``level``.
        estimate: of the logarithm of the error over the one that the intervals' widths foretell.
        per_width: the absolute error for each unit of the intervals' width.
        wider: as ``coverage``, of each level of ``Expected.wider``, by the level as text.
        known: the share of forecasts that had an outcome.
        actual: the median of one observation's sales.
    """

    first: int
    last: int
    error: LevelRange | None
    bias: LevelRange | None
    coverage: LevelRange | None
    estimate: LevelRange | None
    per_width: float | None
    known: float
    actual: float
    wider: dict[str, LevelRange | None] = {}

    @property
    def name(self) -> str:
        """Such as ``"1-7"``."""
        return f"{self.first}-{self.last}" if self.last > self.first else str(self.first)


class Expected(msgspec.Struct, frozen=True):
    """What a release carries to be held against.

    Attributes:
        buckets: the ranges by steps ahead.
        months: the factor of each month (``"1"`` to ``"12"``) of the error over the sales as a logarithm, empty without
            a season.
        scale_months: likewise of the error itself, which widths and coverage are held against.
        season: how the season was learnt, or why not, as a sentence.
        level: the interval level that coverage and widths are about, ``None`` without intervals.
        steps: how many steps make one observation (24 for hours, 1 for days and longer steps).
        yearly: observations in a year.
        confidence: the probability of each end of a range.
        format: the number of the file's layout.
        wider: the levels above ``level``, whose coverage is watched too.
    """

    buckets: tuple[BucketRange, ...]
    months: dict[str, float]
    scale_months: dict[str, float]
    season: str
    level: float | None
    steps: int
    yearly: float
    confidence: float = CONFIDENCE
    format: int = 1
    wider: tuple[float, ...] = ()

    def factor(self, kind: str, months: NDArray[np.int64]) -> Floats:
        """The season's part of a kind of level in some months, zero without a season."""
        return season_part(kind, months, self.months, self.scale_months)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums by observation of one window and one bucket."""

    months: NDArray[np.int64]
    absolute: Floats
    signed: Floats
    actual: Floats
    inside: Floats
    width: Floats
    wider: dict[float, Floats]


def coverage_kind(level: float) -> str:
    """The kind of a level of coverage that is not the narrowest one's."""
    return f"coverage {level:g}"


def _coverage_slope(kind: str) -> float:
    """How much the coverage that a kind is about falls as the error's logarithm rises."""
    level = kind.removeprefix("coverage").strip()
    if not level:
        return _SCALE_TO_COVERAGE
    z = NormalDist().inv_cdf(0.5 + float(level) / 200.0)
    return 2.0 * z * NormalDist().pdf(z)


def season_part(
    kind: str, months: NDArray[np.int64], error_months: dict[str, float], scale_months: dict[str, float]
) -> Floats:
    """What the season adds to a kind of level: to a bias nothing; larger errors make for less coverage."""
    is_coverage = kind.startswith("coverage")
    chosen = {"error": error_months, "estimate": scale_months}.get(kind, scale_months if is_coverage else {})
    table = np.array([chosen.get(str(month), 0.0) for month in range(13)])
    part: Floats = table[months] * (-_coverage_slope(kind) if is_coverage else 1.0)
    return part


def per_observation(frequency: Frequency) -> int:
    """How many steps make one observation: those of a day, or one where a step is longer."""
    return max(1, round(_DAY_US / frequency.step_us))


def observation_of(index: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """The observation that each grid index belongs to."""
    return np.asarray(index // steps, dtype=np.int64)


def log_error(absolute: Floats, actual: Floats) -> Floats:
    """The logarithm of the error over the sales; NaN where nothing was sold, and never below that of 0.1 %."""
    safe = np.where(actual > 0, actual, 1.0)
    return np.where(actual > 0, np.log(np.maximum(absolute / safe, _FLOOR)), np.nan)


def expected_ranges(backtest: Backtest, panel: Panel) -> Expected:
    """The ranges that a candidate's backtest promises.

    Args:
        backtest: its windows.
        panel: the whole history, up to the end of the newest window.
    """
    frequency = panel.frequency
    steps = per_observation(frequency)
    horizon = backtest.plan.horizon
    season = max(1, frequency.season // steps if steps > 1 else frequency.season) * steps
    edges = _edges(horizon, 7 * steps if steps > 1 else season)
    yearly = 365.25 * _DAY_US / (frequency.step_us * steps)
    # live levels are judged over four weeks, or over a window where that is longer
    length = max(2, horizon // steps, round(yearly * 28 / 365.25))
    levels = sorted(backtest.levels)
    level, wider = (levels[0], tuple(levels[1:])) if levels else (None, ())
    first = _history(panel, season, edges[0][1], steps, length)
    buckets = []
    for low, high in edges:
        history = _history(panel, season, high, steps, length, first)
        folds = [_sums(fold, frequency, steps, (low, high), levels) for fold in backtest.folds]
        buckets.append(_bucket(folds, backtest, history, (low, high), length))
    return Expected(
        tuple(buckets), first.error.months, first.scale.months, first.season, level, steps, yearly, wider=wider
    )


def _history(panel: Panel, season: int, last: int, steps: int, length: int, months: History | None = None) -> History:
    """What the naive tells of a group of steps; a forecaster may average up to four seasons."""
    lag = season * -(-last // season)
    slow = lag + (_AVERAGED - 1) * season if season <= 7 * steps else lag
    return learn_history(panel, lag=lag, slow=slow, steps=steps, window=length, season=months)


def _edges(horizon: int, season: int) -> list[tuple[int, int]]:
    """At most three groups of steps: a season, the next one, and what lies beyond; long seasons are one group."""
    starts = [start for start in (1, season + 1, 2 * season + 1) if start <= horizon]
    return [(start, end - 1) for start, end in zip(starts, [*starts[1:], horizon + 1], strict=True)]


def _sums(fold: Fold, frequency: Frequency, steps: int, edge: tuple[int, int], levels: list[float]) -> _Sums:
    low, high = edge
    part = slice(low - 1, high)
    index = fold.cutoff + np.arange(low, high + 1)
    observations, where = np.unique(observation_of(index, steps), return_inverse=True)
    actual, mean = fold.actual[:, part], fold.mean[:, part]
    known = np.isfinite(actual) & np.isfinite(mean)
    error = np.where(known, mean - actual, 0.0)

    def by_observation(cells: Floats) -> Floats:
        return np.bincount(where, cells.sum(axis=0), len(observations)).astype(np.float64)

    def inside_of(level: float) -> tuple[Floats, Floats]:
        lower, upper = fold.lower[level][:, part], fold.upper[level][:, part]
        has = known & np.isfinite(lower) & np.isfinite(upper)
        count = by_observation(has.astype(np.float64))
        hits = by_observation((has & (actual >= lower) & (actual <= upper)).astype(np.float64))
        inside = np.divide(hits, count, out=np.full(len(observations), np.nan), where=count > 0)
        return inside, by_observation(np.where(has, upper - lower, 0.0))

    none = np.full(len(observations), np.nan)
    inside, width = inside_of(levels[0]) if levels else (none, none)
    times = frequency.times(observations * steps)
    return _Sums(
        months=times.astype("M8[M]").astype(np.int64) % 12 + 1,
        absolute=by_observation(np.abs(error)),
        signed=by_observation(error),
        actual=by_observation(np.where(known, np.abs(actual), 0.0)),
        inside=inside,
        width=width,
        wider={level: inside_of(level)[0] for level in levels[1:]},
    )


def _bucket(
    folds: list[_Sums], backtest: Backtest, history: History, edge: tuple[int, int], length: int
) -> BucketRange:
    low, high = edge
    overlap = min(1.0, backtest.plan.step / backtest.plan.horizon)
    sold = np.concatenate([each.actual for each in folds])
    typical = float(np.median(sold[sold > 0])) if (sold > 0).any() else 0.0
    usable = [each.actual >= 0.05 * typical if typical else np.zeros(len(each.actual), bool) for each in folds]

    def ranged(kind: str, values: list[Floats], spread: Spread, factor: float = 1.0) -> LevelRange | None:
        parts = [season_part(kind, each.months, history.error.months, history.scale.months) for each in folds]
        masked = [np.where(ok, x - part, np.nan) for ok, x, part in zip(usable, values, parts, strict=True)]
        ends = (spread.below, spread.above) if not kind.startswith("coverage") else (spread.above, spread.below)
        prior = LevelPrior(
            variance=factor**2 * spread.variance,
            freedom=history.freedom,
            inflation=0.0 if kind == "bias" else history.inflation,
            below=factor * ends[0],
            above=factor * ends[1],
        )
        return level_range(masked, confidence=CONFIDENCE, prior=prior, overlap=overlap, length=length)

    def covered(level: float) -> LevelRange | None:
        kind = coverage_kind(level)
        return ranged(kind, [each.wider[level] for each in folds], history.scale, _coverage_slope(kind))

    width = sum(float(each.width[np.isfinite(each.width)].sum()) for each in folds)
    absolute = sum(float(each.absolute.sum()) for each in folds)
    per_width = absolute / width if width > 0 and absolute > 0 else None
    cells = sum(fold.actual[:, low - 1 : high].size for fold in backtest.folds)
    known = sum(int(np.isfinite(fold.actual[:, low - 1 : high]).sum()) for fold in backtest.folds)
    return BucketRange(
        first=low,
        last=high,
        error=ranged("error", [log_error(each.absolute, each.actual) for each in folds], history.error),
        bias=ranged("bias", [_share(each.signed, each.actual) for each in folds], history.bias),
        coverage=ranged("coverage", [each.inside for each in folds], history.scale, _SCALE_TO_COVERAGE),
        estimate=None
        if per_width is None
        else ranged("estimate", [log_error(each.absolute, per_width * each.width) for each in folds], history.scale),
        per_width=per_width,
        known=known / cells if cells else 0.0,
        actual=typical,
        wider={f"{level:g}": covered(level) for level in folds[0].wider} if folds else {},
    )


def _share(signed: Floats, actual: Floats) -> Floats:
    share: Floats = np.divide(signed, actual, out=np.full(len(actual), np.nan), where=actual > 0)
    return share
