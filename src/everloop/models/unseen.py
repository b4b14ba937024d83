"""Series that a panel does not hold: put into it by key, static and known-ahead values, so that they can be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError, nearest
from everloop.data.panel import Future, Panel, join_key

__all__ = ["with_unseen"]


def with_unseen(
    panel: Panel,
    keys: Sequence[tuple[str, ...]],
    static: Mapping[str, Sequence[str | float | None]],
    known: Mapping[str, NDArray[np.floating]],
) -> Panel:
    """The panel with series that have no history: each holds one period without a value, at the cutoff.

    A forecaster answers for them after ``update`` with this panel.

    Args:
        panel: the panel as it is.
        keys: the new series' keys.
        static: values of static columns, one for each key; a text that the panel has not seen is unknown, as is
            ``None`` and a column that is left out.
        known: known-ahead values of the steps after the cutoff, each of shape ``(len(keys), panel.future.steps)``;
            codes for text columns, NaN where unknown.

    Raises:
        RequestError: a key is in the panel already or of another length, a column is none of the panel's, or the
            values are of another number.
    """
    _check(panel, keys, static, known)
    order = sorted(range(panel.n_series + len(keys)), key=lambda row: _key(panel, keys, row))
    rows = np.array(order)
    is_new = rows >= panel.n_series
    old = rows[~is_new]
    lengths = np.ones(len(rows), dtype=np.int64)
    lengths[~is_new] = panel.lengths[old]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    is_kept = np.repeat(~is_new, lengths)

    def spread(values: NDArray[np.float32]) -> NDArray[np.float32]:
        wide = np.full(int(offsets[-1]), np.nan, dtype=np.float32)
        wide[is_kept] = values
        return wide

    added = rows[is_new] - panel.n_series
    columns = {}
    for name, values in panel.static.items():
        columns[name] = np.full(len(rows), np.nan, dtype=np.float32)
        columns[name][~is_new] = values
        given = _coded(panel, name, static.get(name, [None] * len(keys)))
        columns[name][is_new] = given[added]
    ahead = {}
    for name, block in panel.future.columns.items():
        ahead[name] = np.full((len(rows), block.shape[1]), np.nan, dtype=np.float32)
        ahead[name][~is_new] = block
        if name in known:
            ahead[name][is_new] = known[name][added]
    return replace(
        panel,
        keys=tuple(_key(panel, keys, row) for row in order),
        offsets=offsets,
        y=spread(panel.y),
        known={name: spread(values) for name, values in panel.known.items()},
        observed={name: spread(values) for name, values in panel.observed.items()},
        static=columns,
        future=Future(panel.future.steps, ahead),
    )


def _key(panel: Panel, keys: Sequence[tuple[str, ...]], row: int) -> tuple[str, ...]:
    return panel.keys[row] if row < panel.n_series else keys[row - panel.n_series]


def _coded(panel: Panel, name: str, given: Sequence[str | float | None]) -> NDArray[np.float32]:
    """Values of a static column as the panel holds them."""
    if name not in panel.categories:
        return np.array([np.nan if value is None else value for value in given], dtype=np.float32)
    codes = {text: float(code) for code, text in enumerate(panel.categories[name])}
    return np.array([codes.get(str(value), np.nan) for value in given], dtype=np.float32)


def _check(
    panel: Panel,
    keys: Sequence[tuple[str, ...]],
    static: Mapping[str, Sequence[str | float | None]],
    known: Mapping[str, NDArray[np.floating]],
) -> None:
    held = set(panel.keys)
    for number, key in enumerate(keys):
        if len(key) != len(panel.series_columns):
            raise RequestError(
                "series_key",
                f"{join_key(key)!r} has {len(key)} parts, a series here has {len(panel.series_columns)}",
                hint=f"give {', '.join(panel.series_columns)}",
                path="series",
            )
        if key in held or key in keys[:number]:
            raise RequestError(
                "series_known",
                f"the series {join_key(key)!r} is there already",
                hint="ask it by its key; its history counts",
                path="series",
            )
    for name, values in static.items():
        if name not in panel.static:
            raise RequestError(
                "static_unknown", f"{name!r} is no static column", hint=nearest(name, panel.static), path="static"
            )
        if len(values) != len(keys):
            raise _shape(f"static.{name}", len(values), len(keys))
    for name, block in known.items():
        if name not in panel.future.columns:
            raise RequestError(
                "future_unknown", f"{name!r} is no known-ahead column", hint=nearest(name, panel.known), path="future"
            )
        wanted = (len(keys), panel.future.columns[name].shape[1])
        if block.shape != wanted:
            raise _shape(f"future.{name}", block.shape, wanted)


def _shape(path: str, came: object, wanted: object) -> RequestError:
    return RequestError(
        "future_shape",
        f"values of shape {came} were given, not {wanted}",
        hint="give one value for each new series (and step)",
        path=path,
    )
