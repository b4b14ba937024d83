"""The panel: all series of a project in flat arrays, as every model sees them.

Every series lives on the regular grid of the project's frequency, from its own first observation to the one
common ``cutoff``. A period without a row (a closed day, a missing week) holds NaN. Covariates lie beside the
target; text columns are stored as codes into ``categories``. Values known for the future lie in ``Future``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError, nearest
from everloop.core.frequency import Frequency
from everloop.data.marks import KINDS, PRICE, Marks, treated

__all__ = ["Floats", "Future", "Ints", "Panel", "join_key", "split_key"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def join_key(values: tuple[str, ...]) -> str:
    """One text for a series: its columns' values with ``/`` between, ``%`` and ``/`` escaped.

    >>> join_key(("CA_1", "50/50"))
    'CA_1/50%2F50'
    """
    return "/".join(value.replace("%", "%25").replace("/", "%2F") for value in values)


def split_key(key: str) -> tuple[str, ...]:
    """The column values that a series' text means.

    >>> split_key("CA_1/50%2F50")
    ('CA_1', '50/50')
    """
    return tuple(part.replace("%2F", "/").replace("%25", "%") for part in key.split("/"))


@dataclass(frozen=True, slots=True)
class Future:
    """Known-ahead values for the steps after the cutoff: ``columns[name]`` has shape ``(series, steps)``.

    A missing value is NaN; ``steps`` may be 0, where nothing is known ahead.
    """

    steps: int
    columns: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Panel:
    """All series up to one cutoff.

    Attributes:
        frequency: the grid.
        series_columns: the columns that name a series.
        keys: the values of those columns, for each of the ``n`` series, in sorted order.
        cutoff: the grid index of the last period, common to all series.
        offsets: shape ``(n + 1,)``; series ``i`` lies at ``offsets[i]:offsets[i + 1]`` and ends at the cutoff.
        y: the target, shape ``(offsets[-1],)``, NaN where there is no row.
        known: known-ahead columns by name, as ``y`` is laid out; codes for text, NaN where unknown.
        observed: columns known only up to the present, as ``y`` is laid out.
        static: columns that do not change, shape ``(n,)``; codes for text.
        categories: the texts that the codes of a column stand for.
        future: known-ahead values after the cutoff.
        closed_weekdays: weekdays without trade (Monday is 0).
        marks: which values are no true picture of demand; ``y`` and the price column hold what became of them.
            A panel made of some of another's series by hand must give it up.
    """

    frequency: Frequency
    series_columns: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    cutoff: int
    offsets: Ints
    y: Floats
    known: dict[str, Floats] = field(default_factory=dict)
    observed: dict[str, Floats] = field(default_factory=dict)
    static: dict[str, Floats] = field(default_factory=dict)
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    future: Future = field(default_factory=lambda: Future(0, {}))
    closed_weekdays: frozenset[int] = frozenset()
    marks: Marks | None = None

    @property
    def n_series(self) -> int:
        """The number of series."""
        return len(self.keys)

    @property
    def lengths(self) -> Ints:
        """The number of periods of each series."""
        return np.diff(self.offsets)

    def series_of_rows(self) -> Ints:
        """The number of the series that each element of ``y`` belongs to."""
        return np.repeat(np.arange(self.n_series), self.lengths)

    def index_of_rows(self) -> Ints:
        """The grid index of each element of ``y``."""
        index = np.repeat(self.cutoff + 1 - self.offsets[1:], self.lengths)
        index += np.arange(len(self.y))
        return index

    def position(self, key: tuple[str, ...]) -> int:
        """The number of a series.

        Raises:
            RequestError: the panel has no such series.
        """
        low, high = 0, len(self.keys)
        while low < high:
            middle = (low + high) // 2
            if self.keys[middle] < key:
                low = middle + 1
            else:
                high = middle
        if low < len(self.keys) and self.keys[low] == key:
            return low
        raise RequestError(
            "series_unknown",
            f"there is no series {join_key(key)!r}",
            hint=nearest(join_key(key), [join_key(each) for each in self.keys[:5000]]),
            path="series",
        )

    def until(self, cutoff: int, *, horizon: int = 0) -> Panel:
        """The panel as it was at an earlier cutoff: later targets and observed values are gone.

        Known-ahead values of the next ``horizon`` periods move to ``future``, since they were known then.
        Series that had not begun by then are gone too.

        Raises:
            ValueError: the cutoff is after the panel's own.
        """
        if self.marks is not None and cutoff < self.cutoff:
            was = self.untreated()
            past = replace(was, marks=None).until(cutoff, horizon=horizon)
            kept = ~_ends(self.lengths, np.minimum(self.lengths, self.cutoff - cutoff))
            marks = self.marks.moved(kept)
            return replace(past, marks=marks.chosen(marks.known_at <= cutoff)).treated()
        drop = self.cutoff - cutoff
        if drop < 0:
            raise ValueError(f"cutoff {cutoff} is after the panel's own, {self.cutoff}")
        if drop == 0:
            return self
        lengths = self.lengths
        keep = lengths > drop
        rows = ~_ends(lengths, np.minimum(lengths, drop))
        offsets = np.concatenate([[0], np.cumsum((lengths - drop)[keep])]).astype(np.int64)
        steps = min(drop, horizon)
        ends = self.offsets[1:][keep]
        ahead = (ends - drop)[:, None] + np.arange(steps)[None, :]
        extra = min(max(horizon - drop, 0), self.future.steps)
        columns = {}
        for name, values in self.known.items():
            block = values[ahead]
            if extra and name in self.future.columns:
                block = np.concatenate([block, self.future.columns[name][keep, :extra]], axis=1)
            columns[name] = np.ascontiguousarray(block)
        steps_kept = next((block.shape[1] for block in columns.values()), 0)
        return replace(
            self,
            keys=tuple(key for key, is_kept in zip(self.keys, keep, strict=True) if is_kept),
            cutoff=cutoff,
            offsets=offsets,
            y=self.y[rows],
            known={name: values[rows] for name, values in self.known.items()},
            observed={name: values[rows] for name, values in self.observed.items()},
            static={name: values[keep] for name, values in self.static.items()},
            future=Future(steps_kept, columns),
        )

    def tail(self, periods: int) -> Panel:
        """The last ``periods`` of every series (all of a shorter one)."""
        lengths = np.minimum(self.lengths, periods)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = _ends(self.lengths, lengths)
        return replace(
            self,
            offsets=offsets,
            y=self.y[rows],
            known={name: values[rows] for name, values in self.known.items()},
            observed={name: values[rows] for name, values in self.observed.items()},
            marks=None if self.marks is None else self.marks.moved(rows),
        )

    def since(self, first: int) -> Panel:
        """The panel as if nothing before the grid index ``first`` had been read.

        Series begin at their first own observation from then on; those without any are gone.
        """
        late = np.minimum(self.lengths, max(self.cutoff - first + 1, 0))
        known = np.flatnonzero(np.isfinite(self.untreated().y) & _ends(self.lengths, late))
        place = np.searchsorted(known, self.offsets[:-1])
        begins = np.append(known, len(self.y))[place]
        kept = np.maximum(self.offsets[1:] - begins, 0)
        keep = kept > 0
        rows = _ends(self.lengths, kept)
        lengths = kept[keep]
        return replace(
            self,
            keys=tuple(key for key, is_kept in zip(self.keys, keep, strict=True) if is_kept),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            y=self.y[rows],
            known={name: values[rows] for name, values in self.known.items()},
            observed={name: values[rows] for name, values in self.observed.items()},
            static={name: values[keep] for name, values in self.static.items()},
            future=Future(self.future.steps, {name: block[keep] for name, block in self.future.columns.items()}),
            marks=None if self.marks is None else self.marks.moved(rows),
        )

    def treated(self) -> Panel:
        """The panel with its marked values treated, where they are as they were observed.

        Prices ahead that are none (zero or less) are unknown then.
        """
        marks = self.marks
        if marks is None:
            return self
        season = self.frequency.season
        made = replace(self, y=treated(self.y, self.offsets, marks, season))
        if marks.price in self.future.columns and marks.treatments.get(KINDS[PRICE], "keep") != "keep":
            block = self.future.columns[marks.price]
            columns = {**self.future.columns, marks.price: np.where(block <= 0, np.float32(np.nan), block)}
            made = replace(made, future=replace(self.future, columns=columns))
        return made._with_price(lambda values: treated(values, self.offsets, marks, season, prices=True))

    def untreated(self) -> Panel:
        """The panel with its marked values as they were observed."""
        marks = self.marks
        if marks is None or not len(marks):
            return self
        y = self.y.copy()
        is_price = marks.kind == PRICE
        y[marks.row[~is_price]] = marks.raw[~is_price]

        def observed(values: Floats) -> Floats:
            out = values.copy()
            out[marks.row[is_price]] = marks.raw[is_price]
            return out

        return replace(self, y=y)._with_price(observed)

    def _with_price(self, change: Callable[[Floats], Floats]) -> Panel:
        """The panel with the column changed that wrong prices were looked for in."""
        name = self.marks.price if self.marks is not None else ""
        if name in self.known:
            return replace(self, known={**self.known, name: change(self.known[name])})
        if name in self.observed:
            return replace(self, observed={**self.observed, name: change(self.observed[name])})
        return self

    def scored(self) -> Floats:
        """The targets that forecasts are judged by: ``y`` without the marked ones that are not kept."""
        if self.marks is None or not len(self.marks.unscored):
            return self.y
        y = self.y.copy()
        y[self.marks.unscored] = np.nan
        return y

    def last(self, periods: int) -> Floats:
        """The last ``periods`` targets of every series, shape ``(n, periods)``; NaN before a series begins."""
        block = np.full((self.n_series, periods), np.nan, dtype=np.float32)
        columns = np.arange(periods)[None, :]
        source = self.offsets[1:, None] - periods + columns
        is_inside = source >= self.offsets[:-1, None]
        block[is_inside] = self.y[source[is_inside]]
        return block

    def ahead(self, steps: int) -> NDArray[np.datetime64]:
        """The instants of the next ``steps`` periods."""
        return self.frequency.times(self.cutoff + 1 + np.arange(steps))


def _ends(lengths: Ints, kept: Ints) -> NDArray[np.bool_]:
    """For series one after another, whether an element is among the last ``kept`` of its series."""
    counts = np.stack([lengths - kept, kept], axis=1).reshape(-1)
    return np.repeat(np.tile([False, True], len(lengths)), counts)
