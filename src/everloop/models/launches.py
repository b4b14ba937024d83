"""Launches: series that began within a panel, laid side by side by age."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel

__all__ = ["Launches", "ages", "find_launches", "young_for"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_YOUNG = {"d": 28, "w": 8, "mo": 6, "q": 4, "y": 3}
_FEW = 30
"""With fewer launches than this all series stand in for them, by their newest periods."""


@dataclass(frozen=True, slots=True)
class Launches:
    """Past launches, of ``k`` series.

    Attributes:
        series: their numbers in the panel.
        first: the grid index of age 0, the first period with a sale.
        sales: shape ``(k, span)`` by age, NaN where there is no value or none yet.
        are_real: whether they are launches rather than stand-ins.
    """

    series: Ints
    first: Ints
    sales: Doubles
    are_real: bool


def young_for(panel: Panel) -> int:
    """Up to which age a series counts as new: four weeks of days, eight weeks, half a year of months."""
    unit = panel.frequency.unit
    if unit in _YOUNG:
        return max(2, _YOUNG[unit] // panel.frequency.count)
    return 4 * panel.frequency.season


def ages(panel: Panel) -> Ints:
    """How many periods ago each series had its first sale: 0 at the cutoff, -1 where there was none.

    Zeros before the first sale are no age: the item lay on no shelf yet.
    """
    rows = np.flatnonzero(~np.isnan(panel.y) & (panel.y != 0))
    series = panel.series_of_rows()[rows]
    age = np.full(panel.n_series, -1, dtype=np.int64)
    known, place = np.unique(series, return_index=True)
    age[known] = panel.offsets[1:][known] - 1 - rows[place]
    return age


def find_launches(panel: Panel, span: int) -> Launches:
    """The series whose first sale lies well within the panel, or the newest periods of all where those are few.

    A series whose first sale lies in the panel's first ``span`` periods may be an old one that was not seen selling.

    Args:
        panel: the panel.
        span: how many ages are laid out.
    """
    age = ages(panel)
    whole = int(panel.lengths.max(initial=0))
    is_launch = (age >= 1) & (age < whole - span)
    are_real = int(is_launch.sum()) >= _FEW
    if not are_real:
        is_launch = age >= 1
    series = np.flatnonzero(is_launch)
    back = age[series] if are_real else np.minimum(age[series], span - 1)
    place = panel.offsets[1:][series][:, None] - 1 - back[:, None] + np.arange(span)[None, :]
    is_past = place < panel.offsets[1:][series][:, None]
    sales = np.full(place.shape, np.nan)
    sales[is_past] = panel.y[place[is_past]]
    return Launches(series, panel.cutoff - back, sales, are_real)
