"""Sets of trees, each from its own stretch of the past, grown side by side."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from everloop.core.errors import ModelError
from everloop.core.seeds import derive_seed
from everloop.data.panel import Panel
from everloop.models.boosting import Grow, TreeOptions, plan_boosters, threads_for
from everloop.models.explaining import Predictor
from everloop.models.feature_spec import FeatureSpec
from everloop.models.groups import leave_out
from everloop.models.held_back import HeldBack
from everloop.models.sampling import Scales, TrainingRows, sample_rows

__all__ = ["Grown", "Lessons"]

_AT_ONCE = 2
"""Threads of one training wait for each other after each tree's level; two trainings do not."""


@dataclass(frozen=True, slots=True)
class Grown:
    """What was grown.

    Attributes:
        boosters: a booster of each set.
        without: one without each part that is held back, of the first set; ``None`` where too few rows are left.
        held: the parts.
        rows: how many rows were learnt from, of all sets together.
    """

    boosters: tuple[Predictor, ...]
    without: tuple[Predictor | None, ...]
    held: HeldBack
    rows: int


@dataclass(frozen=True)
class Lessons:
    """What sets of trees learn from.

    Attributes:
        panel: the data.
        spec: the features.
        scales: the scales of series.
        options: how trees are grown; each set has a seed of its own.
        max_rows: the most rows of a set.
        without: groups of features that are left out.
        horizon: the length of a forecast.
        year: the periods of a year.
        windows: the most windows whose errors are measured.
    """

    panel: Panel
    spec: FeatureSpec
    scales: Scales
    options: TreeOptions
    max_rows: int
    without: Sequence[str]
    horizon: int
    year: int
    windows: int

    def grow(self, reaches: Sequence[int], *, cores: int) -> Grown:
        """Grow a set of trees for each number of periods that it must look back; the bits do not depend on ``cores``.

        Raises:
            ModelError: the panel has no target.
        """
        at_once = min(_AT_ONCE, cores)
        most = min(self.max_rows, int(np.count_nonzero(~np.isnan(self.panel.y))))
        # one number for all: LightGBM keeps it for the whole process
        threads = threads_for(most, cores // at_once)
        with ThreadPoolExecutor(at_once) as pool:
            others = [
                pool.submit(self._other, number, least, threads) for number, least in enumerate(reaches) if number
            ]
            # one set of trees tells well enough how all of them err
            plans, held, n_rows = self._first(reaches[0], threads)
            first, *without = [pool.submit(plan) for plan in plans]
            ends = [first.result(), *(each.result()[0] for each in others)]
            return Grown(
                tuple(each for each in ends if each is not None),
                tuple(each.result() for each in without),
                held,
                n_rows + sum(each.result()[1] for each in others),
            )

    def _first(self, least: int, threads: int) -> tuple[tuple[Grow, ...], HeldBack, int]:
        rows = self._rows(0, least)
        held = HeldBack.choose(
            cutoff=self.panel.cutoff,
            first=int(rows.index.min()),
            horizon=self.horizon,
            season=self.panel.frequency.season,
            year=self.year,
            windows=self.windows,
        )
        options = self._options(0, threads)
        plans = plan_boosters(rows, self.spec, options, part_of=held.part_of(rows.index), parts=held.parts)
        return plans, held, len(rows.target)

    def _other(self, number: int, least: int, threads: int) -> tuple[Predictor | None, int]:
        rows = self._rows(number, least)
        nobody = np.empty(0, dtype=np.int64)
        (plan,) = plan_boosters(rows, self.spec, self._options(number, threads), part_of=nobody, parts=0)
        count = len(rows.target)
        del rows  # LightGBM has them by now
        return plan(), count

    def _rows(self, number: int, least: int) -> TrainingRows:
        seed = self._seed(number)
        rows = sample_rows(self.spec, self.panel, self.scales, least=least, max_rows=self.max_rows, seed=seed)
        if not len(rows.target):
            raise ModelError("fit_empty", "the panel holds no target to learn from", hint="check the source")
        leave_out(rows.matrix, self.spec.names, self.without)
        return rows

    def _options(self, number: int, threads: int) -> TreeOptions:
        return replace(self.options, seed=self._seed(number), threads=threads)

    def _seed(self, number: int) -> int:
        return derive_seed(self.options.seed, "lightgbm", str(number))
