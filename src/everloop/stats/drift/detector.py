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

SIZES = (0.4, 0.9, 1.9)
"""The sizes of a change that are mixed, in deviations of the score, on either side."""
_OVER = 2.0
_STEP_SCALE = 1.5
_SUPPORTED = 100.0
_MOST = math.exp(60)


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """The evidence of ``m`` streams over ``q`` periods.

    Attributes:
        evidence: the natural logarithm of the detector, shape ``(q, m)``, never more than 2 above the threshold.
        start: the period at which the change that is best supported began, shape ``(m,)``, -1 where none is.
    """

    evidence: Floats
    start: NDArray[np.int64]


def detect(
    scores: Floats,
    *,
    steps: Floats,
    allowed: Floats,
    threshold: float,
    upper_only: NDArray[np.bool_],
    jumps: Floats,
) -> Paths:
    """Run the detectors.

    A change shows in the scores in two ways, and both are mixed: as a mean that stays, and as what a step of the
    stream's level leaves of itself once the autoregression foretells it, which is most on the first days.

    Args:
        scores: of mean 0 and variance 1 (in the long run) without a change, shape ``(q, m)``; NaN tells nothing.
        steps: what a step of size one leaves in the scores 0, 1, ... periods after it, the last for all later ones;
            shape ``(a, m)``.
        allowed: the mean that is no change yet, either side, since the reference's own mean is not known better.
        threshold: the logarithm at which an alarm is raised. The detector is held at 2 above it, so that it
            comes down again in weeks where all is as before.
        upper_only: the streams of which only a rise counts.
        jumps: 1 or -1 where one period alone is an alarm, 0 elsewhere, shape ``(q, m)``.
    """
    means = _means(steps, upper_only)
    number = np.isfinite(means[-1]).sum(axis=1)
    is_unused = np.isnan(means)
    means = np.nan_to_num(means)
    cost = np.where(is_unused, np.inf, np.abs(means) * allowed[:, None] + means**2 / 2)
    state = _State.start(means.shape, top=math.exp(threshold + _OVER))
    evidence = np.empty(scores.shape)
    for period, (score, jump) in enumerate(zip(scores, jumps, strict=True)):
        places = np.flatnonzero(np.isfinite(score))
        if len(places) == len(score):
            state.advance(np.exp(score[:, None] * means - cost), period)
        elif len(places):
            part = state.at(places)
            part.advance(np.exp(score[places, None] * means[:, places] - cost[:, places]), period)
            state.put(places, part)
        if jump.any():
            state.jump(jump[:, None] * means[0] > 0, period)
        with np.errstate(divide="ignore"):
            evidence[period] = np.minimum(np.log(state.total() / number), threshold + _OVER)
    return Paths(evidence, state.best_start())


def _means(steps: Floats, upper_only: NDArray[np.bool_]) -> Floats:
    """The mean of the scores by age of the change and component of the mixture, shape ``(a, m, k)``; NaN is unused."""
    sizes = np.array([sign * size for size in SIZES for sign in (1.0, -1.0)])
    stays = np.broadcast_to(sizes, (*steps.shape, len(sizes)))
    means = np.concatenate([stays, steps[:, :, None] * sizes * _STEP_SCALE], axis=2)
    return np.where(upper_only[:, None] & (means[:1] < 0), np.nan, means)


@dataclass(slots=True)
class _State:
    """The sums of e-processes by age of the change (the last: all older ones), and the best of each with its start.

    Attributes:
        sums: shape ``(a, m, k)``.
        best: the largest e-process among those, same shape.
        starts: when it started, same shape.
        top: where all are held.
    """

    sums: Floats
    best: Floats
    starts: NDArray[np.int64]
    top: float

    @classmethod
    def start(cls, shape: tuple[int, ...], top: float) -> _State:
        return cls(np.zeros(shape), np.zeros(shape), np.full(shape, -1, dtype=np.int64), top)

    def at(self, places: NDArray[np.int64]) -> _State:
        return _State(self.sums[:, places], self.best[:, places], self.starts[:, places], self.top)

    def put(self, places: NDArray[np.int64], part: _State) -> None:
        self.sums[:, places], self.best[:, places], self.starts[:, places] = part.sums, part.best, part.starts

    def advance(self, gains: Floats, period: int) -> None:
        """One period more: every age becomes one older, and a change may start now."""
        self.starts[-1] = np.where(self.best[-2] >= self.best[-1], self.starts[-2], self.starts[-1])
        for values, merge, most in ((self.sums, np.add, self.top), (self.best, np.maximum, _MOST)):
            values[-1] = merge(values[-1], values[-2])
            values[1:-1] = values[:-2]
            values[0] = 1.0
            np.minimum(np.multiply(values, gains, out=values), most, out=values)
        self.starts[1:-1] = self.starts[:-2]
        self.starts[0] = period

    def jump(self, told: NDArray[np.bool_], period: int) -> None:
        """One period alone is enough: the components on its side are at the top."""
        full = self.top * told.shape[1]
        self.sums[-1][told] = full
        # where the change was already well supported its start is known better
        fresh = told & (self.best.max(axis=0) < _SUPPORTED)
        self.starts[-1][fresh] = period
        self.best[-1][fresh] = full

    def total(self) -> Floats:
        sums: Floats = self.sums.sum(axis=(0, 2))
        return sums

    def best_start(self) -> NDArray[np.int64]:
        """The start of the best supported change, -1 where none has support."""
        ages, streams, components = self.best.shape
        flat = self.best.transpose(1, 0, 2).reshape(streams, ages * components)
        starts = self.starts.transpose(1, 0, 2).reshape(flat.shape)
        # of equals the newest
        place = np.where(flat >= flat.max(axis=1, keepdims=True), starts, -2).argmax(axis=1)
        rows = np.arange(len(flat))
        return np.where(flat[rows, place] > 1, starts[rows, place], -1)


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
