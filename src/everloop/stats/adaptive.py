"""Widths of intervals that follow the outcomes: each end of each level is stretched until it is missed as promised.

An interval that was right on past data becomes wrong when the world changes. Adaptive conformal inference (Gibbs and
Candes 2021, equation 2) moves the level that is asked for after each outcome; here, as in quantile tracking
(Angelopoulos, Candes and Tibshirani 2023, equation 6), the end itself moves: with ``f`` the factor by which the
distance from forecast to end is multiplied, ``a`` the share of outcomes that may lie beyond it, and ``m`` the share
that did,

    log f  <-  log f + step * (m - a).

Whatever the outcomes are, as long as no bound is met the mean of ``m`` over ``T`` days differs from ``a`` by at most
``(range of log f + step) / (step * T)``: the sum of the updates telescopes. The factor is bounded, so that a few
strange days, or an end that whole numbers cannot fit, do not carry it away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ABOVE", "BELOW", "Widths"]

Floats = NDArray[np.float64]

BELOW, ABOVE = 0, 1
_LEAST, _MOST = math.log(0.5), math.log(3.0)
_GAIN = 0.05
"""The share of what a day misses too often or too rarely that is mended at once: 20 days mend two thirds."""
_FEW = 50
"""So many outcomes of a day count half of what very many would."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Factors of the distances from forecast to the ends of its intervals, by level, end and class.

    Attributes:
        levels: the levels in percent, rising.
        cuts: the absolute forecasts that part the classes, rising.
        log_factors: shape ``(levels, 2, classes)``: below and above; zero leaves an end where it is.
        through: the grid index of the last period that was learnt from.

    >>> widths = Widths.start([80.0], [], through=0)
    >>> shares, counts = np.array([[[0.1], [0.2]]]), np.full((1, 2, 1), 10_000)
    >>> learnt = widths.learn(shares, counts, through=1)
    >>> [round(float(each), 3) for each in np.exp(learnt.log_factors).ravel()]
    [1.0, 1.022]
    """

    levels: tuple[float, ...]
    cuts: tuple[float, ...]
    log_factors: Floats
    through: int

    @classmethod
    def start(cls, levels: Sequence[float], cuts: Sequence[float], *, through: int) -> Widths:
        """Factors of one."""
        shape = (len(levels), 2, len(cuts) + 1)
        return cls(tuple(sorted(levels)), tuple(cuts), np.zeros(shape), through)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Widths:
        """What :meth:`to_dict` gave."""
        factors = np.array(tree["log_factors"], dtype=np.float64)
        return cls(tuple(tree["levels"]), tuple(tree["cuts"]), factors, int(tree["through"]))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, bit for bit."""
        return {
            "levels": list(self.levels),
            "cuts": list(self.cuts),
            "log_factors": self.log_factors.tolist(),
            "through": self.through,
        }

    def learn(self, missed: Floats, counts: NDArray[np.integer], *, through: int) -> Widths:
        """The factors after one more period.

        Args:
            missed: which share of the outcomes lay beyond each end as these factors put it, shape as
                ``log_factors``; what it is where nothing was counted makes no difference.
            counts: how many outcomes there were, likewise.
            through: the period's grid index.
        """
        allowed = np.array([(100.0 - level) / 200.0 for level in self.levels])[:, None, None]
        steps = np.array([_GAIN * _slope(level) for level in self.levels])[:, None, None]
        weight = counts / (counts + _FEW)
        change = np.where(counts > 0, steps * weight * (np.where(counts > 0, missed, 0.0) - allowed), 0.0)
        return replace(self, log_factors=np.clip(self.log_factors + change, _LEAST, _MOST), through=through)

    def classes_of(self, mean: Floats) -> NDArray[np.int64]:
        """The class of each forecast."""
        return np.searchsorted(np.array(self.cuts), np.abs(mean))

    def factors(self, level: float, mean: Floats) -> tuple[Floats, Floats]:
        """The factors below and above each forecast, those of the nearest level that is known."""
        nearest = int(np.argmin(np.abs(np.array(self.levels) - level)))
        both = np.exp(self.log_factors[nearest])
        classes = self.classes_of(mean)
        return both[BELOW][classes], both[ABOVE][classes]


def _slope(level: float) -> float:
    """By how much the logarithm of a normal error's quantile changes with its share: ``1 / (z phi(z))``."""
    # the quantile by bisection on erf: scipy.stats is slow to import, and three digits are enough
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle / math.sqrt(2)) < level / 100.0 else (low, middle)
    z = max(low, 0.1)
    return 1.0 / (z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi))
