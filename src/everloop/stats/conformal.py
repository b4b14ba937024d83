"""Conformal quantiles: how far the truth lay from past forecasts, and so how far it may lie from the next.

With ``n`` past scores that are exchangeable with the next one, the ``ceil((n + 1) q)``-th smallest is not
exceeded with probability of at least ``q`` (Vovk, Gammerman and Shafer 2005; Lei et al. 2018, theorem 2.2).
Scores of a time series are not quite exchangeable: after a change of level the promise fails until the scores
are renewed. Too few scores for a level give NaN, never the largest score in its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GroupedScores", "lower_rank", "upper_rank"]

# 1 - 0.975 is 0.025000000000000022 in binary; ranks are whole numbers and must not jump by that.
_ROUNDING = 1e-9


def upper_rank(n: int, q: float) -> int:
    """Which of ``n`` sorted scores (1 is the smallest) bounds the next one from above with probability ``q``.

    Above ``n`` there are too few scores.

    >>> upper_rank(39, 0.975), upper_rank(38, 0.975)
    (39, 39)
    """
    return math.ceil((n + 1) * q - _ROUNDING)


def lower_rank(n: int, q: float) -> int:
    """Which of ``n`` sorted scores bounds the next one from below with probability ``1 - q``; 0 is none.

    >>> lower_rank(39, 0.025), lower_rank(38, 0.025)
    (1, 0)
    """
    return math.floor((n + 1) * q + _ROUNDING)


@dataclass(frozen=True, slots=True)
class GroupedScores:
    """Signed scores (truth minus forecast, in units of some scale), sorted within each group.

    Attributes:
        scores: all scores, group after group, each group in rising order.
        offsets: shape ``(groups + 1,)``; group ``g`` lies at ``offsets[g]:offsets[g + 1]``.

    >>> scores = GroupedScores.collect(np.arange(-19.0, 20.0), np.zeros(39, dtype=np.int64), groups=1)
    >>> scores.bounds(95.0)
    (array([-19.]), array([19.]))
    """

    scores: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @classmethod
    def collect(
        cls,
        scores: NDArray[np.floating],
        groups_of: NDArray[np.int64],
        *,
        groups: int,
        most: int = 8192,
        seed: int = 0,
    ) -> GroupedScores:
        """Sort finite scores into ``groups`` groups; of a larger group keep a random sample of ``most``.

        A random sample of exchangeable scores is exchangeable too, so the promise does not suffer.
        """
        is_finite = np.isfinite(scores)
        values = scores[is_finite].astype(np.float32)
        members = groups_of[is_finite]
        counts = np.bincount(members, minlength=groups)
        if len(values) and counts.max() > most:
            order = np.random.default_rng(seed).permutation(len(values))
            order = order[np.argsort(members[order], kind="stable")]
            rank = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
            chosen = np.sort(order[rank < most])
            values, members = values[chosen], members[chosen]
            counts = np.bincount(members, minlength=groups)
        order = np.lexsort((values, members))
        return cls(values[order], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of scores of each group."""
        return np.diff(self.offsets)

    def bounds(self, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The lower and upper score of each group at a level in percent; NaN where there are too few."""
        tail = (100.0 - level) / 200.0
        counts = self.counts
        lower = np.full(len(counts), np.nan)
        upper = np.full(len(counts), np.nan)
        for group, count in enumerate(counts.tolist()):
            low, high = lower_rank(count, tail), upper_rank(count, 1.0 - tail)
            if low >= 1 and high <= count:
                start = int(self.offsets[group])
                lower[group] = self.scores[start + low - 1]
                upper[group] = self.scores[start + high - 1]
        return lower, upper
