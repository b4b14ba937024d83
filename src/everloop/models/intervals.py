"""Prediction intervals from past errors, pooled over series.

An error is measured in the series' own unit (``spread``, about the size of its usual deviation), so series of all
sizes can lend each other their errors; pools are made by step and by the size of the forecast, since slow sellers
err otherwise than fast ones. Within a pool the quantiles are conformal and signed
(:mod:`everloop.stats.conformal`). The coverage that is promised is that over all series of a pool, not of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everloop.models.forecaster import Forecast
from everloop.models.state import load_arrays, save_arrays
from everloop.stats.conformal import GroupedScores
from everloop.stats.few_windows import effective_count

__all__ = ["ErrorPools", "PastErrors", "error_unit", "no_errors"]

_CLASSES = 8
_STEP_POOLS = 4
_POOL_SIZE = 400
"""About how many errors a pool should have before a finer one is made."""
_FASTEST = (0.075, 0.04, 0.015)
"""Shares of the largest forecasts that part the last of the classes: sizes there range over orders of magnitude, and
errors outgrow the root of the forecast."""
_DISPERSION = 0.25
_LEAST_DISPERSION, _MOST_DISPERSION = 0.5, 4.0


@dataclass(frozen=True, slots=True)
class PastErrors:
    """Forecasts beside what came, all of shape ``(n,)``: truth, forecast, spread and step (from 1)."""

    truth: NDArray[np.floating]
    mean: NDArray[np.floating]
    spread: NDArray[np.floating]
    step: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[PastErrors]) -> PastErrors:
        """All of several parts."""
        if not parts:
            return no_errors()
        return cls(
            np.concatenate([each.truth for each in parts]),
            np.concatenate([each.mean for each in parts]),
            np.concatenate([each.spread for each in parts]),
            np.concatenate([each.step for each in parts]),
        )


def no_errors() -> PastErrors:
    """None at all, where the history is too short to measure any."""
    return PastErrors(np.empty(0), np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))


def error_unit(
    mean: NDArray[np.float64], scale: NDArray[np.float64], deviation: NDArray[np.float64], lowest: float
) -> NDArray[np.float64]:
    """The spread that a model's errors are measured in.

    For demand (``lowest`` is zero) the root of the forecast, as for counts, whose variance goes with the mean, times a
    fourth root of the series' own dispersion (its deviation over the root of its size, between 0.5 and 4). Without the
    second factor intervals are too narrow for erratic demand and too wide for smooth; the fourth root evens coverage
    over both at the same interval score, while a larger power chases noise: past dispersion says only so much of that
    to come. Targets that may be negative are measured by the series' own deviation.

    Args:
        mean: the forecast.
        scale: the mean absolute value of the series.
        deviation: its standard deviation.
        lowest: no forecast lies below.
    """
    if np.isfinite(lowest):
        dispersion = deviation / np.sqrt(np.maximum(scale, np.finfo(np.float32).tiny))
        # a series whose deviation is not known yet counts as a Poisson one
        bounded = np.clip(np.where(np.isfinite(dispersion), dispersion, 1.0), _LEAST_DISPERSION, _MOST_DISPERSION)
        return np.asarray(np.sqrt(np.maximum(mean, 0.05 * scale)) * bounded**_DISPERSION)
    return np.asarray(np.broadcast_to(np.hypot(deviation, 0.2 * scale), mean.shape))


@dataclass(frozen=True, slots=True)
class ErrorPools:
    """Past errors in units of their spread, by step and by size of the forecast.

    Attributes:
        step_ends: the last step of each pool of steps, rising.
        size_ends: the absolute forecasts that part the classes, rising.
        scores: the errors by pool; the pool of step ``i`` and class ``j`` is ``i * classes + j``.
        floor: the least spread that divides an error.
        lowest: no bound lies below.
    """

    step_ends: NDArray[np.int64]
    size_ends: NDArray[np.float64]
    scores: GroupedScores
    floor: float
    lowest: float

    @classmethod
    def collect(cls, past: PastErrors, *, horizon: int, lowest: float = -np.inf, seed: int = 0) -> ErrorPools:
        """Pool past errors; fewer errors make fewer pools."""
        is_usable = np.isfinite(past.truth) & np.isfinite(past.mean) & np.isfinite(past.spread)
        truth, mean, step = past.truth[is_usable], past.mean[is_usable], past.step[is_usable]
        raw_spread = past.spread[is_usable]
        positive = raw_spread[raw_spread > 0]
        floor = 0.01 * float(np.median(positive)) if len(positive) else 1.0
        spread = np.maximum(raw_spread, floor)
        n = len(truth)
        step_pools = int(np.clip(n // (2 * _POOL_SIZE), 1, min(_STEP_POOLS, horizon)))
        ends = np.unique(np.ceil(np.arange(1, step_pools + 1) * horizon / step_pools)).astype(np.int64)
        size = np.abs(mean)
        cuts = np.unique(np.quantile(size, _shares(n // step_pools))) if n else np.empty(0)
        pools = _pool_of(ends, cuts, step, size)
        scores = GroupedScores.collect((truth - mean) / spread, pools, groups=len(ends) * (len(cuts) + 1), seed=seed)
        return cls(ends, cuts, scores, floor, lowest)

    def independent(self, n: int, windows: int, shared: float) -> float:
        """So many independent errors a pool tells as much as, in the mean over the pools.

        Args:
            n: the errors that were pooled.
            windows: the windows that they come from.
            shared: what those of one window share, see :func:`everloop.stats.few_windows.shared_part`.
        """
        return effective_count(n / max(len(self.scores.counts), 1), windows, shared)

    def forecast(
        self,
        forecast: Forecast,
        spread: NDArray[np.floating],
        levels: Iterable[float],
        *,
        notes: tuple[str, ...] = (),
    ) -> Forecast:
        """A forecast with intervals; ``spread`` has shape ``(n,)`` or that of the forecast.

        A pool with too few errors for a level gives NaN, and a note says so.
        """
        mean = forecast.mean
        scale = np.broadcast_to(spread[:, None] if spread.ndim == 1 else spread, mean.shape)
        scale = np.where(np.isfinite(scale), np.maximum(scale, self.floor), np.nan)
        steps = np.broadcast_to(np.arange(1, mean.shape[1] + 1), mean.shape)
        pool = _pool_of(self.step_ends, self.size_ends, steps, np.abs(mean))
        lower, upper = {}, {}
        for level in levels:
            low, high = self.scores.bounds(level)
            lower[level] = np.maximum(np.minimum(mean + low[pool] * scale, mean), self.lowest)
            upper[level] = np.maximum(mean + high[pool] * scale, mean)
            if np.isnan(lower[level]).any():
                notes = (*notes, f"no interval for {level:g} % where there are too few past errors")
        return Forecast(forecast.series, forecast.cutoff, mean, lower, upper, (*forecast.notes, *notes))

    def save(self, folder: Path) -> None:
        """Write the pools below ``folder``."""
        limits = np.array([self.floor, self.lowest])
        arrays = {"step_ends": self.step_ends, "size_ends": self.size_ends, "limits": limits}
        save_arrays(folder / "errors", arrays | {"scores": self.scores.scores, "offsets": self.scores.offsets})

    @classmethod
    def load(cls, folder: Path) -> ErrorPools:
        """Read what :meth:`save` wrote."""
        arrays = load_arrays(folder / "errors", ["step_ends", "size_ends", "limits", "scores", "offsets"])
        floor, lowest = (float(value) for value in arrays["limits"])
        scores = GroupedScores(arrays["scores"], arrays["offsets"])
        return cls(arrays["step_ends"], arrays["size_ends"], scores, floor, lowest)


def _shares(errors: int) -> list[float]:
    """The shares of the errors below each cut between two classes, where there are so many in all."""
    classes = int(np.clip(errors // _POOL_SIZE, 1, _CLASSES))
    shares = [number / classes for number in range(1, classes)]
    if classes == _CLASSES:
        shares += [1.0 - share for share in _FASTEST if share * errors >= _POOL_SIZE]
    return shares


def _pool_of(
    step_ends: NDArray[np.int64],
    size_ends: NDArray[np.float64],
    step: NDArray[np.int64],
    size: NDArray[np.floating],
) -> NDArray[np.int64]:
    by_step = np.minimum(np.searchsorted(step_ends, step), len(step_ends) - 1)
    return np.asarray(by_step * (len(size_ends) + 1) + np.searchsorted(size_ends, size), dtype=np.int64)
