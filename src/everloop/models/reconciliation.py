"""Forecasts of series and of their totals, each made by itself, made to agree: totals equal the sums of their series.

With ``b`` the series' forecasts, ``a`` those of the totals, ``A`` the matrix that sums series to totals and ``W`` the
covariance of the errors of both, the changed series are

    b  -  C_b (C_a - A C_b)^-1 (a - A b),        C = W [I, -A]^T,

the projection whose totals have the least variance of all unbiased ones where ``W`` is right (Wickramasuriya,
Athanasopoulos and Hyndman 2019, theorem 1, in the form of their equation 8 that inverts a matrix of the totals alone).
``W`` is never formed: it is a diagonal, or a diagonal and a product of the errors with themselves, so that room and
time grow with the number of series, not with its square.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from everloop.data.totals import Grouping

__all__ = ["Method", "reconciled", "shrinkage"]

Floats = NDArray[np.float64]
Method = Literal["bottom_up", "wls_struct", "wls_var", "mint_shrink"]


def reconciled(
    series: Floats,
    totals: Floats,
    levels: Sequence[Grouping],
    *,
    method: Method,
    errors: tuple[Floats, Floats],
    lowest: float = -np.inf,
) -> Floats:
    """The series' forecasts, changed so that they agree best with the totals' own; their sums are the new totals.

    ``wls_struct`` takes a total's variance for its number of members (Athanasopoulos et al. 2017), ``wls_var`` for the
    mean square of its past errors, ``mint_shrink`` also takes the errors' correlations, shrunk (:func:`shrinkage`).
    Where a changed series would fall below ``lowest`` it is put there (Di Fonzo and Girolimetto 2023, "sntz").

    Args:
        series: shape ``(n, steps)``.
        totals: the totals' own forecasts, level after level, shape ``(m, steps)``.
        levels: which series each level's totals hold.
        method: how ``W`` is estimated; ``bottom_up`` changes nothing.
        errors: the past errors of the series, ``(n, T)``, and of the totals, ``(m, T)``; NaN counts as none.
        lowest: the least value of a series.
    """
    if method == "bottom_up" or not len(totals):
        return series
    below, above = (np.nan_to_num(each) for each in errors)
    if method == "wls_struct":
        members = [np.bincount(each.codes, minlength=len(each.labels)) for each in levels]
        variance_below, variance_above = np.ones(len(series)), np.concatenate(members).astype(np.float64)
    else:
        variance_below, variance_above = ((each**2).mean(axis=1) for each in (below, above))
    share = shrinkage(np.concatenate([below, above])) if method == "mint_shrink" else 1.0
    # C_b and C_a - A C_b, first of the diagonal, then of the product
    cross = -share * _spread_out(variance_below, levels)
    inner = share * (np.diag(variance_above) - _sums(-_spread_out(variance_below, levels), levels))
    if share < 1.0:
        own = above - _sums(below, levels)
        weight = (1.0 - share) / below.shape[1]
        cross += weight * (below @ own.T)
        inner += weight * (own @ own.T)
    gap = totals - _sums(series, levels)
    # totals that hold the same series, or never erred, make the matrix singular
    changed = series - cross @ (np.linalg.pinv(inner, hermitian=True) @ gap)
    return np.asarray(np.maximum(changed, lowest))


def shrinkage(errors: Floats) -> float:
    """The share of the diagonal in a covariance that is estimated from few errors.

    It is that of Schaefer and Strimmer (2005, table 2, target D), of the correlations. The sum over all pairs is had
    from products over the periods: room grows with their number squared, not with that of the series.

    Args:
        errors: shape ``(series, T)``.
    """
    periods = errors.shape[1]
    size = np.sqrt((errors**2).mean(axis=1, keepdims=True))
    scaled = np.divide(errors, size, out=np.zeros_like(errors), where=size > 0)
    gram = scaled.T @ scaled / periods
    own = (scaled**2).mean(axis=1)  # 1, or 0 for a series that never erred
    squared = float((gram**2).sum())
    correlations = squared - float((own**2).sum())
    products = float(((scaled**2).sum(axis=0) ** 2).sum()) - float((scaled**4).sum())
    variances = (products - periods * correlations) * periods / max(periods - 1, 1) ** 3
    return float(np.clip(variances / correlations, 0.0, 1.0)) if correlations > 0 else 1.0


def _sums(values: Floats, levels: Sequence[Grouping]) -> Floats:
    """``A`` times rows of series."""
    return np.concatenate([each.sums(values) for each in levels])


def _spread_out(variance: Floats, levels: Sequence[Grouping]) -> Floats:
    """The diagonal of the series times the transposed of ``A``, shape ``(n, m)``."""
    blocks = []
    for each in levels:
        block = np.zeros((len(variance), len(each.labels)))
        block[np.arange(len(variance)), each.codes] = variance
        blocks.append(block)
    return np.concatenate(blocks, axis=1)
