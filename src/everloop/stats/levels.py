"""The range of a level that was seen in a few windows, and evidence that a stream has left such a range.

A level (the logarithm of an error, a bias, a coverage) differs from window to window by more than the noise of its
days. The range in which the next window's level must lie is a prediction interval with the t distribution (Hahn and
Meeker 1991, "Statistical Intervals", section 4.8); few windows make it wide. What is known of the variance from
elsewhere enters as a scaled inverse chi-squared prior, which counts as so many windows more (Gelman et al. 2013,
"Bayesian Data Analysis", section 2.6).

The evidence is the e-detector of Shin, Ramdas and Rinaldo (2024), "E-detectors: a nonparametric framework for
sequential change detection", definition 2.2, with Shiryaev-Roberts sums and a mixture over sizes of the excess. Days
that depend on each other are tempered by the long-run standard deviation. While the level stays within its range, a
threshold of ``c`` is crossed on average no sooner than after ``c`` observations, so within ``n`` of them with a
probability of at most about ``n / c``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

__all__ = [
    "SIZES",
    "LevelPrior",
    "LevelRange",
    "excess_path",
    "level_range",
    "onset",
    "running_deviation",
    "within_deviation",
]

Floats = NDArray[np.float64]

SIZES = (0.1, 0.2, 0.4, 0.8)
"""Excesses that the mixture looks for, in long-run standard deviations."""
_MOST = 2.0
"""One day's excess counts for no more than this, so that a single odd day is no evidence of a level."""
_LONGEST_MEMORY = 0.9
_MOST_INFLATION = 2.0


@dataclass(frozen=True, slots=True)
class LevelPrior:
    """What is known from elsewhere of how a window's level differs from the next.

    Attributes:
        variance: of a window's level.
        freedom: how many windows that knowledge is worth.
        inflation: variance to add, as a share of a window's (for a season's factor that is estimated).
        below: how far below its mean a level has been seen.
        above: how far above.
    """

    variance: float = 0.0
    freedom: float = 0.0
    inflation: float = 0.0
    below: float = 0.0
    above: float = 0.0


@dataclass(frozen=True, slots=True)
class LevelRange:
    """Where the level of a window must lie.

    Attributes:
        center: the mean level of the windows seen.
        lower: the range's lower end; ``None`` where too little is known.
        upper: its upper end; likewise.
        deviation: the long-run standard deviation of one observation about its window's level.
        windows: how many windows were seen.
        freedom: the degrees of freedom of the range, those of the prior among them.
        scale: the standard deviation of the next window's level about the center, 0 where it is not known.
        below: how far below its mean a level has been seen elsewhere; no end lies nearer than that.
        above: how far above.
    """

    center: float
    lower: float | None
    upper: float | None
    deviation: float
    windows: int
    freedom: float
    scale: float = 0.0
    below: float = 0.0
    above: float = 0.0

    def end(self, side: int, confidence: float) -> float | None:
        """The upper (1) or lower (-1) end for another confidence; ``None`` where too little is known."""
        if self.freedom <= 0 or self.lower is None:
            return None
        reach = self.above if side > 0 else self.below
        return self.center + side * max(float(stdtrit(self.freedom, confidence)) * self.scale, reach)


def level_range(
    windows: Sequence[ArrayLike],
    *,
    confidence: float,
    prior: LevelPrior | None = None,
    overlap: float = 1.0,
    length: float = 0.0,
) -> LevelRange | None:
    """The range of the next window's level.

    Args:
        windows: the observations of each window in time order, NaN where there is none.
        confidence: the probability of each end, such as 0.99.
        prior: what is known from elsewhere of how levels differ.
        overlap: the share of each further window that is new, below 1 where windows overlap.
        length: how many observations the next window has; 0 means as many as those seen.

    Returns:
        The range; ``None`` where no window has an observation.

    >>> few = level_range([[1.0, 1.2, 1.1], [0.9, 1.0, 1.1]], confidence=0.95)
    >>> more = level_range([[1.0, 1.2, 1.1], [0.9, 1.0, 1.1]] * 3, confidence=0.95)
    >>> few.upper - few.center > 2 * (more.upper - more.center)
    True
    """
    kept = [x[np.isfinite(x)] for x in (np.asarray(each, dtype=np.float64) for each in windows)]
    kept = [x for x in kept if len(x)]
    if not kept:
        return None
    prior = prior or LevelPrior()
    means = np.array([x.mean() for x in kept])
    deviation = within_deviation(kept)
    length = length or float(np.mean([len(x) for x in kept]))
    effective = 1 + (len(kept) - 1) * overlap
    freedom = prior.freedom + effective - 1
    center = float(means.mean())
    if freedom <= 0:
        return LevelRange(center, None, None, deviation, len(kept), 0.0)
    own = float(means.var(ddof=1)) if len(means) > 1 else 0.0
    pooled = (prior.freedom * prior.variance + (effective - 1) * own) / freedom
    # a window's mean is never surer than its days allow
    variance = max(pooled, deviation * deviation / length)
    scale = math.sqrt(variance * (1 + 1 / effective + prior.inflation))
    found = LevelRange(center, center, center, deviation, len(kept), freedom, scale, prior.below, prior.above)
    return replace(found, lower=found.end(-1, confidence), upper=found.end(1, confidence))


