"""How much past errors from a few windows can tell: fewer than they count, since those of one window err together.

A quantile of many errors that come from three windows looks well known and is not: what moved all of a window's errors
at once was seen three times. The errors are therefore counted as independent ones would be that tell as much (Kish
1965, *Survey Sampling*, the design effect), and their quantile is widened as Student's distribution is wider than the
normal one when a scale was learnt from so few (Student 1908).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["effective_count", "shared_part", "widening"]


def shared_part(scores: NDArray[np.floating], windows: NDArray[np.int64]) -> float:
    """The correlation of two errors of one window about zero, between 0 and 1.

    The mean product of all pairs within a window over the mean square. About zero, since the next window's errors are
    bounded about zero too: a forecast that was always too high counts as shared.

    Args:
        scores: finite errors, shape ``(n,)``.
        windows: the window of each.

    >>> shared_part(np.array([1.0, 1.0, -2.0, -2.0]), np.array([0, 0, 1, 1]))
    1.0
    """
    codes = np.unique(windows, return_inverse=True)[1]
    counts = np.bincount(codes).astype(np.float64)
    sums = np.bincount(codes, weights=scores)
    squares = float((scores.astype(np.float64) ** 2).sum())
    pairs = float((counts * (counts - 1)).sum())
    if pairs <= 0 or squares <= 0:
        return 0.0
    products = float((sums**2).sum()) - squares
    return float(np.clip(products / pairs / (squares / len(scores)), 0.0, 1.0))


def effective_count(n: float, windows: int, shared: float) -> float:
    """How many independent errors tell as much as ``n`` from some windows.

    >>> effective_count(84, 3, 0.0), effective_count(84, 3, 1.0)
    (84.0, 3.0)
    """
    return n / (1.0 + max(n / max(windows, 1) - 1.0, 0.0) * shared)


def widening(level: float, count: float) -> float:
    """By how much an interval must be wider whose scale was learnt from so many independent errors.

    The ratio of the quantiles of Student's distribution with ``count`` degrees of freedom and of the normal one.

    Args:
        level: in percent.
        count: at least 1; below that nothing is known, and the answer is NaN.

    >>> round(widening(95.0, 3), 2), round(widening(95.0, 1000), 2)
    (1.62, 1.0)
    """
    from scipy.special import ndtri, stdtrit  # SciPy, which who only reads a batch need not load

    if count < 1:
        return float("nan")
    q = (1.0 + level / 100.0) / 2.0
    return float(stdtrit(count, q) / ndtri(q))
