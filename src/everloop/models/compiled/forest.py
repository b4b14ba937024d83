"""Trees laid out for the kernels: numbers of intervals instead of thresholds, and flat arrays.

A column is what nodes ask of a feature in one manner: a feature whose missing values go left here and right there is
two columns. Each has cuts, and a value's code is how many of them lie below it, so that

* a node of a number goes left where ``code <= place of its threshold among the cuts``;
* missing values, where they are told apart, get the lowest code where they go left and the highest where they go right;
* category ``k`` holds the values from ``k`` to below ``k + 1``, and 0 also those above -1, since LightGBM cuts off what
  follows the point; the cuts lie just below these bounds, and a node holds the set of codes that go left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.models.compiled.memory import BLOCK, FIELDS, LANES
from everloop.models.compiled.text import Doubles, Grown, Ints, refused

__all__ = ["Forest", "lay_out"]

_MOST = 0xFFFF
_MOST_SET_BYTES = 64 << 20
_NAN = 2


@dataclass(frozen=True)
class Column:
    """How one column's codes are made.

    Attributes:
        feature: the feature's place in a row.
        cuts: ascending.
        nan: the code of NaN.
        zero: the code of zero, and of what LightGBM takes for it.
    """

    feature: int
    cuts: Doubles
    nan: int
    zero: int


@dataclass(frozen=True)
class Forest:
    """Arrays that the kernels read; they must live as long as the model is asked.

    Attributes:
        bits: of a code, and of a leaf's number.
        has_categories: whether a node asks for a set.
        columns: those of numbers first.
        model: the fields of :data:`everloop.models.compiled.memory.FIELDS`, with addresses.
        scratch: the bytes that a call needs to write in, at an address that is a multiple of 64.
        arrays: what the addresses point to.
    """

    bits: int
    has_categories: bool
    columns: tuple[Column, ...]
    model: Ints
    scratch: int
    arrays: tuple[NDArray[np.generic], ...]


def lay_out(grown: Grown) -> Forest:
    """Trees as the kernels take them.

    Raises:
        ModelError: they are too large for the layout.
    """
    is_set = (grown.decision & 1).astype(bool)
    column, columns, limit, numeric = _columns(grown, is_set)
    sets, limit[is_set] = _sets(grown, column, columns)
    inner = grown.leaves - 1
    if max(len(columns), len(sets), 2 * int(inner.max()) + 1) > _MOST:
        raise refused("the model has too many columns, sets of categories or leaves")
    most = max((len(each.cuts) for each in columns), default=0)
    if most > _MOST:
        raise refused("the model cuts a feature too often")
    bits = 8 if most <= 0xFF and inner.max() <= 0xFF else 16
    nodes, table = _nodes(grown, column, limit)
    values = np.append(grown.values, 0.0)
    cuts = np.concatenate([each.cuts for each in columns]) if columns else np.zeros(1)
    starts = np.cumsum([0, *(len(each.cuts) for each in columns)])[:-1].tolist()
    sources = np.array(
        [
            (each.feature, start, len(each.cuts), each.nan, each.zero, 0)
            for each, start in zip(columns, starts, strict=True)
        ],
        dtype=np.int32,
    ).reshape(-1, 6)
    arrays = {"nodes": nodes, "values": values, "table": table, "cuts": cuts, "sources": sources, "sets": sets}
    width = bits // 8 * BLOCK  # a set of rows takes no more than this
    masks = max(len(columns), 1) * width
    scores = masks + (2 * int(inner.max()) + 1) * width
    ids = scores + grown.outputs * BLOCK * 8
    fields = {name: array.ctypes.data for name, array in arrays.items()} | {
        "trees": len(table),
        "outputs": grown.outputs,
        "columns": len(columns),
        "features": grown.features,
        "set_bytes": sets.shape[1],
        "numeric": numeric,
        "masks": masks,
        "scores": scores,
        "ids": ids,
    }
    model = np.array([fields[name] for name in FIELDS], dtype=np.int64)
    return Forest(bits, bool(is_set.any()), columns, model, ids + width, tuple(arrays.values()))


def _columns(grown: Grown, is_set: NDArray[np.bool_]) -> tuple[Ints, tuple[Column, ...], Ints, int]:
    """Each node's column, the columns, each node's place among its column's cuts, and how many columns are numbers'."""
    missing, is_default_left = grown.decision >> 2, (grown.decision >> 1 & 1) * (grown.decision >> 2 > 0)
    # numbers' columns sort before categories'
    key = np.where(is_set, 1 << 62 | grown.feature << 3, grown.feature << 3 | missing << 1 | is_default_left)
    keys, column = np.unique(key, return_inverse=True)
    columns, limit = [], np.zeros(len(key), dtype=np.int64)
    order = np.argsort(column, kind="stable")
    bounds = np.searchsorted(column[order], np.arange(len(keys) + 1))
    for place, name in enumerate(keys.tolist()):
        own = order[bounds[place] : bounds[place + 1]]
        feature = int(grown.feature[own[0]])
        if name >> 62:
            columns.append(_category_column(feature, [grown.members[node] for node in own.tolist()]))
            continue
        cuts, limit[own] = np.unique(grown.threshold[own], return_inverse=True)
        zero = int(np.searchsorted(cuts, 0.0))
        lost = 0 if name & 1 else len(cuts)
        kind = name >> 1 & 3
        columns.append(Column(feature, cuts, lost if kind else zero, lost if kind and kind != _NAN else zero))
    return column, tuple(columns), limit, int(np.count_nonzero(keys >> 62 == 0))


def _category_column(feature: int, members: Sequence[Ints]) -> Column:
    known = np.unique(np.concatenate(members)).astype(np.float64)
    below = np.where(known == 0, -1.0, np.nextafter(known, -np.inf))
    cuts = np.unique(np.concatenate((below, np.nextafter(known + 1, -np.inf), [-1.0])))
    return Column(feature, cuts, 0, int(np.searchsorted(cuts, 0.0)))


def _sets(grown: Grown, column: Ints, columns: Sequence[Column]) -> tuple[NDArray[np.uint8], Ints]:
    """Sets of codes as bits, shape ``(sets, bytes)``, each once; and the set of each node that asks for one."""
    nodes = sorted(grown.members)
    if not nodes:
        return np.zeros((1, 1), dtype=np.uint8), np.empty(0, dtype=np.int64)
    size = max(len(columns[column[node]].cuts) for node in nodes) // 8 + 1
    if len(nodes) * size > _MOST_SET_BYTES:
        raise refused("the model's sets of categories are too large")
    found: dict[bytes, int] = {}
    places = []
    for node in nodes:
        bits = np.zeros(size * 8, dtype=np.uint8)
        bits[np.searchsorted(columns[column[node]].cuts, grown.members[node].astype(np.float64))] = 1
        places.append(found.setdefault(np.packbits(bits, bitorder="little").tobytes(), len(found)))
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, size).copy(), np.array(places, dtype=np.int64)


def _nodes(grown: Grown, column: Ints, limit: Ints) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Records of nodes, and of trees: first node, inner nodes, first leaf, and the depth of the trees walked with it.

    A tree's inner nodes come before its leaves, whose records lead to themselves. Trees of one leaf of zero are added
    until there is a multiple of those that are walked at once: adding zero changes no sum.
    """
    tree, inner = grown.tree, grown.leaves - 1
    slots = 2 * inner + 1
    base = np.cumsum(slots) - slots
    total = int(slots.sum())
    own = np.arange(total) - np.repeat(base, slots)
    nodes = np.zeros(total + 1, dtype=np.uint64)
    nodes[:total] = (own << 32 | own << 48).astype(np.uint64)
    here = base[tree] + np.arange(len(tree)) - (np.cumsum(inner) - inner)[tree]
    left, right = (np.where(each < 0, inner[tree] + ~each, each) for each in (grown.left, grown.right))
    words = [each.astype(np.uint64) for each in (column, limit, left, right)]
    nodes[here] = words[0] | words[1] << np.uint64(16) | words[2] << np.uint64(32) | words[3] << np.uint64(48)
    depth = np.zeros(len(inner), dtype=np.int64)
    at = base[inner > 0]
    where = np.full(total, -1)
    where[here] = np.arange(len(here))
    while len(at):
        node = where[at]
        depth[np.unique(tree[node])] += 1
        at = np.unique(np.concatenate((base[tree[node]] + left[node], base[tree[node]] + right[node])))
        at = at[where[at] >= 0]
    count = -(-len(inner) // LANES) * LANES
    table = np.zeros((count, 4), dtype=np.int32)
    table[:, 0], table[:, 2] = total, len(grown.values)
    table[: len(inner), 0], table[: len(inner), 1] = base, inner
    table[: len(inner), 2] = np.cumsum(grown.leaves) - grown.leaves
    deepest = np.zeros(count, dtype=np.int64)
    deepest[: len(inner)] = depth
    table[:, 3] = np.repeat(deepest.reshape(-1, LANES).max(axis=1), LANES)
    return nodes, table