def within_deviation(windows: Sequence[Floats]) -> float:
    """The long-run standard deviation of one observation about its window's mean.

    An autoregression of order one over all windows together; its coefficient is corrected for its bias in short
    windows (Kendall 1954), is not taken below zero, and is capped. A single observation a window has none: 0.
    """
    centred = [x - x.mean() for x in windows if len(x) > 1]
    freedom = sum(len(x) - 1 for x in centred)
    power = sum(float(x @ x) for x in centred)
    if not freedom or power <= 0:
        return 0.0
    length = float(np.mean([len(x) for x in centred]))
    raw = sum(float(x[1:] @ x[:-1]) for x in centred) / power
    corrected = (length * raw + 1) / (length - 3) if length > 4 else 0.0
    memory = min(max(corrected, 0.0), _LONGEST_MEMORY)
    return math.sqrt(power / freedom * (1 + memory) / (1 - memory))


def running_deviation(values: ArrayLike, least: float, *, first: int = 14, last: int = 28) -> Floats:
    """The long-run deviation to judge each observation by, from those before it alone.

    The backtest's deviation until ``first`` observations are there; from then on the larger of it and that of the
    observations so far, of which the first ``last`` count, since later ones may belong to another level. A level that
    changes among those looks like dependence, so no more than twice the backtest's is believed.

    Args:
        values: the stream, shape ``(..., n)``.
        least: the deviation known beforehand.
        first: observations that are needed.
        last: observations that are used.

    Returns:
        Shape ``(..., n)``.
    """
    x = np.asarray(values, dtype=np.float64)
    n = x.shape[-1]
    result = np.full(x.shape, float(least))
    if x.size == 0:
        return result
    flat, out = x.reshape(-1, n), result.reshape(-1, n)
    for row, target in zip(flat, out, strict=True):
        for place in range(first, min(last, n - 1) + 1):
            if place < n:
                target[place] = min(max(least, within_deviation([row[:place]])), _MOST_INFLATION * least)
        if n > last:
            target[last:] = target[last]
    return result


def excess_path(values: ArrayLike, end: float | None, deviation: ArrayLike, *, side: int = 1) -> Floats:
    """The logarithm of the evidence, after each observation, that a stream's level lies beyond an end of its range.

    Args:
        values: the stream, shape ``(..., n)``.
        end: the end of the range; ``None`` never gives any evidence.
        deviation: the long-run standard deviation to judge each observation by, one or shape ``(..., n)``.
        side: 1 for above the end, -1 for below.

    Returns:
        Shape ``(..., n)``; compare it with ``log(c)``, the number of observations between two false alarms.
    """
    x = np.asarray(values, dtype=np.float64)
    scale = np.broadcast_to(np.asarray(deviation, dtype=np.float64), x.shape)
    if end is None or x.size == 0:
        return np.full(x.shape, -np.inf)
    size = np.array(SIZES)[:, None]
    gain = _scaled(x, end, scale, side)[..., None, :] * size - size * size / 2
    total = np.cumsum(gain, axis=-1)
    # Shiryaev-Roberts: over all days on which it may have begun, what has been gained since
    begun = np.concatenate([np.zeros((*total.shape[:-1], 1)), total[..., :-1]], axis=-1)
    state = total + np.logaddexp.accumulate(-begun, axis=-1)
    path: Floats = np.logaddexp.reduce(state, axis=-2) - math.log(len(SIZES))
    return path


def onset(values: ArrayLike, end: float, deviation: ArrayLike, *, side: int = 1) -> int:
    """The place in a stream since when it has most likely been beyond an end: where its sum of excesses was lowest."""
    x = np.asarray(values, dtype=np.float64)
    scaled = _scaled(x, end, np.broadcast_to(np.asarray(deviation, dtype=np.float64), x.shape), side)
    sums = np.concatenate([[0.0], np.cumsum(scaled)])
    return int(np.argmin(sums[:-1]))


def _scaled(x: Floats, end: float, scale: Floats, side: int) -> Floats:
    """The excess over an end in long-run deviations, capped; none where no deviation is known."""
    excess: Floats = np.divide(side * (x - end), scale, out=np.zeros(x.shape), where=scale > 0)
    return np.minimum(excess, _MOST)
