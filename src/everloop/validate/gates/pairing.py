"""Two backtests of the same windows held against each other, case by case."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel, join_key
from everloop.stats.paired.comparison import PairedLosses
from everloop.stats.paired.paths import PairedRule, paired_paths
from everloop.validate.backtest import Backtest, Fold
from everloop.validate.clusters import choose_cluster

__all__ = ["Clusters", "Estimate", "bias_of", "coverage_of", "saving"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which group each series of a panel belongs to.

    Attributes:
        name: what a group is.
        codes: the group's number of each series, shape ``(n_series,)``.
        names: the groups.
    """

    name: str
    codes: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def of(cls, panel: Panel, named: str = "") -> Clusters:
        """The groups of a panel's series by ``release.cluster``, or the default."""
        texts = [join_key(key) for key in panel.keys]
        name, group = choose_cluster(panel.series_columns, texts, named)
        names, codes = np.unique([group(text) for text in texts], return_inverse=True)
        return cls(name, codes.astype(np.int64), tuple(map(str, names)))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its interval, looked at once.

    Attributes:
        value: the share; ``None`` where there is nothing to divide by.
        lower: below this with probability at most ``alpha``; ``None`` where too little is known.
        upper: likewise above.
        unit: what was taken for independent: clusters or days.
        deviation: its standard error, NaN where unknown.
        worth: how many independent units of equal size there are.
    """

    value: float | None
    lower: float | None
    upper: float | None
    unit: str
    deviation: float
    worth: float

    @property
    def is_surely_positive(self) -> bool:
        """Whether zero lies below the interval."""
        return self.lower is not None and self.lower > 0

    @property
    def is_surely_negative(self) -> bool:
        """Whether zero lies above the interval."""
        return self.upper is not None and self.upper < 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"effect": self.value, "lower": self.lower, "upper": self.upper, "unit": self.unit}


def saving(
    mine: Backtest, other: Backtest, clusters: Clusters, *, metric: str, alpha: float, where: NDArray[Any] | None = None
) -> Estimate | None:
    """By which share of the other's loss mine is smaller; negative where it is larger.

    Args:
        mine: a backtest.
        other: one of the same windows and series.
        clusters: the groups.
        metric: ``"wape"``, ``"mase"`` or ``"rmsse"``; others have no losses by case.
        alpha: the error bound of each end.
        where: which series count, shape ``(n_series,)``; all by default.

    Returns:
        ``None`` where the metric has no losses by case, or the windows differ.
    """
    if metric not in ("wape", "mase", "rmsse") or not _are_alike(mine, other):
        return None
    cells: list[tuple[Fold, Floats, Floats]] = []
    for fold, rival in zip(mine.folds, other.folds, strict=True):
        if where is not None:
            rows = np.flatnonzero(where[fold.positions])
            fold, rival = _rows(fold, rows), _rows(rival, rows)
        own, theirs = _losses(fold, metric), _losses(rival, metric)
        is_known = np.isfinite(own) & np.isfinite(theirs)
        cells.append((fold, np.where(is_known, theirs - own, np.nan), np.where(is_known, theirs, np.nan)))
    return _estimate(cells, clusters, alpha)


def bias_of(backtest: Backtest, clusters: Clusters, *, alpha: float) -> Estimate:
    """How much too high forecasts are in sum, as a share of what was sold."""
    cells = [(fold, fold.mean - fold.actual, np.abs(fold.actual)) for fold in backtest.folds]
    return _estimate(cells, clusters, alpha)


def coverage_of(backtest: Backtest, clusters: Clusters, level: float, *, alpha: float) -> Estimate | None:
    """How far the share of actual values inside an interval lies above its level; ``None`` without intervals."""
    if level not in backtest.levels:
        return None
    cells = []
    for fold in backtest.folds:
        lower, upper = fold.lower[level], fold.upper[level]
        is_known = np.isfinite(fold.actual) & np.isfinite(lower) & np.isfinite(upper)
        is_inside = (lower <= fold.actual) & (fold.actual <= upper)
        cells.append((fold, np.where(is_known, is_inside - level / 100, np.nan), np.where(is_known, 1.0, np.nan)))
    return _estimate(cells, clusters, alpha)


def _are_alike(mine: Backtest, other: Backtest) -> bool:
    return len(mine.folds) == len(other.folds) and all(
        fold.cutoff == rival.cutoff and np.array_equal(fold.positions, rival.positions)
        for fold, rival in zip(mine.folds, other.folds, strict=True)
    )


def _rows(fold: Fold, rows: NDArray[np.intp]) -> Fold:
    """A window of some of its series, without the intervals, which no loss needs."""
    return replace(
        fold,
        positions=fold.positions[rows],
        actual=fold.actual[rows],
        mean=fold.mean[rows],
        lower={},
        upper={},
        mase_scale=fold.mase_scale[rows],
        rmsse_scale=fold.rmsse_scale[rows],
    )


def _losses(fold: Fold, metric: str) -> Floats:
    """The loss of each case in the metric's own unit; infinite scales and such are left out as NaN."""
    error = fold.mean - fold.actual
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric == "wape":
            loss = np.abs(error)
        elif metric == "mase":
            loss = np.abs(error) / fold.mase_scale[:, None]
        else:
            loss = error**2 / fold.rmsse_scale[:, None]
    return np.where(np.isfinite(loss), loss, np.nan)


def _estimate(cells: list[tuple[Fold, Floats, Floats]], clusters: Clusters, alpha: float) -> Estimate:
    """The ratio of two sums over all cases, with its interval, from the sums by period and group."""
    first = min(fold.cutoff for fold, _, _ in cells) + 1
    last = max(fold.cutoff + fold.mean.shape[1] for fold, _, _ in cells)
    over = np.zeros((last - first + 1, len(clusters.names)))
    under = np.zeros_like(over)
    counts = np.zeros(over.shape, dtype=np.int64)
    for fold, upper_part, lower_part in cells:
        is_known = np.isfinite(upper_part) & np.isfinite(lower_part)
        rows = fold.cutoff + 1 - first + np.arange(fold.mean.shape[1])
        place = (rows[None, :], clusters.codes[fold.positions][:, None])
        np.add.at(over, place, np.where(is_known, upper_part, 0.0))
        np.add.at(under, place, np.where(is_known, lower_part, 0.0))
        np.add.at(counts, place, is_known)
    days = counts.any(axis=1)
    losses = PairedLosses(np.flatnonzero(days) + first, clusters.names, under[days], (under - over)[days], counts[days])
    if not len(losses.days) or not losses.champion.sum() > 0:
        return Estimate(None, None, None, "day", np.nan, 0.0)
    rule = PairedRule(alpha=alpha, min_days=1, max_days=len(losses.days), looks="once")
    found = paired_paths(losses.champion - losses.challenger, losses.champion, rule)
    value, lower, upper = (float(path[-1]) for path in (found.effect, found.lower, found.upper))
    is_known_at_all = bool(np.isfinite(lower))
    return Estimate(
        value,
        lower if is_known_at_all else None,
        upper if is_known_at_all else None,
        "day" if found.by_day[-1] else clusters.name,
        float(found.deviation[-1]),
        float(found.worth[-1]),
    )
