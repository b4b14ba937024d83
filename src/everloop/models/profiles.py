"""Seasonal profiles: how the periods of a season differ, each series' own shrunk to those of its group.

A profile is estimated as a ratio of sums: what was sold in one place of the season over what would have been sold
were all places alike, with the level of each season taken as its own mean. A series' own ratio is drawn to the mean
of its group by the weight ``tau2 / (tau2 + v)`` (Efron and Morris 1975): ``v`` is the variance of the ratio, and
``tau2`` that of true ratios within the group, by moments. So fast sellers keep their own profile and slow ones take
the group's. Targets of both signs have differences in place of ratios, drawn to zero (James and Stein 1961).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel
from everloop.models.state import load_arrays, load_head, save_arrays, save_head

__all__ = ["Profiles", "row_blocks", "season_of"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_LONGEST = 60
"""Longer seasons (of 60 minutes, of 52 weeks at most) are not profiled."""
_WEAK = 0.02
"""A variance of ratios (14 % up or down) that is large for profiles of demand; it tempers weights between series."""
_GROUP = 20
"""A static column parts the profiles only if its groups hold so many series on average."""
_LEAST, _MOST = 0.05, 20.0
_CELLS = 2_000_000
"""About how many numbers are worked on at once, so that temporaries stay small."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """The mean profile of each group and how far its series lie from it.

    Attributes:
        season: the length of the season in steps; 1 where there is none.
        is_ratio: whether profiles are ratios, for targets that are never negative.
        column: the static column that parts the series; empty where all share one profile.
        groups: the values of that column, as texts; a value not among them has the common profile.
        index: shape ``(groups + 1, season)`` by grid index modulo the season, the common one last.
        spread: ``tau2`` of each group, shape ``(groups + 1,)``.
    """

    season: int
    is_ratio: bool
    column: str
    groups: tuple[str, ...]
    index: Doubles
    spread: Doubles

    @classmethod
    def learn(cls, panel: Panel, block: NDArray[np.floating], cutoff: int, *, is_ratio: bool) -> Profiles:
        """The profiles of a panel.

        Args:
            panel: its frequency and static columns are used.
            block: periods of all its series up to ``cutoff``, shape ``(n, periods)``, a multiple of the season.
            cutoff: the grid index of the block's last column.
            is_ratio: see the class.
        """
        season = season_of(panel)
        if season == 1 or not is_ratio:
            return cls(season, is_ratio, "", (), np.full((1, season), float(is_ratio)), np.zeros(1))
        parts = [_own(block[rows], season, is_ratio=True) for rows in row_blocks(*block.shape)]
        turn = (cutoff + 1) % season
        own = _Own(
            np.roll(np.concatenate([part.index for part in parts]), turn, axis=1),
            np.roll(np.concatenate([part.variance for part in parts]), turn, axis=1),
        )
        common, spread = _pooled(own, np.zeros(len(block), dtype=np.int64), 1)
        column = ""
        groups: tuple[str, ...] = ()
        member = np.zeros(len(block), dtype=np.int64)
        least = _unexplained(own, common, np.zeros_like(member), 1)
        for name in sorted(set(panel.static) & set(panel.categories)):
            texts = panel.categories[name]
            codes = np.where(np.isnan(panel.static[name]), len(texts), panel.static[name]).astype(np.int64)
            if not 1 < len(texts) <= len(block) // _GROUP:
                continue
            index, _ = _pooled(own, codes, len(texts) + 1)
            found = _unexplained(own, index, codes, len(texts) + 1)
            if found < least:
                least, column, groups, member = found, name, texts, codes
        if not column:
            return cls(season, True, "", (), common, spread)
        index, within = _pooled(own, member, len(groups) + 1)
        index[-1], within[-1] = common[0], spread[0]
        return cls(season, True, column, groups, index, within)

    def of(self, block: NDArray[np.floating], member: Ints, cutoff: int) -> Doubles:
        """Each series' profile, shape ``(n, season)``: column ``j`` belongs to the step ``j + 1`` after the cutoff.

        Args:
            block: the series' periods up to the cutoff, a multiple of the season.
            member: their groups, see :meth:`member`.
            cutoff: the grid index of the block's last column.
        """
        if self.season == 1:
            return np.full((len(block), 1), float(self.is_ratio))
        own = _own(block, self.season, is_ratio=self.is_ratio)
        if not self.is_ratio:
            return np.asarray(own.index * _stein(own)[:, None])
        prior = np.roll(self.index, -((cutoff + 1) % self.season), axis=1)[member]
        tau2 = self.spread[member][:, None]
        weight = np.where(np.isfinite(own.variance), tau2 / np.maximum(tau2 + own.variance, 1e-12), 0.0)
        return np.clip(prior + weight * (np.nan_to_num(own.index) - prior), _LEAST, _MOST)

    def at(self, member: Ints, first: Ints, periods: int) -> Doubles:
        """The profiles of groups over some periods, shape ``(len(member), periods)``.

        Args:
            member: a group for each row.
            first: the grid index of each row's first period.
            periods: how many.
        """
        place = (first[:, None] + np.arange(periods)[None, :]) % self.season
        return np.asarray(self.index[member[:, None], place])

    def member(self, panel: Panel) -> Ints:
        """The group of each series of a panel; the last one where its value is not known."""
        last = len(self.groups)
        if not self.column or self.column not in panel.static:
            return np.full(panel.n_series, last, dtype=np.int64)
        known = {text: number for number, text in enumerate(self.groups)}
        numbers = np.array([known.get(text, last) for text in panel.categories.get(self.column, ())] + [last])
        codes = panel.static[self.column]
        return np.asarray(numbers[np.where(np.isnan(codes), len(numbers) - 1, codes).astype(np.int64)])

    def save(self, folder: Path) -> None:
        """Write the profiles below ``folder``."""
        save_arrays(folder, {"index": self.index, "spread": self.spread})
        head = {
            "season": self.season,
            "is_ratio": self.is_ratio,
            "column": self.column,
            "groups": list(self.groups),
        }
        save_head(folder, head)

    @classmethod
    def load(cls, folder: Path) -> Profiles:
        """Read what :meth:`save` wrote."""
        head = load_head(folder)
        arrays = load_arrays(folder, ["index", "spread"])
        return cls(
            head["season"], head["is_ratio"], head["column"], tuple(head["groups"]), arrays["index"], arrays["spread"]
        )


def row_blocks(n: int, columns: int) -> list[slice]:
    """Slices that part ``n`` rows of so many columns into blocks of bounded size."""
    step = max(1, _CELLS // max(columns, 1))
    return [slice(begin, min(begin + step, n)) for begin in range(0, n, step)]


def season_of(panel: Panel) -> int:
    """The season that a panel's profiles have; 1 where a step is so short that its season is too long."""
    season = panel.frequency.season
    return season if season <= _LONGEST else 1


