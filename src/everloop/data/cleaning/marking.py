"""Marking a panel: every rule over all series, a rectangle of them at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import DataError, nearest
from everloop.core.frequency import Frequency
from everloop.core.settings.cleaning import CleaningSettings
from everloop.data.cleaning.block import Rectangle, rectangles
from everloop.data.cleaning.closed_days import closed_days, stores_of
from everloop.data.cleaning.outliers import AFTER, find_outliers
from everloop.data.cleaning.prices import find_price_errors
from everloop.data.cleaning.stock_outs import find_runs
from everloop.data.cleaning.windows import Reach
from everloop.data.marks import KINDS, Marks
from everloop.data.panel import Panel

__all__ = ["mark", "memory_of", "with_marks"]

_MILLION = 1e6


def memory_of(frequency: Frequency, settings: CleaningSettings) -> int:
    """How many periods before a period its mark may depend on."""
    return Reach.of(frequency).memory(settings.longest_run)


def with_marks(panel: Panel, settings: CleaningSettings) -> Panel:
    """The panel as models see it: marked, with targets and prices treated as the settings say.

    Raises:
        DataError: a column that the settings name is not there.
    """
    return replace(panel, marks=mark(panel, settings)).treated()


def mark(panel: Panel, settings: CleaningSettings) -> Marks:
    """The marks of a panel whose targets are as they were observed.

    Whether a period is marked depends on the periods up to the one that the mark names as ``known_at``, and on none
    later; see each rule's module.

    Raises:
        DataError: a column that the settings name is not there.
    """
    _check(panel, settings)
    reach = Reach.of(panel.frequency)
    stores = stores_of(panel, settings.store)
    closed = closed_days(panel, stores, reach)
    rule = _Rule(settings, reach, panel.cutoff - int(panel.lengths.max(initial=0)) + 1)
    parts = [found for block in rectangles(panel) for found in rule.of(panel, block, closed[stores[block.series]])]
    rows, kinds, known_at, raw = (np.concatenate([part[place] for part in parts]) for place in range(4))
    order = np.lexsort((kinds, rows))
    return Marks(
        row=rows[order].astype(np.int64),
        kind=kinds[order].astype(np.int8),
        known_at=known_at[order].astype(np.int64),
        raw=raw[order].astype(np.float32),
        treatments={
            "closed_day": settings.closed_days,
            "stock_out": settings.stock_outs,
            "inferred_stock_out": settings.inferred_stock_outs,
            "return": settings.returns,
            "outlier": settings.outliers,
            "price_error": settings.price_errors,
        },
        price=settings.price,
        looked_at=int(np.isfinite(panel.y).sum()),
    )


_Found = tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class _Rule:
    """All rules, for one rectangle after the other; ``first`` is the grid index of its first column."""

    settings: CleaningSettings
    reach: Reach
    first: int

    def of(self, panel: Panel, block: Rectangle, closed: NDArray[np.bool_]) -> list[_Found]:
        """The marks of some series; of several about one target the first kind counts."""
        there = np.isfinite(block.y)
        now = np.broadcast_to(np.arange(block.y.shape[1], dtype=np.int32), block.y.shape)
        told = self._told(panel, block)
        hidden = closed | told
        bound = self.settings.false_runs / _MILLION
        runs, since = find_runs(block.y, hidden, self.reach, bound=bound, longest=self.settings.longest_run)
        flags = {
            "closed_day": (closed, now),
            "stock_out": (told, now),
            "inferred_stock_out": (runs, since),
            "return": (block.y < 0, now),
            "outlier": (find_outliers(block.y, hidden | runs, self.reach), now + np.int32(AFTER)),
        }
        found, taken = [], np.zeros(block.y.shape, dtype=bool)
        for kind, (is_marked, known) in flags.items():
            chosen = is_marked & there & ~taken
            taken |= chosen
            found.append(self._sparse(kind, block.rows, chosen, known, block.y))
        if self.settings.price:
            price = block.of(_column(panel, self.settings.price))
            wrong, known = find_price_errors(price, factor=self.settings.price_factor)
            found.append(self._sparse("price_error", block.rows, wrong, known, price))
        return found

    def _told(self, panel: Panel, block: Rectangle) -> NDArray[np.bool_]:
        if not self.settings.stock_column:
            return np.zeros(block.y.shape, dtype=bool)
        return np.asarray(block.of(_column(panel, self.settings.stock_column)) <= 0)

    def _sparse(
        self,
        kind: str,
        rows: NDArray[np.int64],
        chosen: NDArray[np.bool_],
        known: NDArray[np.int32],
        values: NDArray[np.float32],
    ) -> _Found:
        places = rows[chosen]
        kinds = np.full(len(places), KINDS.index(kind), dtype=np.int8)
        return places, kinds, known[chosen].astype(np.int64) + self.first, values[chosen]


def _column(panel: Panel, name: str) -> NDArray[np.float32]:
    return panel.known[name] if name in panel.known else panel.observed[name]


def _check(panel: Panel, settings: CleaningSettings) -> None:
    moving = {*panel.known, *panel.observed}
    for key, name in (("stock_column", settings.stock_column), ("price", settings.price)):
        if name and (name not in moving or name in panel.categories):
            what = "a column of text" if name in moving else "no column of the data that changes"
            raise DataError(
                "cleaning_column",
                f"data.cleaning.{key} = {name!r} is {what}",
                hint="name a number among data.known_ahead or data.observed; " + nearest(name, moving),
                path=f"data.cleaning.{key}",
            )
    if settings.store and settings.store not in {*panel.series_columns, *panel.static}:
        raise DataError(
            "cleaning_column",
            f"data.cleaning.store = {settings.store!r} is neither a series nor a static column",
            hint=nearest(settings.store, [*panel.series_columns, *panel.static]),
            path="data.cleaning.store",
        )
