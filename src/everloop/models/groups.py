"""Groups of features, by their names: what is left out together, or shuffled together, to see what it brings.

======================  ==============================================================================================
group                   features
======================  ==============================================================================================
``lags``                single past values of the target: of the same season, and the last one
``windows``             what many past values amount to: means, deviation, shares of zeros, time since the last sale
``calendar``            parts of the target's date, and neighbourhoods of holidays
``price``               known-ahead columns whose name speaks of a price, cost or discount
``events``              the other known-ahead columns: promotions, events, holidays
``observed``            columns known up to the present only
``static``              columns that do not change within a series
``series``              the columns that name a series
``encodings``           means of the target by the values of a column
``step``                how far ahead the target lies
``other``               whatever has another name
======================  ==============================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["column_of", "group_of", "groups_of", "leave_out"]

_PRICE = re.compile(r"price|cost|discount|markdown|rebate", re.IGNORECASE)
_PREFIXES = (
    (("lag_", "seasonal_lag", "last"), "lags"),
    (
        (
            *("mean_", "seasonal_mean", "median_", "max_", "min_", "quantile_", "deviation", "std_", "zero_share"),
            *("since_", "trend", "observations", "scale", "level", "ewm", "age", "ratio_"),
        ),
        "windows",
    ),
    (("calendar_", "holiday", "payday", "days_to", "days_since", "fourier", "weekday", "month"), "calendar"),
    (("observed_",), "observed"),
    (("encoding", "encoded_", "target_", "group_"), "encodings"),
    (("static_",), "static"),
    (("key_",), "series"),
    (("step",), "step"),
)
_SUFFIX = re.compile(r"(_to_[a-z]+|_usual|_next_in|_next|_last_ago|_last|_changes_in|_changed_ago)$")


def group_of(name: str) -> str:
    """The group of a feature.

    >>> [group_of(each) for each in ("seasonal_lag_1", "mean_28", "known_sell_price_to_usual", "known_snap")]
    ['lags', 'windows', 'price', 'events']
    """
    if name.startswith(("known_", "price_", "event_", "promo")):
        return "price" if _PRICE.search(name) else "events"
    return next((group for prefixes, group in _PREFIXES if name.startswith(prefixes)), "other")


def column_of(name: str) -> str:
    """The column of the data that a feature is made of; of the target's past and the calendar, its group.

    >>> [column_of(each) for each in ("known_sell_price_to_usual", "known_event_next_in", "key_item_id", "mean_28")]
    ['sell_price', 'event', 'item_id', 'windows']
    """
    for prefix in ("known_", "observed_", "static_", "key_"):
        if name.startswith(prefix):
            return _SUFFIX.sub("", name.removeprefix(prefix))
    return group_of(name)


def groups_of(names: Sequence[str], *, by_column: bool = False) -> dict[str, tuple[int, ...]]:
    """The positions of the features of each group, in the order in which groups first appear.

    Args:
        names: the features' names, in the order of the columns.
        by_column: whether each column of the data is a group of its own.
    """
    found: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        found.setdefault(column_of(name) if by_column else group_of(name), []).append(position)
    return {group: tuple(positions) for group, positions in found.items()}


def leave_out(matrix: NDArray[np.float32], names: Sequence[str], without: Collection[str]) -> None:
    """Blank, in place, the features of some groups or columns in the rows to learn from; shape ``(rows, features)``.

    Trees never split by a feature without values, so whatever it holds later, in a forecast, changes nothing.
    """
    gone = [place for place, name in enumerate(names) if {name, group_of(name), column_of(name)} & set(without)]
    matrix[:, gone] = np.nan
