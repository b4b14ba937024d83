"""Evidence that a stream's mean has changed at some day nobody knows: a mixture of Shiryaev-Roberts e-detectors.

After Shin, Ramdas and Rinaldo (2023), "E-detectors: a nonparametric framework for sequential change detection",
New England Journal of Statistics in Data Science 2(2), definition 2.1 and section 2.3: with e-values ``E_t`` whose
mean is at most one before a change, ``M_t = (1 + M_{t-1}) E_t`` exceeds a threshold ``c`` without a change on average
at most once in ``c`` periods. Mixtures over the size of the change keep that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Paths", "detect", "named"]

Floats = NDArray[np.float64]

SIZES = (0.2, 0.4, 0.7, 1.1, 1.7, 2.5)
_OVER = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """The evidence of ``m`` streams over ``q`` periods.

    Attributes:
        evidence: the natural logarithm of the detector, shape ``(q, m)``, never more than 2 above the threshold.
        start: the period at which the change that is best supported began, shape ``(m,)``, -1 where none is.
    """

    evidence: Floats
    start: NDArray[np.int64]


def detect(scores: Floats, *, allowed: Floats, threshold: float, upper_only: NDArray[np.bool_], jumps: Floats) -> Paths:
    """Run the detectors.

    Args:
        scores: of mean 0 and variance 1 (in the long run) without a change, shape ``(q, m)``; NaN tells nothing.
        allowed: the mean that is no change yet, either side, since the reference's own mean is not known better.
        threshold: the logarithm at which an alarm is raised. The detector is held at 2 above it, so that it
            comes down again in weeks where all is as before.
        upper_only: the streams of which only a rise counts.
        jumps: 1 or -1 where one period alone is an alarm, 0 elsewhere, shape ``(q, m)``.
    """
    sizes = np.array([sign * size for size in SIZES for sign in (1.0, -1.0)])
    usable = np.where(upper_only[:, None] & (sizes < 0), -np.inf, 0.0)
    shares = np.where(upper_only, math.log(len(SIZES)), math.log(len(sizes)))
    top = threshold + _OVER
    detector = np.full((scores.shape[1], len(sizes)), -np.inf)
    sums = np.zeros_like(detector)
    starts = np.full(detector.shape, -1, dtype=np.int64)
    evidence = np.empty(scores.shape)
    cost = np.abs(sizes) * allowed[:, None] + sizes**2 / 2
    for period, (score, jump) in enumerate(zip(scores, jumps, strict=True)):
        gain = np.where(np.isfinite(score)[:, None], np.nan_to_num(score)[:, None] * sizes - cost, 0.0)
        is_new = np.isfinite(score)[:, None]
        detector = np.where(is_new, np.minimum(np.logaddexp(0.0, detector) + gain, top + 1.0), detector)
        starts = np.where(is_new & (sums <= 0), period, starts)
        sums = np.maximum(sums + gain, 0.0)
        if jump.any():
            told = (jump[:, None] * sizes > 0) & (np.isfinite(usable))
            detector = np.where(told, top + 1.0, detector)
            # of a jump the day is known
            starts = np.where(told & (sums <= SIZES[-1]), period, starts)
            sums = np.where(told, np.maximum(sums, top), sums)
        total = np.logaddexp.reduce(detector + usable, axis=1) - shares
        evidence[period] = np.minimum(total, top)
    best = np.argmax(sums + usable, axis=1)
    rows = np.arange(len(best))
    found = np.where(sums[rows, best] > 0, starts[rows, best], -1)
    return Paths(evidence, found)


def named(evidence: Floats, *, periods: float, false_share: float) -> NDArray[np.bool_]:
    """Which streams may be named so that at most a share of the named is false: e-BH (Wang and Ramdas 2022).

    The detector has a mean of at most ``n`` after ``n`` periods, so divided by it, it is an e-value.

    Args:
        evidence: logarithms of the detectors, shape ``(m,)``.
        periods: how many periods the detectors have run.
        false_share: the expected share of false names.
    """
    logs = evidence - math.log(max(periods, 1.0))
    order = np.argsort(-logs, kind="stable")
    needed = np.log(len(logs) / (np.arange(1, len(logs) + 1) * false_share))
    passing = np.flatnonzero(logs[order] >= needed)
    result = np.zeros(len(logs), dtype=bool)
    if len(passing):
        result[order[: passing[-1] + 1]] = True
    return result
