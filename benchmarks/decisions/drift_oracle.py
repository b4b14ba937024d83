"""How soon any detector could find a change: one that knows all but the day on which it comes.

It knows the stream, the size and the sign of the change, and the season and dependence of the very years that it
watches, which are fitted to them without the change (all three years, each with a season of its own). What it makes of
them is a step's whitened trace in errors of variance one. Of these it takes the likelihood ratio of a change at each
day against none, summed by Shiryaev and Roberts, which is optimal among detectors with the same rate of false alarms up
to a constant that vanishes (Pollak 1985); for errors that are normal. Its threshold is not a bound but what gives that
rate (Siegmund 1985, equation 2.56 for the overshoot).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["Oracle"]

Floats = NDArray[np.float64]

_LAGS = 14
_HARMONICS = 4
_YEAR_DAYS = 365.25
_OVERSHOOT = 0.583


class Oracle:
    """Knows one stream, with its years to come.

    Args:
        days: of all years, the watched one included, days since 1970, shape ``(d,)``.
        values: the stream without a change, shape ``(d,)``.
        history: how many of the days come before the watched ones.
    """

    def __init__(self, days: NDArray[np.int64], values: Floats, history: int) -> None:
        season = _season(days, history)
        left = values - season @ np.linalg.lstsq(season, values, rcond=None)[0]
        lagged = np.stack([np.concatenate([np.zeros(lag), left[:-lag]]) for lag in range(1, _LAGS + 1)], axis=1)
        self._lags = np.linalg.lstsq(lagged, left, rcond=None)[0]
        errors = left - lagged @ self._lags
        # as many degrees of freedom as were not spent
        freedom = len(values) - season.shape[1] - _LAGS
        self._sd = math.sqrt(float((errors**2).sum()) / freedom)
        self._errors = errors[history:] / self._sd

    def strength(self, shift: float) -> float:
        """A shift in deviations of the long run: half of its square is what each day tells of it."""
        return abs(shift) * (1 - float(self._lags.sum())) / self._sd

    def delay(self, shift: float, *, start: int, streams: int, rate: float) -> int | None:
        """Days until a shift that comes on watched day ``start`` is found; ``None`` for not in time, or an early alarm.

        Args:
            shift: what is added to the stream from then on.
            start: the first day of the change.
            streams: in how many the change may have come: each has its part of the rate.
            rate: false alarms a year over all of them.
        """
        trace = np.full(len(self._errors), shift / self._sd)
        for lag, weight in enumerate(self._lags, start=1):
            trace[lag:] -= weight * shift / self._sd
        seen = self._errors.copy()
        seen[start:] += trace[: len(seen) - start]
        limit = math.log(_YEAR_DAYS * streams / rate) - _OVERSHOOT * self.strength(shift)
        logs = np.empty(0)
        for day, error in enumerate(seen):
            ages = trace[np.arange(len(logs), -1, -1)]
            logs = np.append(logs, 0.0) + ages * error - ages**2 / 2
            if float(np.logaddexp.reduce(logs)) >= limit:
                return day - start + 1 if day >= start else None
        return None


def _season(days: NDArray[np.int64], history: int) -> Floats:
    """Weekdays, and harmonics of the year for the watched year and for those before it."""
    weekday = ((days + 3) % 7)[:, None] == np.arange(7)
    angle = 2 * np.pi * days[:, None] * np.arange(1, _HARMONICS + 1) / _YEAR_DAYS
    waves = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    is_later = (np.arange(len(days)) >= history).astype(float)[:, None]
    return np.concatenate([weekday.astype(float), waves * is_later, waves * (1 - is_later)], axis=1)