@dataclass(frozen=True, slots=True)
class _Own:
    """Each series' own profile and the variance of its estimates, both of shape ``(n, season)``; NaN for unknown."""

    index: Doubles
    variance: Doubles


def _own(block: NDArray[np.floating], season: int, *, is_ratio: bool) -> _Own:
    """The profiles of each series by itself, from seasons that are all but complete."""
    n = len(block)
    y = block.astype(np.float64).reshape(n, -1, season)
    is_there = ~np.isnan(y)
    held = is_there.sum(axis=2)
    enough = np.maximum(held.max(axis=1, initial=0) - 1, 2)[:, None]
    is_there &= (held >= enough)[:, :, None]
    filled = np.where(is_there, y, 0.0)
    held = is_there.sum(axis=2)
    level = filled.sum(axis=2) / np.maximum(held, 1)
    counts = is_there.sum(axis=1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        if is_ratio:
            base = np.where(is_there, level[:, :, None], 0.0)
            below = base.sum(axis=1)
            index = filled.sum(axis=1) / below
            rest = filled - base * np.nan_to_num(index)[:, None, :]
        else:
            below = counts
            rest = np.where(is_there, y - level[:, :, None], 0.0)
            index = rest.sum(axis=1) / counts
            rest = np.where(is_there, rest - np.nan_to_num(index)[:, None, :], 0.0)
        free = counts.sum(axis=1) - season - (held > 0).sum(axis=1) + 1
        squares = (rest * rest).sum(axis=2).sum(axis=1)
        noise = np.where(free > 0, squares / free, np.nan)
        variance = noise[:, None] * counts / below**2
    is_known = (counts >= 2) & (below != 0)
    return _Own(np.where(is_known, index, np.nan), np.where(is_known, variance, np.nan))


def _pooled(own: _Own, member: Ints, groups: int) -> tuple[Doubles, Doubles]:
    """The mean profile of each group and the variance of true profiles within it."""
    season = own.index.shape[1]
    is_known = np.isfinite(own.index) & np.isfinite(own.variance)
    weight = np.where(is_known, 1.0 / (np.nan_to_num(own.variance) + _WEAK), 0.0)
    value = np.where(is_known, own.index, 0.0)
    index = np.ones((groups, season))
    for place in range(season):
        below = np.bincount(member, weight[:, place], groups)
        above = np.bincount(member, weight[:, place] * value[:, place], groups)
        found = np.where(below > 0, above / np.maximum(below, 1e-300), 1.0)
        index[:, place] = np.clip(found, _LEAST, _MOST)
    excess = np.where(is_known, (value - index[member]) ** 2 - np.nan_to_num(own.variance), 0.0)
    squared = weight**2
    above = np.bincount(member, (squared * excess).sum(axis=1), groups)
    below = np.bincount(member, squared.sum(axis=1), groups)
    return index, np.maximum(np.where(below > 0, above / np.maximum(below, 1e-300), 0.0), 0.0)


def _unexplained(own: _Own, index: Doubles, member: Ints, groups: int) -> float:
    """The mean weighted squared deviation from the groups' profiles, for the number of profiles spent."""
    is_known = np.isfinite(own.index) & np.isfinite(own.variance)
    weight = np.where(is_known, 1.0 / (np.nan_to_num(own.variance) + _WEAK), 0.0)
    deviation = np.where(is_known, own.index - index[member], 0.0)
    free = int(is_known.sum()) - groups * own.index.shape[1]
    return float((weight * deviation**2).sum()) / free if free > 0 else np.inf


def _stein(own: _Own) -> Doubles:
    """How much of each series' own differences is kept: the positive part of ``1 - (k - 3) / sum(d^2 / v)``."""
    is_known = np.isfinite(own.index) & np.isfinite(own.variance) & (np.nan_to_num(own.variance) > 0)
    ratio = np.where(is_known, np.nan_to_num(own.index) ** 2 / np.where(is_known, own.variance, 1.0), 0.0).sum(axis=1)
    k = is_known.sum(axis=1)
    with np.errstate(divide="ignore"):
        kept = 1.0 - np.maximum(k - 3, 0) / ratio
    return np.where(k > 0, np.maximum(kept, 0.0), 0.0)
