"""Small panels made by a formula, on which forecasters are checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everloop.core.frequency import Frequency
from everloop.data.panel import Future, Panel

__all__ = ["example_panels", "odd_panel"]

_AHEAD = 21
_SUNDAY = 6


def example_panels(seed: int = 5) -> dict[str, Panel]:
    """A shop by days with all kinds of columns, closed on Sundays, and plain monthly series of both signs."""
    return {"daily shop": _daily_shop(seed), "monthly balance": _monthly_balance(seed)}


def odd_panel(frequency: Frequency) -> Panel:
    """Series of one period, of five, constant, of zeros, without any value, and with one sale long ago."""
    sale = np.zeros(60)
    sale[3] = 2.0
    series = {
        "constant": np.full(60, 4.0),
        "empty": np.full(60, np.nan),
        "five": np.arange(5.0),
        "gone": sale,
        "one": np.array([3.0]),
        "zero": np.zeros(60),
    }
    return _panel(frequency, series)


def _daily_shop(seed: int) -> Panel:
    """Five items over up to 160 days: seasonal, sensitive to price and events; one is young."""
    random = np.random.default_rng(seed)
    frequency = Frequency.parse("1d")
    cutoff, days = 15_000, 160
    index = cutoff - days + 1 + np.arange(days + _AHEAD)
    weekday = (index + 3) % 7
    event = np.where(index % 29 == 0, 1.0, np.where(index % 41 == 0, 0.0, np.nan))
    series, price, visitors = {}, {}, {}
    for item in range(5):
        steps = random.choice([0.8, 1.0, 1.1], size=days + _AHEAD, p=[0.1, 0.7, 0.2])
        level = 2.0 + 6.0 * item
        rate = level * (1 + 0.4 * (weekday == 5)) * steps**-2 * np.where(event == 1, 1.8, 1.0)
        sales = random.poisson(rate).astype(float)
        sales[weekday == _SUNDAY] = np.nan
        begin = 110 if item == 4 else 0
        key = f"item {item}"
        series[key], price[key] = sales[begin:days], (steps * (item + 1))[begin:]
        visitors[key] = random.poisson(30, days).astype(float)[begin:]
    plain = _panel(frequency, series, cutoff=cutoff)
    lengths = plain.lengths
    known = {
        "price": np.concatenate([values[:-_AHEAD] for values in price.values()]).astype(np.float32),
        "event": np.concatenate([event[days - length : days] for length in lengths]).astype(np.float32),
    }
    ahead = {
        "price": np.stack([values[-_AHEAD:] for values in price.values()]).astype(np.float32),
        "event": np.tile(event[-_AHEAD:], (len(series), 1)).astype(np.float32),
    }
    return Panel(
        frequency,
        plain.series_columns,
        plain.keys,
        cutoff,
        plain.offsets,
        plain.y,
        known=known,
        observed={"visitors": np.concatenate(list(visitors.values())).astype(np.float32)},
        static={"group": np.array([0, 0, 1, 1, 0], dtype=np.float32)},
        categories={"event": ("fair", "feast"), "group": ("food", "toys")},
        future=Future(_AHEAD, ahead),
        closed_weekdays=frozenset({_SUNDAY}),
    )


def _monthly_balance(seed: int) -> Panel:
    """Three series over up to 90 months with trend and season, in part below zero."""
    random = np.random.default_rng(seed)
    months = np.arange(90)
    series = {
        f"account {number}": (
            random.normal(0, 5, 90) + number * 10 + 20 * np.sin(months * np.pi / 6 + number) + 0.3 * months
        )[number * 12 :]
        for number in range(3)
    }
    return _panel(Frequency.parse("1mo"), series)


def _panel(frequency: Frequency, series: dict[str, NDArray[np.float64]], *, cutoff: int = 500) -> Panel:
    keys = sorted(series)
    return Panel(
        frequency=frequency,
        series_columns=("item",),
        keys=tuple((key,) for key in keys),
        cutoff=cutoff,
        offsets=np.concatenate([[0], np.cumsum([len(series[key]) for key in keys])]).astype(np.int64),
        y=np.concatenate([series[key] for key in keys]).astype(np.float32),
    )
