"""Groups of a panel's series, by the value of a static or series column, and the panel of some series alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError, nearest
from everloop.data.panel import Future, Panel

__all__ = ["group_texts", "of_series"]


def group_texts(panel: Panel, by: str) -> NDArray[np.str_]:
    """The group of each series as a text, empty where it is unknown.

    Raises:
        ModelError: the panel has no such column.
    """
    if by in panel.series_columns:
        place = panel.series_columns.index(by)
        return np.array([key[place] for key in panel.keys], dtype=np.str_)
    if by not in panel.static:
        known = sorted({*panel.static, *panel.series_columns})
        raise ModelError("group_column", f"{by!r} is no static or series column", hint=nearest(by, known), path=by)
    return np.array([_text(value, panel.categories.get(by)) for value in panel.static[by]], dtype=np.str_)


def _text(value: np.float32, texts: tuple[str, ...] | None) -> str:
    if np.isnan(value):
        return ""
    if texts is not None:
        return texts[int(value)] if 0 <= value < len(texts) else ""
    return np.format_float_positional(value, trim="-")


def of_series(panel: Panel, numbers: NDArray[np.int64]) -> Panel:
    """The panel with only some of its series, by their numbers in rising order."""
    rows = np.zeros(panel.n_series, dtype=np.bool_)
    rows[numbers] = True
    kept = np.repeat(rows, panel.lengths)
    return replace(
        panel,
        keys=tuple(panel.keys[number] for number in numbers.tolist()),
        offsets=np.concatenate([[0], np.cumsum(panel.lengths[numbers])]).astype(np.int64),
        y=panel.y[kept],
        known={name: values[kept] for name, values in panel.known.items()},
        observed={name: values[kept] for name, values in panel.observed.items()},
        static={name: values[numbers] for name, values in panel.static.items()},
        future=Future(panel.future.steps, {name: block[numbers] for name, block in panel.future.columns.items()}),
        marks=None if panel.marks is None else panel.marks.moved(kept),
    )
