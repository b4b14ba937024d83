"""What the arms' differences look like over all looks where the arms do not differ.

While an arm has fewer than ``LARGE_ARM`` units, the units are dealt anew, keeping the arms' sizes: a randomisation test
(Fisher 1935), which is exact for any distribution where the arms are alike. The statistic is studentised, so that it
stays right in large samples where only the means are alike (Janssen 1997; Wu and Ding 2021, "Randomization Tests for
Weak Null Hypotheses", Journal of the American Statistical Association 116). Beyond, the paths are drawn from the normal
distribution with the covariance that the units show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWS", "LARGE_ARM", "ArmMeans", "arm_means", "null_paths", "statistic"]

Floats = NDArray[np.float64]

DRAWS = 10_000
LARGE_ARM = 5_000
_DEALT_CELLS = 60_000_000
_SEED = 20_260_301
_CHUNK_CELLS = 4_000_000
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class ArmMeans:
    """Each arm's mean over its units, shapes ``(..., arms, metrics, days)``; NaN with fewer than two units.

    Attributes:
        mean: the mean.
        variance: the variance of that mean.
    """

    mean: Floats
    variance: Floats


def arm_means(
    values: Sequence[Floats], present: NDArray[np.bool_], arm: NDArray[np.integer[Any]], arms: int
) -> ArmMeans:
    """Means and their variances.

    Args:
        values: of each metric, the value of each unit at each look, shape ``(units, days)``.
        present: which units have entered, shape ``(units, days)``.
        arm: the arm of each unit, or of each unit in each of several deals, shape ``(..., units)``.
        arms: how many arms there are.
    """
    stacked, centre = _stacked(values, present)
    metrics, units, days = stacked.shape
    flat = np.concatenate([present[None].astype(np.float64), stacked, stacked**2])
    columns = flat.transpose(1, 0, 2).reshape(units, -1)
    means, variances = [], []
    with np.errstate(invalid="ignore", divide="ignore"):
        for number in range(arms):
            sums = (arm == number).astype(np.float64) @ columns
            sums = sums.reshape(*arm.shape[:-1], 1 + 2 * metrics, days)
            n = sums[..., :1, :]
            mean = sums[..., 1 : 1 + metrics, :] / n
            square = sums[..., 1 + metrics :, :]
            spread = square - n * mean**2
            spread = np.where(spread > _ROUNDING * square, spread, 0.0)
            means.append(np.where(n >= 2, mean, np.nan))
            variances.append(np.where(n >= 2, spread / (n - 1) / n, np.nan))
    return ArmMeans(np.stack(means, axis=-3) + centre, np.stack(variances, axis=-3))


def statistic(found: ArmMeans) -> Floats:
    """Each other arm's mean less arm 0's, over its standard error, shape ``(..., arms - 1, metrics, days)``.

    Zero where nothing can be said yet: too few units, or none that differ. Infinite where each arm's units are all
    alike and the arms differ: a release that fails on every request of its units is no matter of chance.
    """
    difference = found.mean[..., 1:, :, :] - found.mean[..., :1, :, :]
    variance = found.variance[..., 1:, :, :] + found.variance[..., :1, :, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(difference / np.sqrt(variance), nan=0.0, posinf=np.inf, neginf=-np.inf)


def null_paths(
    values: Sequence[Floats], present: NDArray[np.bool_], arm: NDArray[np.int64], arms: int, *, draws: int = DRAWS
) -> Floats:
    """Paths of the statistic where the arms are alike, shape ``(draws, arms - 1, metrics, days)``.

    The draws are the same at each call with as many units and arms of these sizes. Of very many units they are fewer
    than was asked for.
    """
    sizes = np.bincount(arm, minlength=arms)
    if sizes.min() >= LARGE_ARM:
        return _normal_paths(values, present, arm, arms, draws)
    # of very many units fewer draws: a weaker test, not a wrong one
    draws = min(draws, max(_DEALT_CELLS // len(arm), 1_000))
    deals = _deals(tuple(sizes.tolist()), draws)
    step = max(1, _CHUNK_CELLS // max(len(arm), 2 * len(values) * present.shape[1]))
    parts = [
        statistic(arm_means(values, present, deals[start : start + step], arms)) for start in range(0, draws, step)
    ]
    return np.concatenate(parts)


@lru_cache(maxsize=4)
def _deals(sizes: tuple[int, ...], draws: int) -> NDArray[np.int8]:
    rng = np.random.default_rng(_SEED)
    one = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
    deals = rng.permuted(np.tile(one, (draws, 1)), axis=1)
    deals.setflags(write=False)
    return deals


def _normal_paths(
    values: Sequence[Floats], present: NDArray[np.bool_], arm: NDArray[np.int64], arms: int, draws: int
) -> Floats:
    stacked, _ = _stacked(values, present)
    metrics, _, days = stacked.shape
    rng = np.random.default_rng(_SEED)
    means, variances = [], []
    for number in range(arms):
        own = present[arm == number]
        n = np.maximum(own.sum(axis=0), 1)
        block = stacked[:, arm == number]
        centred = np.where(own, block - block.sum(axis=1, keepdims=True) / n[None, None, :], 0.0) / n
        wide = centred.transpose(1, 0, 2).reshape(len(own), metrics * days)
        covariance = wide.T @ wide
        weight, basis = np.linalg.eigh(covariance)
        root = basis * np.sqrt(np.maximum(weight, 0.0))
        means.append((rng.standard_normal((draws, len(root))) @ root.T).reshape(draws, metrics, days))
        variances.append(np.broadcast_to(np.diag(covariance).reshape(metrics, days), (draws, metrics, days)))
    return statistic(ArmMeans(np.stack(means, axis=1), np.stack(variances, axis=1)))


def _stacked(values: Sequence[Floats], present: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The metrics in one block ``(metrics, units, days)``, less their means over all units for the sake of rounding."""
    block = np.stack(values)
    centre = np.where(present, block, 0.0).sum(axis=1) / np.maximum(present.sum(axis=0), 1)
    block = np.where(present, block - centre[:, None, :], 0.0)
    # what is left of equal values by rounding is no difference
    size = np.maximum(np.abs(block).max(axis=1), np.abs(centre))[:, None, :]
    return np.where(np.abs(block) > _ROUNDING * size, block, 0.0), centre
