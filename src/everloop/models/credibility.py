"""Credibility: what the groups that a series belongs to say of its level, each as far as its data carry.

Effects of several columns are multiplied (added for targets of both signs) and estimated in turn until they stand
still (Ohlsson 2008, *Combining generalized linear models and credibility models in practice*). In each turn the
effect of a group is its weighted mean drawn to none by ``w / (w + sigma2 / tau2)`` (Buehlmann and Straub 1970), with
``sigma2``, the variance within groups, and ``tau2``, that between, by moments: the empirical Bayes weights of Efron
and Morris (1975) for groups of different sizes. A column whose groups differ by chance alone drops out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Effects", "learn_effects"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_TURNS = 30
_STILL = 1e-4
_POWER = 1.5
"""The variance of a level is taken to go with this power of its mean, between counts (1) and plain scaling (2)."""
_LEAST, _MOST = 0.02, 50.0


@dataclass(frozen=True, slots=True)
class Effects:
    """The overall level, and the effect of each group of each column.

    Attributes:
        base: the level where nothing is known.
        groups: for each column the effects of its groups, shape ``(groups + 1,)``; the last is of unknown ones.
        is_ratio: whether effects multiply.
    """

    base: float
    groups: tuple[Doubles, ...]
    is_ratio: bool

    def level(self, codes: Ints) -> Doubles:
        """The expected level of series by their groups; ``codes`` has shape ``(columns, n)``, -1 is unknown."""
        level = np.full(codes.shape[1], self.base)
        for effects, column in zip(self.groups, codes, strict=True):
            level = level * effects[column] if self.is_ratio else level + effects[column]
        return level


def learn_effects(level: Doubles, days: Doubles, codes: Ints, counts: list[int], *, is_ratio: bool) -> Effects:
    """The effects of groups on the levels of past launches.

    Args:
        level: the mean of each, shape ``(n,)``.
        days: over how many periods it was taken, its weight.
        codes: the group of each in each column, shape ``(columns, n)``; -1 is unknown.
        counts: the number of groups of each column.
        is_ratio: whether effects multiply.
    """
    none = 1.0 if is_ratio else 0.0
    groups = [np.full(count + 1, none) for count in counts]
    base = float(np.average(level, weights=days)) if days.sum() > 0 else 0.0
    if is_ratio and base <= 0:
        return Effects(0.0, tuple(groups), is_ratio)
    for _ in range(_TURNS):
        before = [effects.copy() for effects in groups]
        for number, column in enumerate(codes):
            others = Effects(
                base, tuple(np.full_like(e, none) if k == number else e for k, e in enumerate(groups)), is_ratio
            )
            expected = others.level(codes)
            rest = level / expected if is_ratio else level - expected
            weight = days * expected ** (2.0 - _POWER) if is_ratio else days
            groups[number] = _credible(rest, weight, column, counts[number], none)
        fitted = Effects(base, tuple(groups), is_ratio).level(codes)
        if is_ratio:
            weight = days * fitted ** (1.0 - _POWER)
            base *= float((weight * level).sum() / (weight * fitted).sum())
        else:
            base += float(np.average(level - fitted, weights=days))
        if all(np.abs(new - old).max() < _STILL for new, old in zip(groups, before, strict=True)):
            break
    return Effects(base, tuple(groups), is_ratio)


def _credible(rest: Doubles, weight: Doubles, column: Ints, count: int, none: float) -> Doubles:
    """The effects of one column's groups, drawn to none."""
    effects = np.full(count + 1, none)
    is_known = column >= 0
    rest, weight, column = rest[is_known], weight[is_known], column[is_known]
    total = np.bincount(column, weight, count)
    held = np.bincount(column, minlength=count)
    is_there = total > 0
    if is_there.sum() < 2:
        return effects
    mean = np.bincount(column, weight * rest, count) / np.where(is_there, total, 1.0)
    free = int((held[is_there] - 1).sum())
    if free < 1:
        return effects
    within = float((weight * (rest - mean[column]) ** 2).sum()) / free
    middle = float((total * mean)[is_there].sum() / total.sum())
    spread = float((total * (mean - middle) ** 2)[is_there].sum()) - (int(is_there.sum()) - 1) * within
    between = spread / float(total.sum() - (total**2).sum() / total.sum())
    if between <= 0:
        return effects
    credit = total / (total + within / between)
    drawn = none + credit * (mean - none)
    if none == 1.0:
        drawn = np.clip(drawn, _LEAST, _MOST)
    effects[:count] = np.where(is_there, drawn, none)
    return effects
