"""LightGBM's model text as arrays, read strictly: what is not understood fully is refused.

The format is told nowhere but in LightGBM's sources (``src/io/tree.cpp``, ``src/boosting/gbdt_model_text.cpp``). A
field that is not known here may change what a model answers, so it refuses the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError

__all__ = ["Doubles", "Grown", "Ints", "read_trees", "refused"]

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]

_HEAD = {
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective"),
    *("monotone_constraints", "feature_names", "feature_infos", "tree_sizes"),
}
_TREE = {
    *("num_leaves", "num_cat", "split_feature", "split_gain", "threshold", "decision_type", "left_child"),
    *("right_child", "leaf_value", "leaf_weight", "leaf_count", "internal_value", "internal_weight", "internal_count"),
    *("cat_boundaries", "cat_threshold", "is_linear", "shrinkage"),
}
_VERSIONS = ("v3", "v4")
_MOST_TEXT = 32 << 20
"""Reading takes memory of several times the text, which a server should not need for a model that is this large."""


@dataclass(frozen=True)
class Grown:
    """The trees of a model, one after the other; a tree of ``n`` leaves has ``n - 1`` inner nodes, numbered from 0.

    Attributes:
        features: how many features a row has.
        outputs: how many numbers the model gives; tree ``t`` adds to number ``t % outputs``.
        is_averaged: whether sums are divided by the number of iterations (a random forest).
        objective: what the trees were grown for, and so how a sum becomes an answer; empty where it stays a sum.
        leaves: of each tree, shape ``(trees,)``.
        values: of all leaves, shape ``(leaves,)``.
        feature: of each inner node, shape ``(inner,)``, as all that follow.
        threshold: a number's; ``-inf`` for a category.
        decision: LightGBM's bits: 1 for a category, 2 for missing ones left, and 4 times the kind of missing (0 none,
            1 zero, 2 NaN).
        left: the child where the answer is yes; ``~leaf`` for a leaf.
        right: the other child.
        members: the categories that go left, by the node's place; of nodes that ask for a category.
    """

    features: int
    outputs: int
    is_averaged: bool
    objective: str
    leaves: Ints
    values: Doubles
    feature: Ints
    threshold: Doubles
    decision: Ints
    left: Ints
    right: Ints
    members: Mapping[int, Ints]

    @property
    def tree(self) -> Ints:
        """The tree of each inner node."""
        return np.repeat(np.arange(len(self.leaves)), self.leaves - 1)


def refused(reason: str) -> ModelError:
    """The error of a model that is not compiled; it is answered by its own library."""
    return ModelError("compiled_refused", reason, hint="the model's own library answers instead")


def read_trees(text: str) -> Grown:
    """The trees of a model's text.

    Raises:
        ModelError: the text is damaged, or holds what is not known here, such as linear models in leaves.
    """
    if len(text) > _MOST_TEXT:
        raise refused("the model is too large")
    body, is_whole, _ = text.partition("\nend of trees")
    head, *parts = body.split("\nTree=")
    if not is_whole or not parts:
        raise refused("the model's text holds no trees, or is cut short")
    header, flags = _fields(head.splitlines()[1:])
    if flags - {"average_output"} or header.keys() - _HEAD or header.get("version") not in _VERSIONS:
        raise refused(f"the model's head says what is not known: {sorted(flags | header.keys() - _HEAD)}")
    trees = [_fields(part.splitlines()[1:]) for part in parts]
    fields = [tree for tree, _ in trees]
    if any(tree.get("is_linear", "0") != "0" for tree in fields):
        raise refused("the model's leaves hold linear models")
    unknown = {name for tree, flags in trees for name in (tree.keys() - _TREE) | flags}
    if unknown:
        raise refused(f"the model's trees say what is not known: {sorted(unknown)}")
    try:
        grown = _grown(header, fields, is_averaged="average_output" in flags)
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise refused(f"the model's text is damaged: {type(error).__name__}: {error}") from error
    _check(grown)
    return grown


def _fields(lines: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """The fields of lines ``name=value``, and the lines without a value."""
    pairs = [line.partition("=") for line in lines if line]
    return {name: value for name, equals, value in pairs if equals}, {name for name, equals, _ in pairs if not equals}


def _grown(header: Mapping[str, str], trees: Sequence[Mapping[str, str]], *, is_averaged: bool) -> Grown:
    leaves = np.array([int(tree["num_leaves"]) for tree in trees], dtype=np.int64)
    grown = [tree for tree, count in zip(trees, leaves.tolist(), strict=True) if count > 1]
    decision = _whole(grown, "decision_type")
    threshold = _numbers(grown, "threshold")
    starts = np.cumsum([0, *(int(tree["num_leaves"]) - 1 for tree in grown)])
    members: dict[int, Ints] = {}
    for tree, start, stop in zip(grown, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if int(tree["num_cat"]):
            bounds, words = _whole([tree], "cat_boundaries"), _whole([tree], "cat_threshold").astype("<u4")
            for place in (start + np.flatnonzero(decision[start:stop] & 1)).tolist():
                number = int(threshold[place])
                own = words[bounds[number] : bounds[number + 1]]
                members[place] = np.flatnonzero(np.unpackbits(own.view(np.uint8), bitorder="little"))
    threshold[list(members)] = -np.inf
    return Grown(
        features=int(header["max_feature_idx"]) + 1,
        outputs=int(header["num_tree_per_iteration"]),
        is_averaged=is_averaged,
        objective=header.get("objective", ""),
        leaves=leaves,
        values=_numbers(trees, "leaf_value"),
        feature=_whole(grown, "split_feature"),
        threshold=threshold,
        decision=decision,
        left=_whole(grown, "left_child"),
        right=_whole(grown, "right_child"),
        members=members,
    )


def _whole(trees: Sequence[Mapping[str, str]], name: str) -> Ints:
    return np.array(" ".join([tree[name] for tree in trees]).split(), dtype=np.int64)


def _numbers(trees: Sequence[Mapping[str, str]], name: str) -> Doubles:
    # float() reads a number to the last bit, as LightGBM does
    return np.array([float(each) for each in " ".join([tree[name] for tree in trees]).split()], dtype=np.float64)


def _check(grown: Grown) -> None:
    """Raise ModelError unless the arrays fit each other, and each node but a root has one parent, before it."""
    inner = grown.leaves - 1
    nodes, count = int(inner.sum()), int(grown.leaves.sum())
    arrays = (grown.feature, grown.threshold, grown.decision, grown.left, grown.right)
    is_sized = all(len(each) == nodes for each in arrays) and len(grown.values) == count
    if not is_sized or inner.min() < 0 or grown.outputs < 1 or len(inner) % grown.outputs:
        raise refused("the model's arrays do not fit each other")
    if np.isnan(grown.threshold).any() or not np.isfinite(grown.values).all():
        raise refused("a threshold or leaf of the model is no number")
    if set(grown.members) != set(np.flatnonzero(grown.decision & 1).tolist()):
        raise refused("a set of categories is missing")
    if nodes and not (grown.feature.min() >= 0 and grown.feature.max() < grown.features):
        raise refused("the model asks for a feature that it does not have")
    if np.isin(grown.decision, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), invert=True).any():
        raise refused("the model's decisions are of a kind that is not known")
    tree = grown.tree
    first = np.concatenate(([0], np.cumsum(inner)))[:-1][tree]
    own = np.arange(nodes) - first
    seen = np.zeros(nodes + count, dtype=np.int64)
    leaf_first = np.concatenate(([0], np.cumsum(grown.leaves)))[:-1][tree]
    for child in (grown.left, grown.right):
        is_leaf = child < 0
        limit = np.where(is_leaf, ~child, child)
        if (limit > inner[tree] - (~is_leaf)).any() or (~is_leaf & (child <= own)).any():
            raise refused("a child of a node is not after it")
        np.add.at(seen, np.where(is_leaf, nodes + leaf_first + limit, first + limit), 1)
    roots = np.zeros(nodes + count, dtype=np.int64)
    roots[np.unique(first)] = 1
    roots[nodes + (np.cumsum(grown.leaves) - grown.leaves)[inner == 0]] = 1
    if ((seen + roots) != 1).any():
        raise refused("a node of the model has no parent, or two")
