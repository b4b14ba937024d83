"""Cold start: forecasts of series with no history or a few days of it, from how earlier launches went.

The level of a new series is what launches of its siblings sold at the same age (:mod:`everloop.models.credibility`),
corrected by its own first days as far as those can be trusted: with ``S`` sold where ``A`` were expected, by the
factor ``(k + S) / (k + A)``. That is the posterior mean where true levels scatter about the siblings' as a gamma
variable and sales are counts (linear credibility, Buehlmann 1967, else); ``k`` is the one number that would have
forecast earlier launches best, each from siblings of other folds. Intervals come from the errors of those forecasts,
by age. The first sale itself tells nothing of the level, since without it there would be no age; it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.seeds import derive_seed
from everloop.data.panel import Panel
from everloop.models.coldstart_learning import AGE_CLASSES, Course, Task, age_class, drawn, strangers
from everloop.models.credibility import Effects
from everloop.models.forecaster import Forecast, ForecastRequest
from everloop.models.intervals import ErrorPools, error_unit
from everloop.models.launches import ages, find_launches, young_for
from everloop.models.profiles import Profiles, season_of
from everloop.models.recomputed import whole_seasons
from everloop.models.siblings import Siblings, known_means
from everloop.models.state import load_arrays, load_head, save_arrays, save_head

__all__ = ["ColdStart", "NewSeries"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_HISTORY = 400


@dataclass(frozen=True, slots=True)
class NewSeries:
    """Forecasts of new series.

    Attributes:
        series: their numbers, rising where they are a panel's new ones.
        mean: shape ``(k, horizon)``.
        age_class: see :func:`everloop.models.coldstart_learning.age_class`.
    """

    series: Ints
    mean: Doubles
    age_class: Ints


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What launches in the past say of a series that is new.

    Attributes:
        young: up to which age a series counts as new, in periods.
        horizon: the most steps that can be asked.
        siblings: the columns that make siblings.
        course: the level by them, and by age.
        half_life: a launch so many periods ago counted half as much as one of today.
        trusts: ``k``, the weight of the siblings against own periods: where there are some in every column, and else.
        scale: the mean absolute value of launches' sales, and their standard deviation.
        profiles: the seasonal profiles of groups.
        pools: past errors by class of age, see :func:`everloop.models.coldstart_learning.age_class`.
        launches: how many were learnt from; negative where all series stood in for them.
    """

    young: int
    horizon: int
    siblings: Siblings
    course: Course
    half_life: float
    trusts: tuple[float, float]
    scale: tuple[float, float]
    profiles: Profiles
    pools: tuple[ErrorPools, ...]
    launches: int

    @classmethod
    def learn(cls, panel: Panel, *, horizon: int, seed: int = 7) -> ColdStart:
        """Learn from the launches of a panel.

        Args:
            panel: all of it counts, but of the time after its cutoff only what is known ahead.
            horizon: the most steps that will be asked.
            seed: of the folds and samples.
        """
        is_ratio = not bool((panel.y < 0).any())
        young = young_for(panel)
        found = find_launches(panel, 1 + young + horizon)
        season = season_of(panel)
        memory = whole_seasons(_HISTORY, season)
        profiles = Profiles.learn(panel, panel.last(memory), panel.cutoff, is_ratio=is_ratio)
        member = profiles.member(panel)[found.series]
        shape = profiles.at(member, found.first, found.sales.shape[1])
        flat = found.sales / shape if is_ratio else found.sales - shape
        flat[:, 0] = np.nan
        numbers = known_means(panel, found.series, panel.cutoff - found.first, young)
        siblings = Siblings.learn(panel, found.series, numbers)
        codes = siblings.codes(panel, found.series, numbers)
        bucket = min(season, young // 2) if panel.frequency.unit not in ("w", "mo", "q", "y") else 1
        task = Task(
            flat=flat,
            shape=shape,
            codes=codes,
            counts=siblings.counts,
            first=found.first,
            until=panel.cutoff + 1,
            are_real=found.are_real,
            young=young,
            bucket=bucket,
            is_ratio=is_ratio,
        )
        judged = task.judged(derive_seed(seed, "coldstart"))
        lowest = 0.0 if is_ratio else -np.inf
        pools = tuple(ErrorPools.collect(each, horizon=horizon, lowest=lowest, seed=seed) for each in judged.past)
        course = task.learned(np.ones(len(flat), dtype=np.bool_), task.until, judged.half_life)
        count = len(flat) if found.are_real else -len(flat)
        return cls(
            young, horizon, siblings, course, judged.half_life, judged.trusts, task.scale, profiles, pools, count
        )

    def is_new(self, panel: Panel) -> NDArray[np.bool_]:
        """Which series had their first sale less than ``young`` periods ago, or have hardly begun without one."""
        age = ages(panel)
        return np.where(age >= 0, age < self.young, panel.lengths <= self.young)

    def mean(self, panel: Panel, series: Ints, horizon: int) -> Doubles:
        """The forecasts of some series, shape ``(len(series), horizon)``; meant for new ones."""
        age = np.minimum(ages(panel)[series], self.young)
        begin = np.minimum(np.maximum(age, 0), panel.lengths[series] - 1)
        numbers = known_means(panel, series, begin, self.young)
        codes = self.siblings.codes(panel, series, numbers)
        level = self.course.effects.level(codes)
        trust = np.where(strangers(codes), self.trusts[1], self.trusts[0])
        columns = self.young + 1
        first = np.full(len(series), panel.cutoff - self.young)
        shape = self.profiles.at(self.profiles.member(panel)[series], first, columns + horizon)
        at = age[:, None] - self.young + np.arange(columns + horizon)[None, :]
        curve = self.course.curve[np.clip(at, 1, len(self.course.curve) - 1)]
        is_ratio = self.course.effects.is_ratio
        block = panel.last(columns)[series].astype(np.float64)
        own = block / shape[:, :columns] if is_ratio else block - shape[:, :columns]
        # zeros of a series without a sale count as its first days; of others, ages after the first sale
        own[(at[:, :columns] < 1) & (age[:, None] >= 0)] = np.nan
        level = drawn(level, own, curve[:, :columns], trust, is_ratio=is_ratio)[:, None]
        ahead, season = curve[:, columns:], shape[:, columns:]
        return np.asarray(np.maximum(level * ahead * season, 0.0) if is_ratio else level + ahead + season)

    def prepare(self, panel: Panel, series: Ints | None = None) -> NewSeries:
        """The forecasts of a panel's new series (or of those named), computed once for many requests."""
        rows = np.flatnonzero(self.is_new(panel)) if series is None else series
        return NewSeries(rows, self.mean(panel, rows, self.horizon), age_class(ages(panel)[rows], self.young))

    def forecast(self, panel: Panel, request: ForecastRequest) -> Forecast:
        """The forecasts of some series with intervals; meant for new ones."""
        series = np.arange(panel.n_series) if request.series is None else request.series
        new = self.prepare(panel, series)
        return self._with_intervals(panel.cutoff, new, np.arange(len(series)), request)

    def answer(self, base: Forecast, new: NewSeries) -> Forecast:
        """A model's forecast with the new series' rows replaced; the other rows keep their bits.

        Args:
            base: the model's forecast.
            new: what :meth:`prepare` gave for the panel that the model forecasts from.
        """
        place = np.searchsorted(new.series, base.series)
        place = np.minimum(place, max(len(new.series) - 1, 0))
        rows = np.flatnonzero(new.series[place] == base.series) if len(new.series) else np.zeros(0, dtype=np.int64)
        if not len(rows):
            return base
        levels = tuple(base.lower)
        request = ForecastRequest(base.mean.shape[1], levels)
        cold = self._with_intervals(base.cutoff, new, place[rows], request)
        mean = base.mean.copy()
        mean[rows] = cold.mean
        lower, upper = {}, {}
        for level in levels:
            lower[level], upper[level] = base.lower[level].copy(), base.upper[level].copy()
            lower[level][rows], upper[level][rows] = cold.lower[level], cold.upper[level]
        notes = (*base.notes, *(note for note in cold.notes if note not in base.notes))
        return replace(base, mean=mean, lower=lower, upper=upper, notes=notes)

    def _with_intervals(self, cutoff: int, new: NewSeries, place: Ints, request: ForecastRequest) -> Forecast:
        """The forecasts of some of the new series with intervals from the pool of their age."""
        mean = new.mean[place, : request.horizon]
        lower = {level: np.full(mean.shape, np.nan) for level in request.levels}
        upper = {level: np.full(mean.shape, np.nan) for level in request.levels}
        notes: list[str] = []
        for number, pools in enumerate(self.pools):
            rows = np.flatnonzero(new.age_class[place] == number)
            if not len(rows):
                continue
            scale, deviation = (np.full((len(rows), 1), value) for value in self.scale)
            unit = error_unit(mean[rows], scale, deviation, pools.lowest)
            part = pools.forecast(Forecast(rows, cutoff, mean[rows]), unit, request.levels)
            notes += [note for note in part.notes if note not in notes]
            for level in request.levels:
                lower[level][rows], upper[level][rows] = part.lower[level], part.upper[level]
        return Forecast(new.series[place], cutoff, mean, lower, upper, tuple(notes))

    def learned(self) -> dict[str, Any]:
        """What was learnt, for the run's record."""
        spread = {}
        for name, effects in zip(self.siblings.names, self.course.effects.groups, strict=True):
            if np.ptp(effects[:-1]) > 0:
                size = np.log(effects[:-1]) if self.course.effects.is_ratio else effects[:-1]
                spread[name] = round(float(np.std(size)), 3)
        return {
            "launches": max(self.launches, 0),
            "stand_ins": max(-self.launches, 0),
            "young": self.young,
            "level": round(self.course.effects.base, 4),
            "half_life": self.half_life,
            "siblings_weigh_units": list(self.trusts),
            "spread_by_column": spread,
        }

    def save(self, folder: Path) -> None:
        """Write all of it below ``folder``."""
        groups = {f"effects-{number}": effects for number, effects in enumerate(self.course.effects.groups)}
        save_arrays(
            folder,
            {
                "curve": self.course.curve,
                "numbers": np.array([self.course.effects.base, self.half_life, *self.trusts, *self.scale]),
                **groups,
            },
        )
        head = {"young": self.young, "horizon": self.horizon, "launches": self.launches, "pools": AGE_CLASSES}
        save_head(folder, head | {"siblings": self.siblings.to_json(), "is_ratio": self.course.effects.is_ratio})
        self.profiles.save(folder / "profiles")
        for number, pools in enumerate(self.pools):
            pools.save(folder / f"pools-{number}")

    @classmethod
    def load(cls, folder: Path) -> ColdStart:
        """Read what :meth:`save` wrote."""
        head = load_head(folder)
        siblings = Siblings.from_json(head["siblings"])
        names = [f"effects-{number}" for number in range(len(siblings.counts))]
        arrays = load_arrays(folder, ["curve", "numbers", *names])
        base, half_life, *rest = (float(value) for value in arrays["numbers"])
        effects = Effects(base, tuple(arrays[name] for name in names), head["is_ratio"])
        pools = tuple(ErrorPools.load(folder / f"pools-{number}") for number in range(head["pools"]))
        profiles = Profiles.load(folder / "profiles")
        return cls(
            young=head["young"],
            horizon=head["horizon"],
            siblings=siblings,
            course=Course(effects, arrays["curve"]),
            half_life=half_life,
            trusts=(rest[0], rest[1]),
            scale=(rest[2], rest[3]),
            profiles=profiles,
            pools=pools,
            launches=head["launches"],
        )
