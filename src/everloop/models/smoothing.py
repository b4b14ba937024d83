"""Additive exponential smoothing of many series at once: level, damped trend and season.

Hyndman, Koehler, Ord and Snyder, *Forecasting with Exponential Smoothing* (2008), table 2.2, additive errors: with
``e = y - (l + phi b + s)``, the level becomes ``l + phi b + alpha e``, the trend ``phi b + beta e`` and the season
``s + gamma e``. A missing value is an error of zero. Parameters come from statsforecast; walking on with them needs
NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Smoothing", "fit_smoothing", "plain_smoothing"]

Doubles = NDArray[np.float64]

_MANY = 1000
"""From so many series on, processes share the work."""
_PLAIN_ALPHA = 0.1
"""A usual weight for demand (Syntetos and Boylan 2005 use 0.05 to 0.2) where there is too little to fit one."""


@dataclass(frozen=True, slots=True)
class Smoothing:
    """Parameters and state of ``n`` series; arrays of shape ``(n,)``, ``season`` of shape ``(n, m)``.

    The season's value for the period of ordinal ``t`` is column ``t mod m``. A series without trend has ``beta``
    and ``trend`` zero; one without season has ``gamma`` and ``season`` zero.
    """

    alpha: Doubles
    beta: Doubles
    gamma: Doubles
    phi: Doubles
    level: Doubles
    trend: Doubles
    season: Doubles

    def take(self, rows: NDArray[Any]) -> Smoothing:
        """Some of the series."""
        return Smoothing(*(getattr(self, each.name)[rows] for each in fields(self)))

    @classmethod
    def join(cls, parts: list[Smoothing]) -> Smoothing:
        """The series of several."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    def advance(self, y: Doubles, first: int) -> Smoothing:
        """The state after some periods.

        Args:
            y: shape ``(n, periods)``; a series stands still before its first number.
            first: the ordinal of the first period.
        """
        has_begun = np.logical_or.accumulate(~np.isnan(y), axis=1)
        level, trend, season = self.level, self.trend, self.season.copy()
        m = season.shape[1]
        for column in range(y.shape[1]):
            place = (first + column) % m
            damped = self.phi * trend
            error = np.nan_to_num(y[:, column] - (level + damped + season[:, place]), nan=0.0)
            begun = has_begun[:, column]
            level = np.where(begun, level + damped + self.alpha * error, level)
            trend = np.where(begun, damped + self.beta * error, trend)
            season[:, place] += self.gamma * error
        return replace(self, level=level, trend=trend, season=season)

    def ahead(self, first: int, steps: int) -> Doubles:
        """Forecasts of the next ``steps`` periods, the first of ordinal ``first``; shape ``(n, steps)``."""
        damping = np.cumsum(self.phi[:, None] ** np.arange(1, steps + 1)[None, :], axis=1)
        places = (first + np.arange(steps)) % self.season.shape[1]
        return np.asarray(self.level[:, None] + damping * self.trend[:, None] + self.season[:, places])


def plain_smoothing(y: Doubles, m: int) -> Smoothing:
    """Simple smoothing from the mean of each series' first season, for series with too little to fit."""
    n = len(y)
    level = np.zeros(n)
    order = np.cumsum(~np.isnan(y), axis=1)
    is_first = ~np.isnan(y) & (order <= max(m, 4))
    counts = is_first.sum(axis=1)
    has_any = counts > 0
    level[has_any] = np.where(is_first, y, 0.0).sum(axis=1)[has_any] / counts[has_any]
    zeros = np.zeros(n)
    return Smoothing(np.full(n, _PLAIN_ALPHA), zeros, zeros, np.ones(n), level, zeros, np.zeros((n, m)))


