"""The theta method for many series at once: simple smoothing with a part of the linear trend.

Assimakopoulos and Nikolopoulos (2000); in the state space form of Fiorucci, Pellegrini, Louzada, Petropoulos and
Koehler (2016), equations 6 to 13: with ``q = 1 - alpha``,

    mu[t] = level[t-1] + (1 - 1/theta) (q^(t-1) A + (1 - q^t) / alpha B),    level[t] = alpha y[t] + q level[t-1]

``A`` and ``B`` are the line fitted to the whole series, or, in the dynamic form, to what was seen up to ``t - 1``.
Given ``alpha`` the errors are linear in the first level and in ``1 - 1/theta``, so these two have closed forms and
only ``alpha`` is searched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.models.intermittent import aligned

__all__ = ["Theta", "fit_theta"]

Doubles = NDArray[np.float64]

_LEAST_PERIODS = 8
_TRIED = np.linspace(-1.0, 1.0, 7)
"""Weights tried at once, about the best of the last round in units of the span; each round has a third of the span."""
_ROUNDS = 3
_SAFE = 1e-12


@dataclass(frozen=True, slots=True)
class Theta:
    """Parameters and last state of ``n`` series; arrays of shape ``(n,)``.

    Attributes:
        alpha: the weight of the newest value.
        share: ``1 - 1/theta``, the part of the trend; 0.5 is the classical method.
        first: the level before the first period.
        level: the level after the last.
        periods: the number of periods.
        mean: their mean.
        intercept: ``A``.
        slope: ``B``.
        squares: the sum of squared errors one step ahead.
        is_dynamic: whether ``A`` and ``B`` follow what is seen, and forecasts in turn.
    """

    alpha: Doubles
    share: Doubles
    first: Doubles
    level: Doubles
    periods: Doubles
    mean: Doubles
    intercept: Doubles
    slope: Doubles
    squares: Doubles
    is_dynamic: bool

    def ahead(self, steps: int) -> Doubles:
        """The forecasts of the next steps, shape ``(n, steps)``."""
        found = np.empty((len(self.alpha), steps))
        level, mean, a, b = self.level, self.mean, self.intercept, self.slope
        q = 1.0 - self.alpha
        for step in range(steps):
            t = self.periods + step + 1
            found[:, step] = level + self.share * (q ** (t - 1) * a + (1.0 - q**t) / self.alpha * b)
            level = self.alpha * found[:, step] + q * level
            if self.is_dynamic:
                mean, a, b = _line(t, found[:, step], mean, b)
        return found


def fit_theta(
    y: Doubles, *, share: float | None = 0.5, is_dynamic: bool = False, low: float = 0.1, high: float = 0.99
) -> Theta:
    """Parameters of least squared error one step ahead.

    A series of fewer than eight periods gets its mean, one without any value zero.

    Args:
        y: shape ``(n, periods)``, NaN where there is no value, which counts as no period.
        share: ``1 - 1/theta``; fitted between 0 and 1 for each series where it is ``None``.
        is_dynamic: whether the line follows what is seen.
        low: the least weight of the newest value.
        high: the most.
    """
    closed = aligned(y)
    is_there = ~np.isnan(closed)
    task = _Task.of(closed, is_there, share, is_dynamic)
    span = np.full(len(y), (high - low) / 2)
    middle = np.full(len(y), (high + low) / 2)
    for _ in range(_ROUNDS):
        tried = np.clip(middle + _TRIED[:, None] * span, low, high)
        squares = task.walked(tried).squares
        middle = np.take_along_axis(tried, squares.argmin(axis=0)[None, :], axis=0)[0]
        span = span * (_TRIED[1] - _TRIED[0])
    found = task.walked(middle)
    counts = is_there.sum(axis=1)
    mean = np.where(is_there, closed, 0.0).sum(axis=1) / np.maximum(counts, 1)
    is_short = counts < _LEAST_PERIODS
    return Theta(
        found.alpha,
        np.where(is_short, 0.0, found.share),
        np.where(is_short, mean, found.first),
        np.where(is_short, mean, found.level),
        found.periods,
        found.mean,
        found.intercept,
        found.slope,
        found.squares,
        is_dynamic,
    )


@dataclass(frozen=True, slots=True)
class _Task:
    """Series by period, and the line of each where it does not move.

    Attributes:
        columns: periods by series, zero before a series begins.
        begun: from which column on each series has values, shape ``(n,)``.
        intercept: of the line over the whole series.
        slope: likewise.
        share: see :func:`fit_theta`.
        is_dynamic: likewise.
    """

    columns: Doubles
    begun: NDArray[np.int64]
    intercept: Doubles
    slope: Doubles
    share: float | None
    is_dynamic: bool

    @classmethod
    def of(cls, y: Doubles, is_there: NDArray[np.bool_], share: float | None, is_dynamic: bool) -> _Task:
        counts = is_there.sum(axis=1).astype(np.float64)
        values = np.where(is_there, y, 0.0)
        t = np.where(is_there, np.cumsum(is_there, axis=1), 0).astype(np.float64)
        middle = (counts + 1) / 2
        mean = values.sum(axis=1) / np.maximum(counts, 1)
        off = np.where(is_there, t - middle[:, None], 0.0)
        slope = (off * values).sum(axis=1) / np.maximum((off * off).sum(axis=1), _SAFE)
        begun = y.shape[1] - is_there.sum(axis=1)
        return cls(np.ascontiguousarray(values.T), begun, mean - slope * middle, slope, share, is_dynamic)

    def walked(self, alpha: Doubles) -> Theta:
        """The best first level and share for weights of shape ``(n,)`` or ``(tried, n)``, and the state at the end."""
        q = 1.0 - alpha
        level, reach = np.zeros_like(alpha), np.zeros_like(alpha)  # the level had it begun at zero, and q^(t-1)
        mean, a, b = np.zeros(len(self.begun)), self.intercept, self.slope
        if self.is_dynamic:
            a, b = np.zeros_like(a), np.zeros_like(b)
        yy, yr, yd, rr, rd, dd = (np.zeros_like(alpha) for _ in range(6))
        start = int(self.begun.min(initial=len(self.columns)))
        for number, column in enumerate(self.columns[start:], start):
            t = np.maximum(number - self.begun + 1.0, 0.0)
            has_begun = t > 0
            reach = np.where(t == 1, 1.0, reach)
            part = np.where(has_begun, reach * a + (1.0 - reach * q) / alpha * b, 0.0)
            rest = np.where(has_begun, column - level, 0.0)
            yy += rest * rest
            yr += rest * reach
            yd += rest * part
            rr += reach * reach
            rd += reach * part
            dd += part * part
            level = np.where(has_begun, level + alpha * rest, level)
            reach = reach * q
            if self.is_dynamic:
                mean, a, b = _line(np.maximum(t, 1.0), column, mean, b)
        share = self._share(yr, yd, rr, rd, dd)
        first = (yr - share * rd) / np.maximum(rr, _SAFE)
        squares = yy - 2 * first * yr - 2 * share * yd + first**2 * rr + 2 * first * share * rd + share**2 * dd
        periods = len(self.columns) - self.begun.astype(np.float64)
        return Theta(alpha, share, first, level + first * reach, periods, mean, a, b, squares, self.is_dynamic)

    def _share(self, yr: Doubles, yd: Doubles, rr: Doubles, rd: Doubles, dd: Doubles) -> Doubles:
        if self.share is not None:
            return np.full_like(yr, self.share)
        det = rr * dd - rd * rd
        is_told = det > 1e-9 * np.maximum(rr * dd, _SAFE)
        return np.where(is_told, np.clip((rr * yd - rd * yr) / np.where(is_told, det, 1.0), 0.0, 1.0), 0.5)


def _line(t: Doubles, y: Doubles, mean: Doubles, slope: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Mean, intercept and slope of the line through the first ``t`` periods, from those of ``t - 1`` and ``y[t]``."""
    moved = ((t - 2.0) * slope + 6.0 * (y - mean) / t) / (t + 1.0)
    moved = np.where(t <= 1.0, 0.0, moved)
    average = ((t - 1.0) * mean + y) / t
    return average, average - moved * (t + 1.0) / 2.0, moved
