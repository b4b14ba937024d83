"""The rows that a model of all series learns from: one matrix, built block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel
from everloop.models.blocks import Block
from everloop.models.closing import is_closed
from everloop.models.feature_spec import FeatureSpec
from everloop.models.features import Features, Rows, features_of

__all__ = ["Scales", "TrainingRows", "blocks", "sample_rows"]

_BLOCK_CELLS = 200_000
"""Cells of a block: some tables of this size fit the processor's cache."""
_DRAWN_AT_ONCE = 1 << 22
_NOTHING = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Scales:
    """The least scale of a series, and that of a series without history; both learnt from the training panel."""

    least: float
    unseen: float

    @classmethod
    def of(cls, spec: FeatureSpec, panel: Panel) -> Scales:
        """The scales that a panel's targets give."""
        sizes = np.abs(panel.y[~np.isnan(panel.y)])
        positive = sizes[sizes > 0]
        if not len(positive):
            return cls(1.0, 1.0)
        # a single small sale within the second widest window, and a half
        least = 0.5 * float(np.quantile(positive, 0.1)) / spec.windows[-2]
        return cls(least, float(np.mean(sizes, dtype=np.float64)))


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Features and targets of the rows to learn from.

    Attributes:
        matrix: shape ``(rows, features)``.
        target: shape ``(rows,)``.
        scale: shape ``(rows,)``.
        index: the grid index of each target.
    """

    matrix: NDArray[np.float32]
    target: NDArray[np.float32]
    scale: NDArray[np.float32]
    index: NDArray[np.int64]


def blocks(n_series: int, columns: int) -> Iterator[NDArray[np.int64]]:
    """The series' numbers in runs whose blocks of ``columns`` have about one size."""
    run = max(1, _BLOCK_CELLS // max(columns, 1))
    for start in range(0, n_series, run):
        yield np.arange(start, min(n_series, start + run))


def sample_rows(
    spec: FeatureSpec, panel: Panel, scales: Scales, *, least: int, max_rows: int, seed: int
) -> TrainingRows:
    """The newest ``max_rows`` observed targets, each seen from an origin a random step of the horizon before it.

    Where these reach back less than ``least`` periods, a random share of the targets of so many periods is taken
    instead, so that a panel of very many series still shows its seasons.
    """
    horizon = spec.horizon
    counts = _rows_by_age(panel)
    reach = max(_reach(counts, max_rows), least)
    first = panel.cutoff - min(reach, len(counts)) + 1
    count = int(counts[:reach].sum())
    random = np.random.default_rng(seed)
    # as many as the panel has rows: small numbers, drawn a part at a time
    parts = [min(_DRAWN_AT_ONCE, count - start) for start in range(0, count, _DRAWN_AT_ONCE)]
    steps = np.concatenate([random.integers(1, horizon + 1, part).astype(np.int32) for part in parts] or [_NOTHING])
    share = max_rows / count if count > max_rows else 1.0
    is_chosen = np.concatenate([random.random(part) < share for part in parts] or [_NOTHING.astype(np.bool_)])
    total = int(is_chosen.sum())
    columns = min(int(panel.lengths.max()), panel.cutoff - first + horizon + spec.memory)
    rows = TrainingRows(
        np.empty((total, len(spec.names)), dtype=np.float32),
        np.empty(total, dtype=np.float32),
        np.empty(total, dtype=np.float32),
        np.empty(total, dtype=np.int64),
    )
    column_index = panel.cutoff - columns + 1 + np.arange(columns)
    is_open = (column_index >= first) & ~is_closed(panel, column_index)
    seen, position = 0, 0
    for series in blocks(panel.n_series, columns):
        block = Block.cut(panel, spec, series, columns=columns)
        member, column = np.nonzero(~np.isnan(block.y) & is_open[None, :])
        part = slice(seen, seen + len(member))
        seen = part.stop
        member, column, step = (each[is_chosen[part]] for each in (member, column, steps[part]))
        place = slice(position, position + len(member))
        position = place.stop
        asked = Rows(member, column - step, step)
        found: Features = features_of(spec, block, asked, least=scales.least, unseen=scales.unseen)
        rows.matrix[place], rows.scale[place] = found.matrix, found.scale
        rows.target[place], rows.index[place] = block.y[member, column], column_index[column]
    return rows


def _rows_by_age(panel: Panel) -> NDArray[np.int64]:
    """How many observed targets there are by how many periods ago, up to the oldest; a few series at a time."""
    counts = np.zeros(int(panel.lengths.max(initial=0)), dtype=np.int64)
    for series in blocks(panel.n_series, len(counts)):
        begin, end = panel.offsets[series[0]], panel.offsets[series[-1] + 1]
        age = np.repeat(panel.offsets[series + 1] - 1, panel.lengths[series]) - np.arange(begin, end)
        is_wanted = ~np.isnan(panel.y[begin:end]) & ~is_closed(panel, panel.cutoff - age)
        counts += np.bincount(age[is_wanted], minlength=len(counts))
    return np.trim_zeros(counts, "b")


def _reach(counts: NDArray[np.int64], max_rows: int) -> int:
    """The most periods back whose targets still fit into ``max_rows``, at least one."""
    return max(int(np.searchsorted(np.cumsum(counts), max_rows, side="right")), 1)
