"""How good the answers of a model of rows were: regression and classification, from answers beside the truth.

Brier's score is of Brier (1950), as the mean over rows of the squared distance between the probabilities and the truth.
The area under the curve is the Mann-Whitney statistic with ties counted by half (Hanley and McNeil 1982). The
calibration error is the mean distance of probability and frequency over ten groups of equal size (Nguyen and O'Connor
2015, "Posterior calibration", section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

__all__ = ["ClassificationScores", "RegressionScores", "calibration_error", "classify", "log_losses", "regress"]

Floats = NDArray[np.float64]

_LEAST = 1e-15
_GROUPS = 10


@dataclass(frozen=True, slots=True)
class RegressionScores:
    """Errors of numbers; ``None`` where there are no rows.

    Attributes:
        n: rows.
        mae: mean absolute error.
        rmse: root of the mean squared error.
        bias: mean of prediction minus truth.
        r2: share of the truth's variance that is explained; ``None`` where the truth does not vary.
    """

    n: int
    mae: float | None
    rmse: float | None
    bias: float | None
    r2: float | None


@dataclass(frozen=True, slots=True)
class ClassificationScores:
    """Errors of labels and of their probabilities; those of probabilities are ``None`` where none were given.

    Attributes:
        n: rows.
        accuracy: share of rows with the right label.
        log_loss: mean of minus the logarithm of the probability of the truth.
        brier: mean squared distance of the probabilities and the truth, 0 to 2.
        auc: of two classes: how often a row of the second has the larger probability of it than a row of the first.
        calibration: mean distance between the probability of the answer and how often it was right.
    """

    n: int
    accuracy: float | None
    log_loss: float | None
    brier: float | None
    auc: float | None
    calibration: float | None


def regress(predicted: ArrayLike, truth: ArrayLike) -> RegressionScores:
    """The errors of predicted numbers, both of shape ``(n,)``; rows where either is not finite are left out.

    >>> regress([1.0, 2.0, 4.0], [1.0, 3.0, 3.0]).mae
    0.6666666666666666
    """
    p, y = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    known = np.isfinite(p) & np.isfinite(y)
    p, y = p[known], y[known]
    if not len(y):
        return RegressionScores(0, None, None, None, None)
    error = p - y
    total = float(((y - y.mean()) ** 2).sum())
    return RegressionScores(
        n=len(y),
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt((error**2).mean())),
        bias=float(error.mean()),
        r2=1 - float((error**2).sum()) / total if total > 0 else None,
    )


def classify(answer: ArrayLike, truth: ArrayLike, probabilities: ArrayLike | None = None) -> ClassificationScores:
    """The errors of predicted classes.

    Args:
        answer: the number of the class that was answered, shape ``(n,)``; -1 for one that is no known class.
        truth: the number of the true class, shape ``(n,)``.
        probabilities: of each class, shape ``(n, k)``; ``None`` where only labels were given.

    Raises:
        ValueError: a true class has no column of probabilities.

    >>> classify([0, 1, 1], [0, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]).auc
    1.0
    """
    a, y = np.asarray(answer, dtype=np.int64), np.asarray(truth, dtype=np.int64)
    if not len(y):
        return ClassificationScores(0, None, None, None, None, None)
    accuracy = float((a == y).mean())
    if probabilities is None:
        return ClassificationScores(len(y), accuracy, None, None, None, None)
    p = np.asarray(probabilities, dtype=np.float64)
    losses = log_losses(y, p)
    target = np.zeros(p.shape)
    target[np.arange(len(y)), y] = 1.0
    top = p.argmax(axis=1)
    return ClassificationScores(
        n=len(y),
        accuracy=accuracy,
        log_loss=float(losses.mean()),
        brier=float(((p - target) ** 2).sum(axis=1).mean()),
        auc=_area(p[:, 1], y == 1) if p.shape[1] == 2 else None,
        calibration=calibration_error(p.max(axis=1), top == y),
    )


def log_losses(truth: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Minus the logarithm of the true class's probability by row; a probability of zero counts as 1e-15.

    Raises:
        ValueError: a true class has no column.
    """
    y, p = np.asarray(truth, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or len(p) != len(y) or (len(y) and (y.min() < 0 or y.max() >= p.shape[1])):
        raise ValueError("each true class must have a column of probabilities")
    losses: Floats = -np.log(np.clip(p[np.arange(len(y)), y], _LEAST, None))
    return losses


def calibration_error(probability: ArrayLike, is_right: ArrayLike) -> float | None:
    """The mean distance of probability and frequency over ten groups of equal size; ``None`` below 20 rows."""
    p, right = np.asarray(probability, dtype=np.float64), np.asarray(is_right, dtype=np.float64)
    if len(p) < 2 * _GROUPS:
        return None
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, _GROUPS)
    return float(sum(len(part) * abs(p[part].mean() - right[part].mean()) for part in parts) / len(p))


def _area(score: Floats, is_second: NDArray[np.bool_]) -> float | None:
    second = int(is_second.sum())
    first = len(score) - second
    if not first or not second:
        return None
    ranks = rankdata(score)
    return float((ranks[is_second].sum() - second * (second + 1) / 2) / (first * second))
