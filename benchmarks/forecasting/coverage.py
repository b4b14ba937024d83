"""Intervals on windows that nobody has seen: how often they hold the truth, over a year of windows, and how wide.

A window's outcomes share its shocks (a warm January, a strike), so windows and not outcomes are the cases: coverage is
the mean over windows, with Student's interval over them.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from everloop.core.frequency import Frequency
from everloop.core.project import load_project
from everloop.data.loading import load_panel
from everloop.data.panel import Future, Panel
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext, ForecastRequest
from forecasting.batch_project import everloop
from forecasting.m5_project import HORIZON as M5_HORIZON
from forecasting.m5_project import load_sales, write_project
from forecasting.rossmann import HORIZON as ROSSMANN_HORIZON
from forecasting.rossmann import load_shops
from measuring.claims import claim_of

__all__ = ["measure"]

_LEVELS = (80.0, 95.0)
_WITHIN = 2.0
_CANDIDATES = ("lightgbm", "statistical")
_ROSSMANN_WINDOWS, _M5_WINDOWS, _WEEKLY_WINDOWS = 8, 4, 8
_M5_STORES = ("CA_1", "WI_3")
_M5_FROM, _M5_APART = 1913, 56
_WEEKLY_HORIZON = 6
_LEAST_SHARE = 0.02
"""A class with a smaller share of the outcomes is not told: its coverage is chance."""
_SMOOTH_GAP, _SMOOTH_SPREAD = 1.32, 0.49
_Found = dict[tuple[str, str, float], list[tuple[float, float, float, float, float]]]


@dataclass(frozen=True)
class _Case:
    """A window: what was known before it, what came, and the classes of its series by kind of class."""

    panel: Panel
    horizon: int
    actual: NDArray[np.floating]
    classes: dict[str, NDArray[np.str_]]


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Coverage, misses below and above, width and interval score by data set, model, level and class.

    Args:
        quick: two windows of each data set.
    """
    rows: list[dict[str, Any]] = []
    claims: list[dict[str, Any]] = []
    for name, windows, cases in (
        ("rossmann", 2 if quick else _ROSSMANN_WINDOWS, _rossmann),
        ("m5", 2 if quick else _M5_WINDOWS, _m5),
        ("weekly, made", 2 if quick else _WEEKLY_WINDOWS, _weekly),
    ):
        found: dict[str, _Found] = {candidate: {} for candidate in _CANDIDATES}
        started = time.monotonic()
        for case in cases(windows):
            for candidate in _CANDIDATES:
                _judge(case, candidate, found[candidate])
        seconds = time.monotonic() - started
        if not any(found.values()):
            rows.append({"skipped": f"EVERLOOP_DATA names no folder with {name}"})
        for candidate, by_class in found.items():
            rows += [_row(name, candidate, key, values) for key, values in by_class.items()]
            claims += [_claim(name, candidate, key, values) for key, values in by_class.items()]
        print(f"{name}: {seconds:.0f} s", flush=True)
    return rows, claims


def _rossmann(windows: int) -> Iterator[_Case]:
    folder = Path(os.environ.get("EVERLOOP_DATA", "")) / "rossmann"
    if not (folder / "store.csv").is_file():
        return
    shops = load_shops(folder)
    codes, texts = shops.static["StoreType"]
    kind = np.array([f"type {texts[int(code)]}" for code in codes])
    for number in range(windows):
        days = len(shops.days) - ROSSMANN_HORIZON * (number + 1)
        sales = shops.columns["Sales"]
        classes = {"store": kind, "demand": _demand(sales[:, :days])}
        yield _Case(shops.panel(days), ROSSMANN_HORIZON, sales[:, days : days + ROSSMANN_HORIZON], classes)


def _m5(windows: int) -> Iterator[_Case]:
    folder = Path(os.environ.get("EVERLOOP_DATA", "")) / "m5"
    if not (folder / "calendar.csv").is_file():
        return
    sales = load_sales(folder, stores=_M5_STORES)
    with tempfile.TemporaryDirectory(prefix="everloop-coverage-") as scratch:
        project = Path(scratch) / "project"
        write_project(sales, project, _M5_FROM + M5_HORIZON)
        everloop(project, "ingest")
        whole = load_panel(load_project(project), horizon=M5_HORIZON)[0]
    for number in range(windows):
        back = M5_HORIZON + _M5_APART * number
        yield from _known_before(whole, whole.cutoff - back, M5_HORIZON)


def _weekly(windows: int) -> Iterator[_Case]:
    """Made sales of 400 products in 250 weeks: a yearly wave, promotions, and shocks that all share."""
    random = np.random.default_rng(5)
    n, weeks = 400, 250
    promoted = random.random((n, weeks)) < 0.15
    level = np.exp(random.uniform(-1, 5, n))[:, None] * np.exp(np.cumsum(random.normal(0, 0.01, (n, weeks)), axis=1))
    wave = 1 + 0.4 * np.sin(2 * np.pi * (np.arange(weeks) / 52 + random.uniform(0, 0.2, n)[:, None]))
    shock = np.exp(random.normal(0, 0.08, weeks))
    mean = level * wave * shock * np.where(promoted, 1.8, 1.0)
    y = random.poisson(mean * random.gamma(4.0, 0.25, mean.shape)).astype(np.float32)
    promotion = promoted.astype(np.float32)
    frequency = Frequency.parse("1w")
    whole = Panel(
        frequency,
        ("store", "item"),
        tuple((f"s{row % 4}", f"i{row:03d}") for row in range(n)),
        int(frequency.index(np.array(["2024-10-07"], dtype="M8[us]"))[0]),
        np.arange(n + 1) * weeks,
        y.ravel(),
        known={"promotion": promotion.ravel()},
        future=Future(0, {}),
    )
    for number in range(windows):
        yield from _known_before(whole, whole.cutoff - _WEEKLY_HORIZON * (number + 1), _WEEKLY_HORIZON)


