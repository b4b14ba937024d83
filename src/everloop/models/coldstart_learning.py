"""What launches teach: levels by siblings, the course by age, how far own days can be trusted, and past errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.models.credibility import Effects, learn_effects
from everloop.models.intervals import PastErrors, error_unit, no_errors

__all__ = ["AGE_CLASSES", "Course", "Judged", "Task", "age_class", "drawn", "strangers"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

AGE_CLASSES = 3
_FOLDS = 6
_HALF_LIVES = (4.0, 8.0, 16.0, 64.0)
"""How fast old launches are forgotten, in young ages: for days, from four months to five years."""
_TRUSTS = 2.0 ** np.arange(-3, 9)
"""The weights of the siblings that are tried, in units sold (in periods for targets of both signs)."""
_JUDGED_AGES = (0.0, 0.08, 0.15, 0.25, 0.5, 0.75, 0.97)
_WHOLE = 0.8
"""The course by age is learnt from launches of which so much of the ages is known."""
_FEW = 20


@dataclass(frozen=True, slots=True)
class Course:
    """How a launch goes: the level by siblings, and by age relative to the mean of all ages, age 0 first."""

    effects: Effects
    curve: Doubles


@dataclass(frozen=True, slots=True)
class Judged:
    """What would have forecast past launches best.

    Attributes:
        half_life: a launch so many periods ago counts half as much as one of today.
        trusts: the siblings' weight against own periods, for launches with siblings in every column, and for others.
        past: errors by class of age.
    """

    half_life: float
    trusts: tuple[float, float]
    past: tuple[PastErrors, ...]


@dataclass(frozen=True, slots=True)
class _Trial:
    """Launches as they were expected before they began: which, level, course by age, and groups known by then."""

    rows: Ints
    level: Doubles
    curve: Doubles
    codes: Ints


@dataclass(frozen=True, slots=True)
class Task:
    """Launches to learn from.

    Attributes:
        flat: sales without their season by age, shape ``(k, 1 + young + horizon)``; age 0 is NaN.
        shape: the season at each of them.
        codes: the groups of each launch, shape ``(columns, k)``.
        counts: the number of groups of each column.
        first: the grid index of each one's age 0.
        until: the grid index after the last one known.
        are_real: whether they are launches, so that what came earlier can be told from what came later.
        young: forecasts are made from ages up to this.
        bucket: so many ages share one value of the course.
        is_ratio: whether effects and seasons multiply.
    """

    flat: Doubles
    shape: Doubles
    codes: Ints
    counts: list[int]
    first: Ints
    until: int
    are_real: bool
    young: int
    bucket: int
    is_ratio: bool

    @property
    def horizon(self) -> int:
        """How far forecasts go."""
        return int(self.flat.shape[1]) - 1 - self.young

    @property
    def scale(self) -> tuple[float, float]:
        """The mean absolute value of the launches' sales and their standard deviation."""
        known = self.flat[np.isfinite(self.flat)]
        return (float(np.abs(known).mean()), float(known.std())) if len(known) else (0.0, 0.0)

    def learned(self, rows: Bools, until: int, half_life: float) -> Course:
        """The course of some of the launches.

        Args:
            rows: which.
            until: only periods before this grid index are read.
            half_life: a launch so many periods earlier counts half as much.
        """
        flat, first = self.flat[rows], self.first[rows]
        flat = np.where(first[:, None] + np.arange(flat.shape[1]) < until, flat, np.nan)
        curve = self._curve(flat)
        is_there = np.isfinite(flat)
        days = is_there.sum(axis=1)
        kept = days > 0
        rest = np.where(is_there, flat / curve if self.is_ratio else flat - curve, 0.0)[kept]
        level = rest.sum(axis=1) / days[kept]
        weight = (0.5 ** ((until - first) / half_life) * days / (days + self.young / 4))[kept]
        codes = self.codes[:, rows][:, kept]
        return Course(learn_effects(level, weight, codes, self.counts, is_ratio=self.is_ratio), curve)

    def _curve(self, flat: Doubles) -> Doubles:
        """The level by age, drawn to a flat one by the positive part of James and Stein's weight."""
        none = 1.0 if self.is_ratio else 0.0
        ages = flat.shape[1]
        curve = np.full(ages, none)
        is_there = np.isfinite(flat)
        whole = is_there.sum(axis=1) >= _WHOLE * (ages - 1)
        if whole.sum() < _FEW:
            return curve
        values, is_there = np.where(is_there, flat, 0.0)[whole], is_there[whole]
        mean = values.sum(axis=1) / is_there.sum(axis=1)
        if self.is_ratio:
            values, is_there, mean = values[mean > 0], is_there[mean > 0], mean[mean > 0]
        begins = np.arange(1, ages, self.bucket)
        found, variance = np.full(len(begins), none), np.full(len(begins), np.inf)
        for number, begin in enumerate(begins.tolist()):
            part = slice(begin, begin + self.bucket)
            held = is_there[:, part].sum(axis=1)
            total = values[:, part].sum(axis=1)
            # launches weigh by the root of their size, between all alike and all by their sales
            weight = mean**-0.5 if self.is_ratio else np.ones(len(mean))
            below = float((weight * held * mean if self.is_ratio else weight * held).sum())
            if below <= 0:
                continue
            excess = weight * (total - held * mean)
            found[number] = none + float(excess.sum()) / below
            off = excess - (found[number] - none) * weight * held * (mean if self.is_ratio else 1.0)
            variance[number] = float((off**2).sum()) / below**2
        signal = float(((found - none) ** 2 / np.maximum(variance, 1e-12)).sum())
        kept = max(0.0, 1.0 - max(len(begins) - 3, 0) / signal) if signal > 0 else 0.0
        for begin, value in zip(begins.tolist(), found.tolist(), strict=True):
            curve[begin : begin + self.bucket] = none + kept * (value - none)
        curve[0] = curve[min(1, ages - 1)]
        return np.maximum(curve, 0.05) if self.is_ratio else curve

    def judged(self, seed: int) -> Judged:
        """What would have forecast past launches best, each from earlier ones, and the errors of that.

        Stand-ins have no order in time; they are forecast from those of other folds.
        """
        k = len(self.flat)
        if k < _FOLDS:
            return Judged(_HALF_LIVES[0] * self.young, (1.0, 1.0), tuple(no_errors() for _ in range(AGE_CLASSES)))
        trials = [self._trial(half_life * self.young, seed) for half_life in _HALF_LIVES]
        losses = [float(self._losses(trial, 0, 1.0).sum()) for trial in trials]
        best = int(np.argmin(losses))
        trial = trials[best]
        loss = np.stack([sum(self._losses(trial, age, trust) for age in self._ages()) for trust in _TRUSTS.tolist()])
        is_stranger = strangers(trial.codes)
        trusts = []
        for of_kind in (~is_stranger, is_stranger):
            used = of_kind if of_kind.sum() >= _FEW else np.ones_like(of_kind)
            trusts.append(float(_TRUSTS[int(np.argmin(loss[:, used].sum(axis=1)))]))
        trust = np.where(is_stranger, trusts[1], trusts[0])
        past = tuple(self._errors(trial, trust, number) for number in range(AGE_CLASSES))
        return Judged(_HALF_LIVES[best] * self.young, (trusts[0], trusts[1]), past)

    def _trial(self, half_life: float, seed: int) -> _Trial:
        """What each launch would have been expected to sell, by what was known before it."""
        k, ages = self.flat.shape
        level, curve = np.full(k, np.nan), np.full((k, ages), np.nan)
        codes = self.codes.copy()
        if self.are_real:
            cuts = np.quantile(self.first, np.arange(1, _FOLDS) / _FOLDS).astype(np.int64)
            fold = np.searchsorted(cuts, self.first, side="right")
        else:
            fold = np.random.default_rng(seed).permutation(k) % _FOLDS
        for number in range(_FOLDS):
            held = np.flatnonzero(fold == number)
            known = fold < number if self.are_real else fold != number
            if known.sum() < _FEW or not len(held):
                continue
            until = int(self.first[held].min()) if self.are_real else self.until
            course = self.learned(known, until, half_life)
            for column, count in enumerate(self.counts):
                has = np.bincount(self.codes[column, known][self.codes[column, known] >= 0], minlength=count) > 0
                given = self.codes[column, held]
                codes[column, held] = np.where((given >= 0) & has[given], given, -1)
            level[held], curve[held] = course.effects.level(codes[:, held]), course.curve
        rows = np.flatnonzero(np.isfinite(level))
        return _Trial(rows, level[rows], curve[rows], codes[:, rows])

    def _ages(self) -> list[int]:
        return sorted({round(part * self.young) for part in _JUDGED_AGES})

    def _losses(self, trial: _Trial, age: int, trust: float) -> Doubles:
        """Each launch's deviance of the total over the horizon (Poisson's, or the squared error), a period."""
        ahead = slice(age + 1, age + 1 + self.horizon)
        flat, curve = self.flat[trial.rows, ahead], trial.curve[:, ahead]
        is_there = np.isfinite(flat)
        held = np.maximum(is_there.sum(axis=1), 1)
        total = np.where(is_there, flat, 0.0).sum(axis=1)
        base = self._drawn(trial, age, np.full(len(trial.rows), trust))[:, None]
        mean = np.where(is_there, base * curve if self.is_ratio else base + curve, 0.0).sum(axis=1)
        if not self.is_ratio:
            return np.asarray((total - mean) ** 2 / held)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where((total > 0) & (mean > 0), total * np.log(total / mean), 0.0)
        return np.asarray((gain - total + mean) / held)

    def _drawn(self, trial: _Trial, age: int, trust: Doubles) -> Doubles:
        own = slice(1, age + 1)
        return drawn(trial.level, self.flat[trial.rows, own], trial.curve[:, own], trust, is_ratio=self.is_ratio)

    def _errors(self, trial: _Trial, trust: Doubles, number: int) -> PastErrors:
        """The errors of forecasts from the judged ages of one class."""
        k = len(trial.rows)
        steps = np.broadcast_to(np.arange(1, self.horizon + 1), (k, self.horizon))
        lowest = 0.0 if self.is_ratio else -np.inf
        scale, deviation = (np.full((k, 1), value) for value in self.scale)
        parts = []
        for age in self._ages():
            if int(age_class(np.array([age if age else -1]), self.young)[0]) != number:
                continue
            ahead = slice(age + 1, age + 1 + self.horizon)
            base, curve = self._drawn(trial, age, trust)[:, None], trial.curve[:, ahead]
            flat, shape = self.flat[trial.rows, ahead], self.shape[trial.rows, ahead]
            mean, truth = (
                (base * curve * shape, flat * shape) if self.is_ratio else (base + curve + shape, flat + shape)
            )
            unit = error_unit(mean, scale, deviation, lowest)
            parts.append((truth.ravel(), mean.ravel(), unit.ravel(), steps.ravel()))
        return PastErrors(*(np.concatenate(each) for each in zip(*parts, strict=True))) if k else no_errors()


