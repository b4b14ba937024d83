"""Training of LightGBM boosters, the only place that imports its Python package."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.models.booster import Booster, load_library
from everloop.models.explaining import Predictor
from everloop.models.feature_spec import FeatureSpec
from everloop.models.features import Features
from everloop.models.sampling import TrainingRows

__all__ = ["Grow", "TreeOptions", "plan_boosters", "predict", "threads_for"]

Grow = Callable[[], Booster | None]

_HELD_OUT_ROWS = 250_000
_FEW_ROWS = 50
_ROWS_PER_THREAD = 100_000
_THREADS_TOLD = re.compile(r"^\[num_threads: \d+\]$", re.MULTILINE)
"""How many threads a machine had is no part of a model."""
_HIGHEST_SCORE = 30.0
"""exp(30) is above any demand; the bound keeps an odd what-if from becoming infinite."""


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """How trees are grown; see ``LightGBMForecaster`` for what each means."""

    trees: int
    learning_rate: float
    leaves: int
    leaf_rows: int
    objective: str
    variance_power: float
    seed: int
    threads: int

    def to_lightgbm(self, rows: int) -> dict[str, Any]:
        """LightGBM's own parameters for a number of training rows."""
        is_tweedie = self.objective == "tweedie"
        return {
            "objective": self.objective,
            **({"tweedie_variance_power": self.variance_power} if is_tweedie else {}),
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": min(self.leaf_rows, max(5, rows // 500)),
            "lambda_l2": 0.1,
            "feature_fraction": 0.7,
            # of a handful of rows a share would be none at all
            "bagging_fraction": 0.7 if rows >= _FEW_ROWS else 1.0,
            "bagging_freq": 1,
            "max_bin": 127,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.threads,
            "verbosity": -1,
        }


def threads_for(rows: int, cores: int) -> int:
    """How many threads to grow trees with; more would wait for each other on little work."""
    return max(1, min(cores, rows // _ROWS_PER_THREAD))


def plan_boosters(
    rows: TrainingRows, spec: FeatureSpec, options: TreeOptions, *, part_of: NDArray[np.int64], parts: int
) -> tuple[Grow, ...]:
    """What grows a booster of all rows, and one without each part of them (``None`` where too few are left).

    Those without a part learn from at most a quarter of a million rows, since they only serve to measure errors.
    They may be grown side by side, by threads; LightGBM must be told the same number of threads in all of them.

    Args:
        rows: what to learn from; not needed any more afterwards.
        spec: its features.
        options: how.
        part_of: the part of each row, shape ``(rows,)``; -1 for none.
        parts: the number of parts.
    """
    load_library()  # first, so that OpenMP is set up
    import lightgbm  # here alone: it brings scikit-learn and pandas, which forecasting does without

    is_log = options.objective == "tweedie"
    data = lightgbm.Dataset(
        rows.matrix,
        rows.target if is_log else rows.target / rows.scale,
        init_score=np.log(rows.scale.astype(np.float64)) if is_log else None,
        feature_name=[f"f{position}" for position in range(len(spec.names))],
        categorical_feature=spec.code_positions,
        params=options.to_lightgbm(len(rows.target)),
        free_raw_data=True,
    ).construct()

    def grow(part: Any, count: int) -> Booster:
        text = lightgbm.train(options.to_lightgbm(count), part, options.trees).model_to_string()
        return Booster(_THREADS_TOLD.sub("[num_threads: 1]", text))

    plans: list[Grow] = [partial(grow, data, len(rows.target))]
    for part in range(parts):
        others = np.flatnonzero(part_of != part)
        others = others[:: max(1, -(-len(others) // _HELD_OUT_ROWS))]
        is_learnable = len(others) > 0 and (not is_log or bool((rows.target[others] > 0).any()))
        if not is_learnable:
            plans.append(_nothing)
            continue
        subset = data.subset(others.tolist(), params=options.to_lightgbm(len(others)))
        plans.append(partial(grow, subset.construct(), len(others)))
    return tuple(plans)


def _nothing() -> None:
    return None


def predict(
    boosters: Sequence[Predictor], objective: str, features: Features, *, threads: int = 1
) -> NDArray[np.float64]:
    """The boosters' mean forecast in the target's unit, shape ``(rows,)``."""
    total = np.zeros(len(features.scale))
    for booster in boosters:
        score = booster.predict(features.matrix, raw=True, threads=threads)
        if objective == "tweedie":
            total += np.exp(np.minimum(score + np.log(features.scale), _HIGHEST_SCORE))
        else:
            total += score * features.scale
    return total / len(boosters)
