"""Which windows of the past a learnt model's errors are measured on, and what it may not learn from meanwhile.

The windows before the cutoff say how a model errs in their season alone: measured in autumn, intervals are too narrow
for Christmas; measured at Christmas, too wide for spring. So windows of a whole year are held back, in a few parts by
turns: a model that has learnt from all but one part forecasts the windows of that part (cross-conformal prediction,
Vovk 2015; as CV+ of Barber, Candes, Ramdas and Tibshirani 2021, with pooled signed errors). Each model but
the first also learns from what came after its windows, as the model in use has learnt from other years; what its
forecasts start from lies before them, always.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["HeldBack"]

Ints = NDArray[np.int64]

_PARTS = 4
_LEAST_BLOCKS = 4
"""A horizon shorter than a season is measured on so many seasons at least."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Blocks of periods that are held back, the newest first, every fourth of them at once.

    A block is a horizon long, or a season where that is longer and far shorter than a year.

    Attributes:
        cutoff: the grid index of the newest period.
        horizon: the length of a forecast.
        size: the periods of a block.
        blocks: how many blocks lie between each one and the cutoff, rising; shape ``(blocks,)``.

    >>> held = HeldBack.choose(cutoff=99, first=0, horizon=14, season=7, year=365, windows=52)
    >>> held.blocks, held.parts, held.origins(0), held.origins(1)
    (array([0, 1, 2, 3]), 4, array([85]), array([71]))
    >>> held.part_of(np.array([99, 86, 85, 0]))
    array([ 0,  0,  1, -1])
    """

    cutoff: int
    horizon: int
    size: int
    blocks: Ints

    @classmethod
    def choose(cls, *, cutoff: int, first: int, horizon: int, season: int, year: int, windows: int) -> HeldBack:
        """Blocks spread evenly over the last year, a third of the history left untouched before them.

        Args:
            cutoff: the grid index of the newest period.
            first: that of the oldest.
            horizon: the length of a forecast.
            season: the periods of a season.
            year: the periods of a year.
            windows: the most forecasts there may be, but for a short horizon's four seasons; 0 for none.
        """
        # a block of a yearly season would be the whole year
        size = max(horizon, season // horizon * horizon) if season < year // _LEAST_BLOCKS else horizon
        wanted = max(windows // (size // horizon), _LEAST_BLOCKS if size > horizon else 1) if windows > 0 else 0
        available = min((cutoff - first + 1) * 2 // 3, max(year, size)) // size
        count = min(wanted, available)
        blocks = np.round(np.linspace(0, max(available - 1, 0), count)) if count > 1 else np.zeros(count)
        return cls(cutoff, horizon, size, blocks.astype(np.int64))

    @property
    def parts(self) -> int:
        """How many parts are held back by turns."""
        return min(_PARTS, len(self.blocks))

    @property
    def windows(self) -> int:
        """How many forecasts there are in all."""
        return len(self.blocks) * (self.size // self.horizon)

    def part_of(self, index: Ints) -> Ints:
        """The part in which each period is held back, -1 where it never is; the shape of ``index``."""
        back = (self.cutoff - index) // self.size
        place = np.minimum(np.searchsorted(self.blocks, back), max(len(self.blocks) - 1, 0))
        if not len(self.blocks):
            return np.full(np.shape(index), -1)
        return np.where(self.blocks[place] == back, place % self.parts, -1)

    def origins(self, part: int) -> Ints:
        """The grid indices that the forecasts of a part's windows start after, rising."""
        starts = self.cutoff - self.size * (self.blocks[part :: self.parts] + 1)
        within = np.arange(self.size // self.horizon) * self.horizon
        return np.sort((starts[:, None] + within[None, :]).ravel())