def drawn(level: Doubles, own: Doubles, curve: Doubles, trust: Doubles, *, is_ratio: bool) -> Doubles:
    """The level of launches by siblings and own periods, shape ``(k,)``.

    Args:
        level: by siblings.
        own: own sales without their season, shape ``(k, periods)``, NaN where there are none.
        curve: the course at the age of each.
        trust: the weight of the siblings of each, in units sold, or in periods where effects are added.
        is_ratio: whether effects multiply.
    """
    is_there = np.isfinite(own)
    if is_ratio:
        sold = np.where(is_there, own, 0.0).sum(axis=1)
        expected = level * np.where(is_there, curve, 0.0).sum(axis=1)
        return np.asarray(level * (trust + sold) / (trust + expected))
    excess = np.where(is_there, own - level[:, None] - curve, 0.0).sum(axis=1)
    return np.asarray(level + excess / (trust + is_there.sum(axis=1)))


def age_class(age: Ints, young: int) -> Ints:
    """0 for a series without a sale, 1 up to a quarter of the young ages, 2 later."""
    return np.where(age < 1, 0, np.where(age <= young // 4, 1, 2))


def strangers(codes: Ints) -> Bools:
    """Which series belong in some column to a group without a launch so far; ``codes`` as of the siblings."""
    return np.asarray((codes < 0).any(axis=0))
