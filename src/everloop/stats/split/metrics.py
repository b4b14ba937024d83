"""A metric of units as one number for each unit and look, ready for a comparison of arms.

Whatever the metric is (a mean, a count, yes or no, a ratio of two sums), it becomes a value by unit: what the unit
came to from the first day to the look. Then the days of one unit may depend on each other as they like.

- A *ratio* of sums, such as errors over sales, is linearised at the ratio over all arms: ``R + (Y - R D) / mean(D)``
  (Budylin, Drutsa, Katsev and Tsoy 2018, "Consistent Transformation of Ratio Metrics", equation (4); with the arms'
  own ratios it would be the delta method of Deng, Knoblich and Lu 2018).
- *Variance reduction* takes off what was known before: ``V - theta (X - mean(X))`` with X the same metric before the
  split, or the model's own forecast of it (CUPED: Deng, Xu, Kohavi and Walker 2013, section 3). Theta is one least
  squares fit over all arms at each look.

In a test, ratio and theta are the same for every way of dealing the units to the arms. So, where the arms are alike,
dealing the units anew gives an equally likely experiment, and the test stays exact. For bounds around an effect, ratio
and theta are those within the arms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["UnitMetric", "at_effect", "unit_sizes", "unit_values"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class UnitMetric:
    """Daily sums of a metric by unit.

    Attributes:
        name: what it is called.
        sums: the sum of each unit on each day, shape ``(units, days)``, finite; zero where there was nothing.
        counts: for a ratio, the sums that these are divided by, of the same shape.
        before: the unit's sum before the split, shape ``(units,)``; NaN where nothing is known of it.
        before_counts: for a ratio, likewise.
        expected: what a model that knew nothing of the arms expected of ``sums``, shape ``(units, days)``; it must
            not depend on the arm.
        better: whether ``"higher"`` or ``"lower"`` is better.
        margin: a worsening of no more than this is borne (a share of the champion's value, or absolute).
        scale: whether effects are shares of the champion's value (``"relative"``) or ``"absolute"``.
    """

    name: str
    sums: Floats
    counts: Floats | None = None
    before: Floats | None = None
    before_counts: Floats | None = None
    expected: Floats | None = None
    better: Literal["higher", "lower"] = "higher"
    margin: float = 0.0
    scale: Literal["relative", "absolute"] = "relative"

    def __post_init__(self) -> None:
        for name in ("sums", "counts", "expected"):
            block = getattr(self, name)
            if block is not None and (block.shape != self.sums.shape or not np.isfinite(block).all()):
                raise ValueError(f"{name} of {self.name} must be finite and of shape {self.sums.shape}")
        for name in ("before", "before_counts"):
            row = getattr(self, name)
            if row is not None and row.shape != self.sums.shape[:1]:
                raise ValueError(f"{name} of {self.name} must be of shape {self.sums.shape[:1]}")

    def until(self, days: int) -> UnitMetric:
        """The same over the first days."""
        counts, expected = (None if each is None else each[:, :days] for each in (self.counts, self.expected))
        return replace(self, sums=self.sums[:, :days], counts=counts, expected=expected)

    @property
    def is_adjusted(self) -> bool:
        """Whether something known before reduces the variance."""
        knows_before = self.before is not None and (self.counts is None or self.before_counts is not None)
        return knows_before or self.expected is not None


def unit_values(metric: UnitMetric, present: NDArray[np.bool_], arm: NDArray[np.integer[Any]] | None = None) -> Floats:
    """The metric of each unit from the first day to each look, a mean by day or a ratio, adjusted.

    Args:
        metric: its daily sums.
        present: which units have entered by each look, shape ``(units, days)``; others get zero.
        arm: the arm of each unit, where ratios are to be linearised and adjusted within arms, as their bounds need it;
            ``None`` for values that do not depend on the arms, as a test of arms that are alike needs them.

    >>> metric = UnitMetric("visits", np.array([[1.0, 3.0], [2.0, 2.0]]))
    >>> unit_values(metric, np.ones((2, 2), bool))
    array([[1., 2.],
           [2., 2.]])
    """
    total = np.cumsum(metric.sums, axis=1)
    days = np.arange(1, total.shape[1] + 1)
    group = np.zeros(len(total), dtype=np.int64) if arm is None else arm
    if metric.counts is None:
        value, covariates = total / days, _plain_covariates(metric, days)
    else:
        value = _linearised(total, np.cumsum(metric.counts, axis=1), present, group)
        covariates = _ratio_covariates(metric, days)
    for block in covariates:
        block[~np.isfinite(block)] = np.nan
    adjusted = _adjusted(value, covariates, present, group) if covariates else value
    return np.where(present, adjusted, 0.0)


def at_effect(metric: UnitMetric, arm: NDArray[np.integer[Any]], effect: float) -> UnitMetric:
    """The metric as it would be had the challengers' improvement not been there, if it was ``effect`` for each unit.

    Where that is the truth, the arms are alike in what is returned.
    """
    if not effect:
        return metric
    change = effect if metric.better == "higher" else -effect
    if metric.scale == "relative":
        return replace(metric, sums=metric.sums / np.where(arm > 0, 1 + change, 1.0)[:, None])
    count = np.ones_like(metric.sums) if metric.counts is None else metric.counts
    return replace(metric, sums=metric.sums - count * np.where(arm > 0, change, 0.0)[:, None])


def unit_sizes(metric: UnitMetric, present: NDArray[np.bool_]) -> Floats:
    """What doubling a unit's sums would add to its value, shape ``(units, days)``.

    So a unit whose sums are larger by a share ``r`` has the value ``unit_values + r * unit_sizes``.

    >>> metric = UnitMetric("visits", np.array([[1.0, 3.0], [2.0, 2.0]]))
    >>> unit_sizes(metric, np.ones((2, 2), bool))
    array([[1., 2.],
           [2., 2.]])
    """
    total = np.cumsum(metric.sums, axis=1)
    if metric.counts is None:
        size = total / np.arange(1, total.shape[1] + 1)
    else:
        bottom = np.where(present, np.cumsum(metric.counts, axis=1), 0.0).sum(axis=0)
        size = total * np.divide(present.sum(axis=0), bottom, out=np.zeros_like(bottom), where=bottom > 0)
    return np.where(present, size, 0.0)


def _plain_covariates(metric: UnitMetric, days: NDArray[np.int64]) -> list[Floats]:
    covariates = []
    if metric.before is not None:
        covariates.append(np.repeat(metric.before[:, None], len(days), axis=1).astype(np.float64))
    if metric.expected is not None:
        covariates.append(np.cumsum(metric.expected, axis=1) / days)
    return covariates


def _ratio_covariates(metric: UnitMetric, days: NDArray[np.int64]) -> list[Floats]:
    """What was known before of a ratio, as a value that can be regressed on: how far the unit's was above all's."""
    covariates = []
    if metric.before is not None and metric.before_counts is not None:
        known = np.isfinite(metric.before) & np.isfinite(metric.before_counts)
        top, bottom = np.where(known, metric.before, 0.0), np.where(known, metric.before_counts, 0.0)
        ratio = top.sum() / bottom.sum() if bottom.sum() > 0 else 0.0
        excess = np.where(known, top - ratio * bottom, np.nan)
        covariates.append(np.repeat(excess[:, None], len(days), axis=1))
    if metric.expected is not None:
        covariates.append(np.cumsum(metric.expected, axis=1) / days)
    return covariates


def _linearised(top: Floats, bottom: Floats, present: NDArray[np.bool_], group: NDArray[np.integer[Any]]) -> Floats:
    linear = np.zeros_like(top)
    for number in np.unique(group):
        rows = group == number
        count = np.maximum(present[rows].sum(axis=0), 1)
        over, under = (np.where(present[rows], each[rows], 0.0).sum(axis=0) for each in (top, bottom))
        ratio = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
        mean = np.where(under > 0, under / count, 1.0)
        linear[rows] = ratio + (top[rows] - ratio * bottom[rows]) / mean
    return linear


def _adjusted(
    value: Floats, covariates: list[Floats], present: NDArray[np.bool_], group: NDArray[np.integer[Any]]
) -> Floats:
    """Less what the covariates explain, by one fit over all units that are present; an unknown one counts as the mean.

    With several groups the fit is within them, so that what makes them differ is not taken for the covariates' work.
    """
    adjusted = value.copy()
    for look in range(value.shape[1]):
        rows = present[:, look]
        columns = [_centred(block[rows, look]) for block in covariates]
        x = np.column_stack([column for column in columns if column.any()] or [np.zeros(int(rows.sum()))])
        if len(x) <= x.shape[1] + 2 or not x.any():
            continue
        y = value[rows, look]
        theta = np.linalg.lstsq(_within(x, group[rows]), _within(y[:, None], group[rows])[:, 0], rcond=1e-9)[0]
        adjusted[rows, look] = y - x @ theta
    return adjusted


def _within(columns: Floats, group: NDArray[np.integer[Any]]) -> Floats:
    centred = np.empty_like(columns)
    for number in np.unique(group):
        rows = group == number
        centred[rows] = columns[rows] - columns[rows].mean(axis=0)
    return centred


def _centred(column: Floats) -> Floats:
    known = np.isfinite(column)
    if not known.any():
        return np.zeros_like(column)
    centred: Floats = np.where(known, column - column[known].mean(), 0.0)
    size = float(np.abs(centred).max())
    return centred / size if size > 0 else centred
