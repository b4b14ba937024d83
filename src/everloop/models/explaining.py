"""What a model of trees makes of its features: what splits gained, and what happens when features are shuffled.

A forecaster takes part by two methods: ``boosters`` lists its trees with the names of their features, and
``with_boosters`` gives a copy that asks others in their place. A user's own class may have them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from everloop.core.seeds import derive_seed

__all__ = ["Predictor", "Shuffled", "TreeModel", "gain_shares", "gains_of", "shuffled"]


class Predictor(Protocol):
    """What predicts rows of features, such as :class:`everloop.models.booster.Booster`."""

    text: str
    """The trees as LightGBM writes them."""

    def predict(
        self, rows: NDArray[np.float32] | NDArray[np.float64], *, raw: bool = False, threads: int = 1
    ) -> NDArray[np.float64]:
        """Predictions for rows of features, shape ``(n,)`` for rows of shape ``(n, features)``."""
        ...


@runtime_checkable
class TreeModel(Protocol):
    """A fitted forecaster that shows its trees."""

    def boosters(self) -> Sequence[tuple[Sequence[str], Predictor]]:
        """The names of the features, in the order of their columns, and the trees; one pair for each set of trees."""
        ...

    def with_boosters(self, boosters: Sequence[Predictor]) -> Self:
        """A copy that asks other predictors, in the order of :meth:`boosters`."""
        ...


class Shuffled:
    """Trees that see some of their features shuffled among the rows, all of these in the same order.

    What these features say of each other stays, what they say of the row is lost. Breiman (2001), "Random forests",
    section 10, did so with single features.

    Args:
        inner: the trees.
        positions: the columns to shuffle.
        seed: of the order; each call draws another.
    """

    def __init__(self, inner: Predictor, positions: Sequence[int], seed: int) -> None:
        self.text = inner.text
        self._inner = inner
        self._positions = list(positions)
        self._seed = seed
        self._calls = 0

    def predict(
        self, rows: NDArray[np.float32] | NDArray[np.float64], *, raw: bool = False, threads: int = 1
    ) -> NDArray[np.float64]:
        """Predictions for the rows with these features shuffled."""
        order = np.random.default_rng([self._seed, self._calls]).permutation(len(rows))
        self._calls += 1
        mixed = rows.copy()
        mixed[:, self._positions] = rows[order][:, self._positions]
        return self._inner.predict(mixed, raw=raw, threads=threads)


def shuffled(model: TreeModel, names: Sequence[str], seed: int) -> TreeModel:
    """A copy of a model that sees the named features shuffled, by the same order in all of its sets of trees."""
    wanted = set(names)
    mixed: list[Predictor] = []
    for own, booster in model.boosters():
        positions = [place for place, name in enumerate(own) if name in wanted]
        mixed.append(Shuffled(booster, positions, derive_seed(seed, "shuffle")))
    return model.with_boosters(mixed)


def gain_shares(model: TreeModel) -> dict[str, float]:
    """The share of each feature in what all splits gained, largest first; empty where nothing was gained."""
    gains: dict[str, float] = {}
    for names, booster in model.boosters():
        found = gains_of(booster.text)
        for position, name in enumerate(names):
            gains[name] = gains.get(name, 0.0) + found.get(position, 0.0)
    total = sum(gains.values())
    if total <= 0:
        return {}
    return {name: gain / total for name, gain in sorted(gains.items(), key=lambda each: (-each[1], each[0]))}


def gains_of(text: str) -> dict[int, float]:
    r"""What the splits of each feature gained, by the feature's position, from a model as LightGBM writes it.

    >>> gains_of("tree\nsplit_feature=0 2 0\nsplit_gain=4 1.5 2\n")
    {0: 6.0, 2: 1.5}
    """
    gains: dict[int, float] = {}
    features: list[int] = []
    for line in text.splitlines():
        name, equals, values = line.partition("=")
        if equals and name == "split_feature":
            features = [int(each) for each in values.split()]
        elif equals and name == "split_gain":
            for feature, gain in zip(features, values.split(), strict=False):
                gains[feature] = gains.get(feature, 0.0) + float(gain)
    return gains
