"""Totals of series: which series each holds by the values of some columns, and its history as a series of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import UsageError, nearest
from everloop.data.panel import Future, Panel

__all__ = ["SERIES", "TOTAL", "Grouping", "grouping", "level_columns", "level_name", "total_panel"]

Floats = NDArray[np.float64]

TOTAL, SERIES = "total", "series"
UNKNOWN = "(unknown)"
"""What stands for a missing value of a static column."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """The totals of one level: all series with the same values of some columns are one total.

    Attributes:
        columns: the level's columns; none is the total of everything.
        codes: the number of the total that each series belongs to, shape ``(n_series,)``.
        labels: the values of the columns, for each total in sorted order.
    """

    columns: tuple[str, ...]
    codes: NDArray[np.int64]
    labels: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """The level as a person names it."""
        return level_name(self.columns)

    def sums(self, values: NDArray[np.floating]) -> Floats:
        """Rows of series summed to rows of totals, shape ``(totals, columns)``.

        >>> Grouping(("a",), np.array([0, 1, 0]), (("x",), ("y",))).sums(np.array([[1.0], [2.0], [4.0]]))
        array([[5.],
               [2.]])
        """
        out = np.zeros((len(self.labels), values.shape[1]))
        if len(self.codes):
            order = np.argsort(self.codes, kind="stable")
            present, begins = np.unique(self.codes[order], return_index=True)
            out[present] = np.add.reduceat(values[order].astype(np.float64), begins, axis=0)
        return out


def level_name(columns: Sequence[str]) -> str:
    """A level as a person names it.

    >>> level_name([]), level_name(["store_id", "dept_id"])
    ('total', 'store_id,dept_id')
    """
    return ",".join(columns) or TOTAL


def level_columns(name: str, series_columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that a level's name means: ``total``, ``series``, or columns with commas between.

    >>> level_columns("store_id,dept_id", ["store_id", "item_id"]), level_columns("total", ["store_id"])
    (('store_id', 'dept_id'), ())
    """
    if name == TOTAL:
        return ()
    if name == SERIES:
        return tuple(series_columns)
    return tuple(part.strip() for part in name.split(","))


def grouping(panel: Panel, columns: Sequence[str], *, path: str = "") -> Grouping:
    """The totals of a panel's series by the values of some columns.

    Args:
        panel: the panel.
        columns: series or static columns, each once; none is the total of everything.
        path: where the columns were asked, for the error.

    Raises:
        UsageError: a column is neither a series nor a static one, or is named twice.
    """
    codes = np.zeros(panel.n_series, dtype=np.int64)
    parts = []
    for place, column in enumerate(columns):
        if column in columns[:place]:
            raise UsageError("total_twice", f"{column!r} is named twice", hint="name each column once", path=path)
        own, texts = _values(panel, column, path)
        parts.append((own, texts))
        # numbers stay small, however many columns there are
        codes = np.unique(codes * max(len(texts), 1) + own, return_inverse=True)[1].astype(np.int64)
    _, first = np.unique(codes, return_index=True)
    labels = tuple(tuple(texts[own[row]] for own, texts in parts) for row in first.tolist())
    return Grouping(tuple(columns), codes, labels)


def total_panel(panel: Panel, totals: Grouping) -> Panel:
    """The totals as series of their own, on the same grid, without covariates.

    A period in which no member has a row is NaN; else a member without one counts as zero.
    """
    length = int(panel.lengths.max(initial=0))
    count = len(totals.labels)
    place = panel.index_of_rows() - (panel.cutoff - length + 1)
    flat = totals.codes[panel.series_of_rows()] * length + place
    known = np.isfinite(panel.y)
    sums = np.bincount(flat[known], weights=panel.y[known], minlength=count * length)
    rows = np.bincount(flat[known], minlength=count * length)
    begins = np.full(count, length)
    np.minimum.at(begins, totals.codes, length - panel.lengths)
    is_within = np.arange(length)[None, :] >= begins[:, None]
    y = np.where(rows > 0, sums, np.nan).reshape(count, length)[is_within]
    return Panel(
        frequency=panel.frequency,
        series_columns=totals.columns or (TOTAL,),
        keys=tuple(label or ("",) for label in totals.labels),
        cutoff=panel.cutoff,
        offsets=np.concatenate([[0], np.cumsum(length - begins)]).astype(np.int64),
        y=y.astype(np.float32),
        future=Future(0, {}),
        closed_weekdays=panel.closed_weekdays,
    )


def _values(panel: Panel, column: str, path: str) -> tuple[NDArray[np.int64], list[str]]:
    """The code of each series' value of a column, and the values' texts in sorted order."""
    if column in panel.series_columns:
        at = panel.series_columns.index(column)
        found = [key[at] for key in panel.keys]
    elif column in panel.static:
        names = panel.categories.get(column)
        found = [
            UNKNOWN if np.isnan(value) else names[int(value)] if names else f"{value:g}"
            for value in panel.static[column].tolist()
        ]
    else:
        raise UsageError(
            "total_column",
            f"{column!r} is neither a series nor a static column",
            hint=nearest(column, [*panel.series_columns, *panel.static, TOTAL]),
            path=path,
        )
    texts = sorted(set(found))
    number = {text: place for place, text in enumerate(texts)}
    return np.array([number[text] for text in found], dtype=np.int64), texts
