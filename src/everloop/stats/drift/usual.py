"""Which errors are usual: their sorted past, how they hang together, and the size beyond which one alone is enough."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["Usual"]

Floats = NDArray[np.float64]

_BANDWIDTH = 14
_STRETCH = 60
_LEAST_STRETCH = 7
_CAUTION = 0.5
_TAIL_SHARE = 0.1
_PLENTY = 730
_HEAVIEST = 0.5
_TAIL_CAUTION = 1.75
_LEAST_VARIANCE = 0.5
"""Scores that vary less are mostly ties, such as of a share that is nearly always zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Usual:
    """The out-of-fold errors of ``m`` streams.

    Attributes:
        errors: sorted, shape ``(p, m)``, the NaN last.
        number: how many each has.
        sd: their standard deviation.
        spread: the standard deviation of what season and level left, before the autoregression.
        temper: the long-run variance of the scores over their variance, at least 1.
        wander: how far the scores' mean wanders from one stretch of two months to the next, beyond chance.
        largest: the largest absolute error.
        edge: the absolute error that a tenth exceeds.
        scale: of the generalised Pareto distribution of what exceeds the edge.
        shape: of that distribution, between 0 and 0.5.
    """

    errors: Floats
    number: NDArray[np.int64]
    sd: Floats
    spread: Floats
    temper: Floats
    wander: Floats
    largest: Floats
    edge: Floats
    scale: Floats
    shape: Floats

    @classmethod
    def of(cls, errors: Floats, left: Floats, alike: NDArray[np.bool_] | None = None) -> Usual:
        """Learn from errors in time order.

        Args:
            errors: shape ``(p, m)``, NaN where unknown.
            left: what the season left, same shape.
            alike: the streams that wander alike, and tell of each other how far, shape ``(m,)``; by default none.
        """
        in_order = np.sort(errors, axis=0)
        number = np.isfinite(errors).sum(axis=0)
        sd = _deviation(errors, number)
        size = np.abs(errors)
        largest = np.where(number > 0, np.where(np.isfinite(size), size, 0.0).max(axis=0, initial=0.0), 0.0)
        plain = cls(in_order, number, sd, _deviation(left, number), *(np.zeros(len(sd)) for _ in range(6)))
        scores = plain.scores(errors)
        temper = _long_run(scores)
        wander = _wander(scores, temper, np.zeros(len(sd), dtype=bool) if alike is None else alike)
        edge, scale, shape = _tails(size, number)
        return cls(in_order, number, sd, plain.spread, temper, wander, largest, edge, scale, shape)

    def scores(self, errors: Floats) -> Floats:
        """Errors as conformal normal scores: the normal quantile of their rank among the usual ones.

        The rank is the middle one among equals, out of one more than there are usual ones, so a score never lies
        further out than the number of usual errors warrants (Vovk, Gammerman and Shafer 2005). NaN stays NaN.
        """
        rank = np.empty_like(errors)
        for place in range(errors.shape[1]):
            known = self.errors[: self.number[place], place]
            low = np.searchsorted(known, errors[:, place], "left")
            high = np.searchsorted(known, errors[:, place], "right")
            rank[:, place] = (low + high) / 2 + 0.5
        with np.errstate(invalid="ignore"):
            scores: Floats = np.where(np.isfinite(errors), special.ndtri(rank / (self.number + 1)), np.nan)
        return scores

    def sudden(self, probability: float) -> Floats:
        """The absolute error that is an alarm by itself, shape ``(m,)``.

        Twice the largest of two years, more of the largest of fewer days, or, where the tail is heavier than that
        allows, what a generalised Pareto distribution above the ninth decile (Pickands 1975) exceeds with
        ``probability`` a period.
        """
        ratio = _TAIL_SHARE / probability
        exact = np.where(self.shape > 1e-9, self.shape, 1.0)
        reach = np.where(self.shape > 1e-9, np.expm1(exact * np.log(ratio)) / exact, np.log(ratio))
        # the largest of few says less of what may come
        reach_of_largest = 2 * np.sqrt(np.maximum(_PLENTY / np.maximum(self.number, 1), 1.0))
        limit: Floats = np.maximum(reach_of_largest * self.largest, self.edge + self.scale * reach)
        return limit

    def select(self, places: NDArray[np.int64]) -> Usual:
        """Some of the streams."""
        rest = (getattr(self, name)[places] for name in _BY_STREAM)
        return Usual(self.errors[:, places], *rest)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All parts by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


