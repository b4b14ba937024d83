"""From sums of leaves to answers: LightGBM's own conversion, asked through a model that does nothing else.

Whether ``exp`` has the same bits everywhere is not for guessing. A model of one tree for each output, whose leaves hold
the linear model ``1 * x``, gives back its features as sums, and LightGBM converts these as it converts all.
"""

from __future__ import annotations

from everloop.models.booster import Booster
from everloop.models.compiled.text import Grown

__all__ = ["converter_of"]

_SAME = frozenset(["regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"])
"""Objectives whose sums are the answers."""


def converter_of(grown: Grown) -> Booster | None:
    """What converts a model's sums, given as a row of features; ``None`` where they are answers as they are.

    Raises:
        ModelError: the library does not take the model.
    """
    words = grown.objective.split()
    if not words or (words[0] in _SAME and "sqrt" not in words):
        return None
    count = grown.outputs
    trees = [
        f"Tree={place}\nnum_leaves=2\nnum_cat=0\nsplit_feature={place}\nsplit_gain=1\nthreshold=0\ndecision_type=2\n"
        "left_child=-1\nright_child=-2\nleaf_value=0 0\nleaf_weight=1 1\nleaf_count=1 1\ninternal_value=0\n"
        "internal_weight=2\ninternal_count=2\nis_linear=1\nleaf_const=0 0\nnum_features=1 1\n"
        f"leaf_features={place} {place}  \nleaf_coeff=1 1  \nshrinkage=1\n\n\n"
        for place in range(count)
    ]
    names = [f"sum{place}" for place in range(count)]
    classes = next((word[10:] for word in words if word.startswith("num_class:")), str(count))
    head = (
        f"tree\nversion=v4\nnum_class={classes}\nnum_tree_per_iteration={count}\nlabel_index=0\n"
        f"max_feature_idx={count - 1}\nobjective={grown.objective}\nfeature_names={' '.join(names)}\n"
        f"feature_infos={' '.join(['[-1:1]'] * count)}\ntree_sizes={' '.join(str(len(tree)) for tree in trees)}\n\n"
    )
    return Booster(head + "".join(trees) + "end of trees\n")
