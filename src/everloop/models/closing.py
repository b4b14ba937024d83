"""Closed weekdays: which steps of a forecast fall on a day without trade."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel

__all__ = ["closed_steps", "is_closed", "open_season"]

_DAY_US = 86_400_000_000


def is_closed(panel: Panel, index: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each grid index lies on a closed weekday; never where a step is longer than a day."""
    if not panel.closed_weekdays or panel.frequency.is_monthly or panel.frequency.step_us > _DAY_US:
        return np.zeros(np.shape(index), dtype=np.bool_)
    days = panel.frequency.times(index).astype("M8[D]").astype(np.int64)
    return np.isin((days + 3) % 7, sorted(panel.closed_weekdays))


def closed_steps(panel: Panel, horizon: int) -> NDArray[np.bool_]:
    """Whether each of the next ``horizon`` steps is closed, shape ``(horizon,)``."""
    return is_closed(panel, panel.cutoff + 1 + np.arange(horizon))


def open_season(panel: Panel) -> int:
    """The length of the season in open steps: 6 for days of a shop that rests one day a week."""
    season = panel.frequency.season
    if not panel.closed_weekdays or panel.frequency.unit != "d" or panel.frequency.count != 1:
        return season
    return max(1, season - len(panel.closed_weekdays))