def fit_smoothing(y: Doubles, m: int, first: int, *, has_trend: bool, threads: int) -> Smoothing:
    """Parameters and initial states by maximum likelihood, chosen by AICc among the additive forms.

    A series with fewer than two seasons (or eight numbers), or that is constant, gets :func:`plain_smoothing`.
    Missing values count as the value a season earlier while parameters are estimated.

    Args:
        y: shape ``(n, periods)``, NaN before a series begins and where a value is missing.
        m: the length of the season; above 24 there is none, as in R's ``ets``.
        first: the ordinal of the first period.
        has_trend: whether trends are tried too; it takes about eight times as long.
        threads: how many processes share the series, where there are many.

    Returns:
        States before the first number of each series.
    """
    plain = plain_smoothing(y, m)
    jobs = [(row, *_prepared(y[row], m)) for row in range(len(y)) if _is_fittable(y[row], m)]
    fitted = _fit_all([values for _, _, values in jobs], m, has_trend, threads)
    arrays = {each.name: getattr(plain, each.name).copy() for each in fields(Smoothing)}
    for (row, start, _), (components, parameters) in zip(jobs, fitted, strict=True):
        if not np.isfinite(parameters[4:]).all():
            continue
        _store(arrays, row, components, parameters, first + start)
    return Smoothing(**arrays)


def _is_fittable(values: Doubles, m: int) -> bool:
    seen = values[~np.isnan(values)]
    return len(seen) >= max(8, 2 * m if m <= 24 else 0) and float(np.ptp(seen)) > 0


def _prepared(values: Doubles, m: int) -> tuple[int, Doubles]:
    """Where a series begins, and its values from there with holes filled from a season before."""
    start = int(np.argmax(~np.isnan(values)))
    filled = values[start:].copy()
    mean = float(np.nanmean(filled))
    for column in np.flatnonzero(np.isnan(filled)):
        before = filled[column - m] if column >= m else np.nan
        filled[column] = mean if np.isnan(before) else before
    return start, filled


def _fit_all(series: list[Doubles], m: int, has_trend: bool, threads: int) -> list[tuple[str, Doubles]]:
    if not series:
        return []
    if threads <= 1 or len(series) < _MANY:
        return [_fit_one(values, m, has_trend) for values in series]
    import joblib  # type: ignore[import-untyped]  # here alone: only a large fit shares its work
    from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

    job = joblib.delayed(_fit_one)
    try:
        return list(joblib.Parallel(n_jobs=threads, batch_size=64)(job(values, m, has_trend) for values in series))
    finally:
        get_reusable_executor().shutdown()  # else the workers stay for minutes


def _fit_one(values: Doubles, m: int, has_trend: bool) -> tuple[str, Doubles]:
    """Components such as ``"ANAN"`` and statsforecast's parameters: alpha, beta, gamma, phi, level, trend, season."""
    from statsforecast.ets import ets_f  # here alone: it brings pandas and statsmodels

    season = m if m <= 24 else 1
    form = "AZZ" if has_trend else "ANZ"
    if season == 1:
        form = form[:2] + "N"
    fit: Any = ets_f
    found = fit(values, season, model=form, additive_only=True, damped=None if has_trend else False)
    return found["components"], np.asarray(found["par"], dtype=np.float64)


def _store(arrays: dict[str, Doubles], row: int, components: str, parameters: Doubles, first: int) -> None:
    """Put one series' parameters in their places; ``first`` is the ordinal of its first number."""
    alpha, beta, gamma, phi = parameters[:4]
    state = parameters[4:]
    has_trend, has_season = components[1] != "N", components[2] != "N"
    arrays["alpha"][row] = alpha
    arrays["beta"][row] = beta if has_trend else 0.0
    arrays["phi"][row] = phi if components[3] == "D" else 1.0
    arrays["level"][row] = state[0]
    arrays["trend"][row] = state[1] if has_trend else 0.0
    arrays["gamma"][row] = gamma if has_season else 0.0
    if has_season:
        m = arrays["season"].shape[1]
        # the last of the initial seasonal states is the first period's
        arrays["season"][row, (first + np.arange(m)) % m] = state[1 + has_trend :][::-1]