_BY_STREAM = ("number", "sd", "spread", "temper", "wander", "largest", "edge", "scale", "shape")


def _deviation(values: Floats, number: NDArray[np.int64]) -> Floats:
    several = np.maximum(number, 2)
    mean = np.nansum(values, axis=0) / several
    deviation: Floats = np.sqrt(np.nansum((values - mean) ** 2, axis=0) / (several - 1))
    return deviation


def _long_run(scores: Floats) -> Floats:
    """The long-run variance of scores over one, by Bartlett weights (Newey and West 1987).

    Half of its standard error is added; less than one is not credited.
    """
    known = np.isfinite(scores)
    number = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, scores, 0.0)
    power = np.maximum((filled**2).sum(axis=0), 1e-12)
    lags = int(min(_BANDWIDTH, max(len(scores) // 4, 1)))
    ratio = np.ones(scores.shape[1])
    for lag in range(1, lags + 1):
        ratio += 2 * (1 - lag / (lags + 1)) * (filled[lag:] * filled[:-lag]).sum(axis=0) / power
    # the estimate's relative standard error under Bartlett weights (Priestley 1981, section 6.2.4)
    error = np.sqrt(4 / 3 * lags / number)
    temper: Floats = np.maximum(ratio, 1.0) * (1 + _CAUTION * error)
    return temper


def _wander(scores: Floats, temper: Floats, alike: NDArray[np.bool_]) -> Floats:
    """The deviation of the means of stretches of tempered scores, less what chance alone gives them.

    A stream has but a dozen stretches in two years, so its own figure is hardly known. Those that are alike share their
    mean, as in the method of moments for variance components (DerSimonian and Laird 1986); one that wanders further
    than that by more than a standard error keeps the excess.
    """
    length = max(min(_STRETCH, len(scores) // 6), _LEAST_STRETCH)
    number = len(scores) // length
    if number < 2:
        return np.zeros(scores.shape[1])
    newest = np.nan_to_num(scores[len(scores) - number * length :])
    means = newest.reshape(number, length, -1).mean(axis=1) / np.sqrt(temper)
    # 1 is what chance gives
    own = length * (means**2).mean(axis=0)
    telling = alike & ((np.nan_to_num(scores) ** 2).mean(axis=0) >= _LEAST_VARIANCE)
    common = float(own[telling].mean()) if telling.any() else 1.0
    reliable = own - math.sqrt(2 / number) * common
    shared = np.maximum(common, reliable)
    wander: Floats = np.sqrt(np.maximum(np.where(telling, shared, own) - 1, 0.0) / length)
    return wander


def _tails(size: Floats, number: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Edge, scale and shape of what lies above the ninth decile, by moments (Hosking and Wallis 1987, equation 5)."""
    edge = np.zeros(size.shape[1])
    some = number > 0
    if some.any():
        edge[some] = np.nanquantile(size[:, some], 1 - _TAIL_SHARE, axis=0)
    excess = np.where(size > edge, size - edge, np.nan)
    count = np.isfinite(excess).sum(axis=0)
    several = np.maximum(count, 2)
    mean = np.nansum(excess, axis=0) / np.maximum(count, 1)
    variance = np.nansum((excess - mean) ** 2, axis=0) / (several - 1)
    ratio = np.divide(mean**2, variance, out=np.ones_like(mean), where=variance > 0)
    shape = np.minimum(np.maximum((1 - ratio) / 2, 0.0) + _TAIL_CAUTION / np.sqrt(several), _HEAVIEST)
    # the scale that keeps the mean
    return edge, mean * (1 - shape), shape