def _known_before(whole: Panel, cutoff: int, horizon: int) -> Iterator[_Case]:
    panel = whole.until(cutoff, horizon=horizon)
    rows = {key: row for row, key in enumerate(whole.keys)}
    place = np.array([rows[key] for key in panel.keys])
    ahead = whole.last(whole.cutoff - cutoff)[place, :horizon]
    store = np.array([key[0] for key in panel.keys])
    yield _Case(panel, horizon, ahead, {"store": store, "demand": _demand(panel.last(int(panel.lengths.max())))})


def _demand(y: NDArray[np.floating]) -> NDArray[np.str_]:
    """The class of each series' demand by Syntetos, Boylan and Croston (2005): gaps between sales and their spread."""
    has_sold = y > 0
    days = (~np.isnan(y) & (np.cumsum(has_sold, axis=1) > 0)).sum(axis=1)
    sales = np.maximum(has_sold.sum(axis=1), 1)
    sold = np.where(has_sold, y, 0.0).astype(np.float64)
    mean = sold.sum(axis=1) / sales
    variance = np.where(has_sold, (sold - mean[:, None]) ** 2, 0.0).sum(axis=1) / sales
    spread = variance / np.maximum(mean, 1e-9) ** 2
    is_rare, is_uneven = days / sales >= _SMOOTH_GAP, spread >= _SMOOTH_SPREAD
    return np.where(is_rare, np.where(is_uneven, "lumpy", "intermittent"), np.where(is_uneven, "erratic", "smooth"))


def _judge(case: _Case, candidate: str, found: _Found) -> None:
    context = FitContext(case.horizon, levels=_LEVELS, threads=os.cpu_count() or 1)
    model = make_forecaster(candidate).fit(case.panel, context)
    answer = model.forecast(ForecastRequest(case.horizon, _LEVELS))
    is_there = ~np.isnan(case.actual)
    length = 1 if case.panel.frequency.unit == "w" else 7
    week = np.broadcast_to(np.arange(case.horizon) // length + 1, case.actual.shape)
    groups = [("all", "all", is_there)]
    for kind, classes in case.classes.items():
        groups += [(kind, str(each), is_there & (classes == each)[:, None]) for each in np.unique(classes)]
    groups += [("week", str(each), is_there & (week == each)) for each in np.unique(week)]
    for level in _LEVELS:
        low, high = answer.lower[level], answer.upper[level]
        below, above = case.actual < low, case.actual > high
        beyond = np.where(below, low - case.actual, np.where(above, case.actual - high, 0.0))
        score = high - low + 200.0 / (100.0 - level) * beyond
        for kind, name, chosen in groups:
            if chosen.sum() < _LEAST_SHARE * is_there.sum():
                continue
            demand = max(float(case.actual[chosen].sum()), 1.0)
            figures = (
                100.0 * float((~below & ~above)[chosen].mean()),
                100.0 * float(below[chosen].mean()),
                100.0 * float(above[chosen].mean()),
                float((high - low)[chosen].sum()) / demand,
                float(score[chosen].sum()) / demand,
            )
            found.setdefault((kind, name, level), []).append(figures)


def _row(data: str, candidate: str, key: tuple[str, str, float], values: list[tuple[float, ...]]) -> dict[str, Any]:
    table = np.array(values)
    mean = table.mean(axis=0)
    return {
        "data": data,
        "model": candidate,
        "by": key[0],
        "class": key[1],
        "level": key[2],
        "windows": len(table),
        "coverage": round(float(mean[0]), 1),
        "lowest": round(float(table[:, 0].min()), 1),
        "highest": round(float(table[:, 0].max()), 1),
        "below": round(float(mean[1]), 1),
        "above": round(float(mean[2]), 1),
        "width": round(float(mean[3]), 3),
        "score": round(float(mean[4]), 4),
    }


def _claim(data: str, candidate: str, key: tuple[str, str, float], values: list[tuple[float, ...]]) -> dict[str, Any]:
    """How far the mean coverage lies from what is promised, with Student's interval of 95 % over the windows."""
    kind, name, level = key
    off = np.array([value[0] for value in values]) - level
    mean = float(off.mean())
    reach = np.inf if len(off) < 2 else float(student.ppf(0.975, len(off) - 1) * off.std(ddof=1) / np.sqrt(len(off)))
    low, high = mean - reach, mean + reach
    nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return claim_of(
        f"coverage-{data}-{candidate}-{kind}-{name}-{level:g}",
        f"{data}, {candidate}, {kind} {name}: coverage of {level:g} % intervals, off by",
        "points",
        _WITHIN,
        abs(mean),
        (nearest, min(max(abs(low), abs(high)), 100.0)),
        is_most=True,
        note=f"mean {mean:+.1f} over {len(off)} windows; they share their shocks, so each window is one case",
    )
