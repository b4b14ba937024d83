"""Some series of a panel as rectangular arrays that end at one column, with what is known ahead."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.models.feature_spec import FeatureSpec

__all__ = ["Block"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """Some series of a panel in rectangular arrays, NaN before a series begins.

    Attributes:
        frequency: the grid.
        cutoff: the grid index of the last column of ``y``.
        y: shape ``(series, columns)``.
        observed: likewise.
        known: shape ``(series, columns + steps ahead)``; ahead of the cutoff a missing number is the last known.
        static: shape ``(series,)``; codes of series columns too.
        filled: known-ahead columns of which a value ahead was missing and the last known one stands in.
    """

    frequency: Frequency
    cutoff: int
    y: Floats
    observed: dict[str, Floats]
    known: dict[str, Floats]
    static: dict[str, Floats]
    filled: tuple[str, ...] = ()

    @classmethod
    def cut(
        cls,
        panel: Panel,
        spec: FeatureSpec,
        series: Ints,
        *,
        columns: int,
        steps: int = 0,
        future: dict[str, Floats] | None = None,
    ) -> Block:
        """The last ``columns`` of some series with ``steps`` of known-ahead values (whole strides for neighbours).

        Values in ``future`` (shape ``(len(series), steps)``) stand in for the stored ones where they are no NaN.
        """
        reach = spec.horizon * -(-steps // spec.horizon) if spec.events or spec.flags else steps
        source = panel.offsets[series + 1, None] - columns + np.arange(columns)[None, :]
        is_inside = source >= panel.offsets[series, None]
        source = np.where(is_inside, source, 0)

        def block(values: Floats) -> Floats:
            if not len(values):
                return np.full(source.shape, np.nan, dtype=np.float32)
            return np.where(is_inside, values[source], np.float32(np.nan))

        known, filled = {}, []
        for name in (*spec.known, *spec.known_codes):
            past = block(panel.known[name])
            ahead = np.full((len(series), reach), np.nan, dtype=np.float32)
            if name in panel.future.columns:
                stored = panel.future.columns[name][series, :reach]
                ahead[:, : stored.shape[1]] = stored
            asked = (future or {}).get(name)
            if asked is not None:
                ahead[:, :steps] = np.where(np.isnan(asked), ahead[:, :steps], asked)
            if name in spec.known and steps:
                ahead, is_filled = _last_known(past, ahead)
                if is_filled[:, :steps].any():
                    filled.append(name)
            known[name] = np.concatenate([past, ahead], axis=1)
        return cls(
            frequency=panel.frequency,
            cutoff=panel.cutoff,
            y=block(panel.y),
            observed={name: block(panel.observed[name]) for name in spec.observed},
            known=known,
            static={name: panel.static[name][series] for name in (*spec.static, *spec.static_codes)}
            | {f"key {name}": _key_codes(panel, name, values, series) for name, values in spec.keys},
            filled=tuple(filled),
        )

    def extended(self, steps: int) -> Block:
        """The block with ``steps`` columns more, whose targets are NaN until they are written."""
        ahead = np.full((len(self.y), steps), np.nan, dtype=np.float32)
        return replace(self, cutoff=self.cutoff + steps, y=np.concatenate([self.y, ahead], axis=1))

    def seen_from(self, origin: int, columns: int) -> Block:
        """The block as it stood when column ``origin`` was its newest: so many columns, and what was known ahead.

        Its arrays are views.
        """
        part = slice(origin + 1 - columns, origin + 1)
        return replace(
            self,
            cutoff=self.cutoff - (self.y.shape[1] - 1 - origin),
            y=self.y[:, part],
            observed={name: values[:, part] for name, values in self.observed.items()},
            known={name: values[:, part.start :] for name, values in self.known.items()},
        )

    def forgotten(self) -> Block:
        """The block as of series that are new: nothing of their past, and what is known ahead."""
        columns = self.y.shape[1]
        nothing = np.full(self.y.shape, np.nan, dtype=np.float32)
        return replace(
            self,
            y=nothing,
            observed=dict.fromkeys(self.observed, nothing),
            known={name: np.concatenate([nothing, values[:, columns:]], axis=1) for name, values in self.known.items()},
        )


def _key_codes(panel: Panel, name: str, values: tuple[str, ...], series: Ints) -> Floats:
    """The place of each series' key among the values that were learnt, NaN for a new one; shape ``(len(series),)``."""
    part = panel.series_columns.index(name)
    codes = np.full(len(series), np.nan, dtype=np.float32)
    for row, number in enumerate(series.tolist()):
        key = panel.keys[number][part]
        place = bisect_left(values, key)
        if place < len(values) and values[place] == key:
            codes[row] = place
    return codes


def _last_known(past: Floats, ahead: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Missing values ahead replaced by the last known one of the series; which were replaced."""
    is_missing = np.isnan(ahead)
    if not is_missing.any():
        return ahead, is_missing
    both = np.concatenate([past, ahead], axis=1)
    columns = np.arange(both.shape[1])[None, :]
    last = np.maximum.accumulate(np.where(np.isnan(both), 0, columns), axis=1)
    filled = np.take_along_axis(both, last, axis=1)[:, past.shape[1] :]
    return filled, is_missing & ~np.isnan(filled)
