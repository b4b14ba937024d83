"""How a stream hangs together over time: a level that wanders slowly, and an autoregression of a few lags."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import signal

__all__ = ["LONGEST_LAG", "autoregression", "innovations", "level_share", "slow_level", "step_responses"]

Floats = NDArray[np.float64]

LONGEST_LAG = 7
_DELAY_DAYS = 28
_HALF_LIFE_DAYS = 90.0
_PRIOR_DAYS = 45.0
_MOST = 0.98


def lags_of(period_days: int) -> tuple[int, int, int]:
    """The lags of the autoregression in periods; a week's own lag means something for days only."""
    return (1, 2, 7) if period_days == 1 else (1, 2, 3)


def slow_level(left: Floats, before: Floats, period_days: int) -> Floats:
    """The level that a stream has drifted to, as it was known four weeks before each period; shape of ``left``.

    A weighted mean of what the season left, its weights halving in 90 days, shrunk to zero by as much as 45 days of
    observations at zero would. A change of level is thus seen in full for four weeks and slowly becomes the
    new usual if nobody minds; a change that is slower than that is no alarm at all.

    Args:
        left: what the season left, shape ``(q, m)``, NaN where unknown.
        before: the same of the periods just before, shape ``(t, m)``.
        period_days: how many days a period has.
    """
    whole = np.concatenate([before, left])
    if not len(left):
        return left
    is_known = np.isfinite(whole)
    decay = 0.5 ** (period_days / _HALF_LIFE_DAYS)
    sums = signal.lfilter([1.0], [1.0, -decay], np.where(is_known, whole, 0.0), axis=0)
    weights = signal.lfilter([1.0], [1.0, -decay], is_known.astype(np.float64), axis=0)
    level = sums / (weights + _PRIOR_DAYS / period_days)
    delay = -(-_DELAY_DAYS // period_days)
    return np.concatenate([np.zeros((delay, left.shape[1])), level])[len(before) : len(whole)]


def level_share(left: Floats, level: Floats, alike: NDArray[np.bool_], period_days: int) -> Floats:
    """How much of the slow level came true on average, between 0 and 1, shape ``(m,)``.

    The regression coefficient of what the season left on the level, over all streams that are alike, each in units of
    its own deviation, and a standard error more, so that a level is held for none only where many streams say so (the
    error is robust to dependence within a stream: Liang and Zeger 1986). Streams that do not wander have a level of
    noise alone; to follow it would spoil what is expected and would make a change the new usual. Where nothing is known
    it is 1, and 0 for streams that are not alike.

    Args:
        left: what the season left, shape ``(p, m)``, NaN where unknown.
        level: of the same periods, from :func:`slow_level`.
        alike: the streams whose level may wander, shape ``(m,)``.
        period_days: how many days a period has.
    """
    known = np.isfinite(left[:, alike])
    # before, the level rests on few periods and is hardly there
    known[: round(_HALF_LIFE_DAYS / period_days)] = False
    seen, told = (np.where(known, each[:, alike], 0.0) for each in (left, level))
    power = np.maximum((seen**2).sum(axis=0), np.finfo(np.float64).tiny)
    cross, square = (seen * told).sum(axis=0) / power, (told**2).sum(axis=0) / power
    total = float(square.sum())
    share = 1.0
    if total > 0:
        mean = float(cross.sum()) / total
        share = mean + math.sqrt(float(((cross - mean * square) ** 2).sum())) / total
    return np.where(alike, min(max(share, 0.0), 1.0), 0.0)


def autoregression(left: Floats, period_days: int) -> Floats:
    """The coefficients at the three lags by least squares, shape ``(3, m)``.

    A lag that is unknown counts as zero, its mean. Coefficients that sum to more than 0.98 are scaled back to it.
    """
    outcome = np.nan_to_num(left)
    lagged = _lagged(outcome, period_days) * np.isfinite(left).astype(np.float64)
    gram = np.einsum("lpm,kpm->mlk", lagged, lagged)
    cross = np.einsum("lpm,pm->ml", lagged, outcome)
    scale = np.trace(gram, axis1=1, axis2=2) / 3
    gram = gram + (0.01 * scale + (scale == 0))[:, None, None] * np.eye(3)
    found = np.linalg.solve(gram, cross[:, :, None])[:, :, 0].T
    total = found.sum(axis=0)
    result: Floats = found * np.where(total > _MOST, _MOST / np.where(total > 0, total, 1.0), 1.0)
    return result


def innovations(left: Floats, lags: Floats, period_days: int, before: Floats | None = None) -> Floats:
    """What the autoregression did not foretell, shape of ``left``, NaN where the period is unknown.

    Args:
        left: what season and level left, shape ``(q, m)``.
        lags: the coefficients, shape ``(3, m)``.
        period_days: how many days a period has.
        before: ``left`` of the periods just before.
    """
    start = np.zeros((0, left.shape[1])) if before is None else before[-LONGEST_LAG:]
    whole = np.nan_to_num(np.concatenate([start, left]))
    foretold = np.einsum("lpm,lm->pm", _lagged(whole, period_days), lags)
    result: Floats = left - foretold[len(start) :]
    return result


def step_responses(lags: Floats, period_days: int) -> Floats:
    """What a step of size one leaves in the innovations 0, 1, ... 7 periods after it, shape ``(8, m)``."""
    result = np.ones((LONGEST_LAG + 1, lags.shape[1]))
    for place, lag in enumerate(lags_of(period_days)):
        result[lag:] -= lags[place]
    return result


def _lagged(values: Floats, period_days: int) -> Floats:
    """The values of earlier periods, shape ``(3, p, m)``; zero before the first."""
    result = np.zeros((3, *values.shape))
    for place, lag in enumerate(lags_of(period_days)):
        result[place, lag:] = values[:-lag]
    return result
