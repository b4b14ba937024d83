"""Which groups a series belongs to: by static columns, by parts of its key, by classes of its known-ahead numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel

__all__ = ["Siblings", "known_means"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_CLASSES = 8
_PAIRS_LIMIT = 64
"""A column of more groups is not crossed with classes of numbers."""


@dataclass(frozen=True, slots=True)
class Siblings:
    """The columns that make siblings, as learnt from launches.

    Attributes:
        texts: static text columns and key columns, with the values seen.
        cuts: numbers (static, or the mean of a known-ahead column) with the ends of their classes, rising.
    """

    texts: dict[str, tuple[str, ...]]
    cuts: dict[str, tuple[float, ...]]

    @classmethod
    def learn(cls, panel: Panel, series: Ints, numbers: dict[str, Doubles]) -> Siblings:
        """The columns of a panel that part some of its series into groups of more than one.

        Args:
            panel: the panel.
            series: the launches.
            numbers: columns of numbers for them, see :func:`known_means`.
        """
        texts = {}
        for name, values in _texts(panel).items():
            seen = tuple(sorted({values[row] for row in series.tolist()} - {""}))
            if 1 < len(seen) <= len(series) / 2:
                texts[name] = seen
        cuts = {}
        for name, column in sorted(numbers.items()):
            known = column[np.isfinite(column)]
            if len(known) >= 4 * _CLASSES:
                ends = np.unique(np.quantile(known, np.arange(1, _CLASSES) / _CLASSES))
                ends = ends[(ends > known.min()) | (len(ends) == 1)]
                if len(ends):
                    cuts[name] = tuple(float(end) for end in ends)
        return cls(dict(sorted(texts.items())), cuts)

    @property
    def counts(self) -> list[int]:
        """The number of groups of each column, in the order of :meth:`codes`."""
        return [count for _, count in self._columns()]

    @property
    def names(self) -> list[str]:
        """What each column is called, in the order of :meth:`codes`."""
        return [name for name, _ in self._columns()]

    def _columns(self) -> list[tuple[str, int]]:
        single = [(name, len(values)) for name, values in self.texts.items()]
        classes = [(name, len(ends) + 1) for name, ends in self.cuts.items()]
        crossed = [(f"{text} x {name}", a * b) for text, a in single for name, b in classes if a <= _PAIRS_LIMIT]
        return single + classes + crossed

    def codes(self, panel: Panel, series: Ints, numbers: dict[str, Doubles]) -> Ints:
        """The group of each series in each column, shape ``(columns, len(series))``; -1 where it is not known."""
        held = _texts(panel)
        single, classes = [], []
        for name, values in self.texts.items():
            place = {value: number for number, value in enumerate(values)}
            given = held.get(name)
            single.append(
                np.array([place.get(given[row], -1) if given else -1 for row in series.tolist()], dtype=np.int64)
            )
        for name, ends in self.cuts.items():
            column = numbers.get(name, np.full(len(series), np.nan))
            found = np.searchsorted(np.array(ends), column, side="left")
            classes.append(np.where(np.isfinite(column), found, -1).astype(np.int64))
        crossed = []
        for (_, values), one in zip(self.texts.items(), single, strict=True):
            for ends, two in zip(self.cuts.values(), classes, strict=True):
                if len(values) <= _PAIRS_LIMIT:
                    crossed.append(np.where((one >= 0) & (two >= 0), one * (len(ends) + 1) + two, -1))
        return np.stack([*single, *classes, *crossed]) if single or classes else np.zeros((0, len(series)), np.int64)

    def to_json(self) -> dict[str, Any]:
        """The columns as JSON values."""
        return {
            "texts": {name: list(values) for name, values in self.texts.items()},
            "cuts": {name: list(ends) for name, ends in self.cuts.items()},
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Siblings:
        """What :meth:`to_json` gave."""
        return cls(
            {name: tuple(tree["texts"][name]) for name in sorted(tree["texts"])},
            {name: tuple(tree["cuts"][name]) for name in sorted(tree["cuts"])},
        )


def known_means(panel: Panel, series: Ints, begin: Ints, periods: int) -> dict[str, Doubles]:
    """Static numbers, and the mean of each known-ahead number over some periods of each series.

    Args:
        panel: the panel; periods after its cutoff are looked up in its future.
        series: the series.
        begin: how many periods before the cutoff (0 is the cutoff itself, -1 the step after it) each one's begin.
        periods: how many periods are averaged, as far as they are known.
    """
    means = {
        name: panel.static[name][series].astype(np.float64) for name in panel.static if name not in panel.categories
    }
    steps = np.arange(periods)[None, :]
    place = panel.offsets[1:][series][:, None] - 1 - begin[:, None] + steps
    is_past = (place >= panel.offsets[:-1][series][:, None]) & (place < panel.offsets[1:][series][:, None])
    ahead = steps - begin[:, None] - 1
    for name in sorted(set(panel.known) - set(panel.categories)):
        values = np.full(place.shape, np.nan)
        values[is_past] = panel.known[name][place[is_past]]
        future = panel.future.columns.get(name)
        if future is not None and future.shape[1]:
            is_ahead = (ahead >= 0) & (ahead < future.shape[1])
            rows = np.broadcast_to(series[:, None], place.shape)
            values[is_ahead] = future[rows[is_ahead], ahead[is_ahead]]
        is_there = np.isfinite(values)
        counts = is_there.sum(axis=1)
        total = np.where(is_there, values, 0.0).sum(axis=1)
        means[name] = np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
    return means


def _texts(panel: Panel) -> dict[str, list[str]]:
    """Text columns of every series by name: static ones and the parts of the key; empty where unknown."""
    columns = {}
    for name in sorted(set(panel.static) & set(panel.categories)):
        labels = (*panel.categories[name], "")
        codes = np.where(np.isnan(panel.static[name]), len(labels) - 1, panel.static[name]).astype(np.int64)
        columns[name] = [labels[code] for code in codes.tolist()]
    for part, name in enumerate(panel.series_columns):
        columns[f"key {name}"] = [key[part] for key in panel.keys]
    return columns
