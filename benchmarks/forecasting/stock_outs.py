"""Stock-outs from runs of zeros: how many are marked wrongly, how many are found, what leaving them out brings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, chi2

from everloop.core.frequency import Frequency
from everloop.core.settings.cleaning import CleaningSettings
from everloop.data.cleaning.marking import mark, with_marks
from everloop.data.marks import KINDS
from everloop.data.panel import Panel
from everloop.models.asking import ask
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext, ForecastRequest
from forecasting.intermittent_panels import Wide, data_folder, m5_stores
from measuring.claims import claim_of

__all__ = ["measure"]

_RATE = 10.0
_LENGTHS = (3, 5, 7, 10, 14, 21, 28)
_LEVELS = ((8.0, np.inf), (4.0, 8.0), (2.0, 4.0), (1.0, 2.0), (0.3, 1.0))
_HORIZON = 28
_DRAWS = 500
_INFERRED = KINDS.index("inferred_stock_out")

Found = tuple[list[dict[str, Any]], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class _Planted:
    """A stock-out put into real sales: the series, its first day, its length, and the sales a day before it."""

    series: int
    start: int
    length: int
    level: float


def measure(*, quick: bool) -> Found:
    """The table and the claims of all parts.

    Args:
        quick: fewer series and origins.
    """
    rows, claims = _false_runs(quick=quick)
    folder = data_folder()
    if folder is None:
        return [*rows, {"part": "real sales", "note": "EVERLOOP_DATA names no folder with real sales"}], claims
    wide = m5_stores(folder, "CA_1")
    for part_rows, part_claims in (_recall(wide, quick=quick), _effect(wide, quick=quick)):
        rows += part_rows
        claims += part_claims
    return rows, claims


def _false_runs(*, quick: bool) -> Found:
    """Runs marked in simulated sales without stock-outs, whose zeros are Markov chains with a weekly pattern."""
    rows, claims = [], []
    for name, stay in (("none", 0.0), ("middle", 0.3), ("strong", 0.8)):
        wrong = looked_at = 0
        for seed in range(1 if quick else 4):
            panel = _chains(1000, 900, seed=seed, stay=stay)
            marks = mark(panel, CleaningSettings(false_runs=_RATE))
            places = marks.row[marks.kind == _INFERRED]
            wrong += int((panel.y[places - 1] != 0).sum())
            looked_at += marks.looked_at
        allowed = _RATE * looked_at / 1e6
        interval = (chi2.ppf(0.025, 2 * wrong) / 2 if wrong else 0.0, chi2.ppf(0.975, 2 * wrong + 2) / 2)
        rows.append({"part": "false runs", "persistence": name, "runs": wrong, "allowed": allowed, "days": looked_at})
        claims.append(
            claim_of(
                f"stock-outs-false-{name}",
                f"Runs marked wrongly over those allowed, zeros of persistence: {name}",
                "ratio",
                1.0,
                wrong / allowed,
                (interval[0] / allowed, interval[1] / allowed),
                is_most=True,
            )
        )
    return rows, claims


def _chains(n: int, periods: int, *, seed: int, stay: float) -> Panel:
    random = np.random.default_rng(seed)
    base = random.uniform(0.05, 0.6, n)
    weekday = 1 + 0.4 * np.sin(2 * np.pi * np.arange(7) / 7)
    zero = np.zeros((n, periods), dtype=bool)
    was = random.random(n) < base
    for day in range(1, periods):
        p = np.clip(base * weekday[day % 7], 0, 1)
        was = random.random(n) < np.where(was, p + stay * (1 - p) * base, p)
        zero[:, day] = was
    y = np.where(zero, 0, 1 + random.poisson(2.0, (n, periods)))
    return Panel(
        frequency=Frequency.parse("1d"),
        series_columns=("item",),
        keys=tuple((f"{number:05d}",) for number in range(n)),
        cutoff=16_000,
        offsets=np.arange(n + 1, dtype=np.int64) * periods,
        y=y.astype(np.float32).ravel(),
    )


def _recall(wide: Wide, *, quick: bool) -> Found:
    """Planted stock-outs of several lengths: how many are found, by the level of sales."""
    days = wide.y.shape[1]
    planted = list(_plant(wide, seed=1, most=300 if quick else 5000))
    y = wide.y.copy()
    for each in planted:
        y[each.series, each.start : each.start + each.length] = 0
    settings = CleaningSettings(store="store" if len(wide.keys[0]) == 2 else "")
    begun = np.flatnonzero(wide.first < days)
    place = {int(row): number for number, row in enumerate(begun)}
    seconds = time.process_time()
    panel = replace(wide, y=y).panel(days, horizon=0)
    marks = mark(panel, settings)
    seconds = time.process_time() - seconds
    flags = np.zeros(len(panel.y), dtype=bool)
    flags[marks.row[marks.kind == _INFERRED]] = True

    def is_found(each: _Planted) -> bool:
        end = int(panel.offsets[place[each.series] + 1]) - days + each.start
        return bool(flags[end : end + each.length].any())

    hits = np.array([is_found(each) for each in planted])
    levels, lengths = np.array([each.level for each in planted]), np.array([each.length for each in planted])
    rows = [
        {"part": "planted", "data": wide.name, "sales a day": f"{low:g} to {high:g}", "days": length}
        | {"planted": int(here.sum()), "found": int(hits[here].sum())}
        for low, high in _LEVELS
        for length in _LENGTHS
        if (here := (levels >= low) & (levels < high) & (lengths == length)).any()
    ]
    rows.append({"part": "planted", "data": wide.name, "cpu_seconds": round(seconds, 2), "values": len(panel.y)})
    claims = []
    for least, length, target in ((2, 7, 0.6), (1, 14, 0.65)):
        here = (levels >= least) & (lengths >= length)
        n, found = int(here.sum()), int(hits[here].sum())
        claims.append(
            claim_of(
                f"stock-outs-found-{least}-{length}",
                f"{wide.name}: planted stock-outs of {length} days or more found, sales of {least} a day or more",
                "share",
                target,
                found / n,
                (beta.ppf(0.025, found, n - found + 1), beta.ppf(0.975, found + 1, n - found)),
            )
        )
    return rows, claims


def _plant(wide: Wide, *, seed: int, most: int) -> Iterator[_Planted]:
    """Stock-outs on days when the article did sell, at least 80 days apart."""
    random = np.random.default_rng(seed)
    days = wide.y.shape[1]
    sums = np.cumsum(np.pad(np.nan_to_num(wide.y), ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    count = 0
    for series in random.permutation(len(wide.y)).tolist():
        earliest = max(int(wide.first[series]) + 200, 400)
        if earliest + 120 > days:
            continue
        taken: list[int] = []
        for _ in range(3):
            length = int(random.choice(_LENGTHS))
            start = int(random.integers(earliest, days - length - 10))
            level = (sums[series, start] - sums[series, start - 28]) / 28
            sold = (sums[series, start + length] - sums[series, start]) / length
            if level < 0.3 or sold < 0.5 * level or any(abs(start - other) < 80 for other in taken):
                continue
            taken.append(start)
            count += 1
            yield _Planted(series, start, length, float(level))
        if count >= most:
            return


def _effect(wide: Wide, *, quick: bool) -> Found:
    """The default booster's errors on articles that are out of stock at the cutoff and back right after it."""
    days = wide.y.shape[1]
    arms: dict[str, list[NDArray[np.float64]]] = {"not planted": [], "keep": [], "leave_out": []}
    sold, signed, who = [], {name: [0.0] for name in arms}, []
    for number in range(1 if quick else 3):
        cut = days - _HORIZON * (1 + 2 * number)
        panel, dry, out = _run_dry(wide, cut, seed=number)
        truth = np.nan_to_num(wide.y[wide.first < cut][out, cut : cut + _HORIZON]).astype(np.float64)
        cleaned = with_marks(dry, CleaningSettings(store="store", inferred_stock_outs="leave_out"))
        seen = {"not planted": panel, "keep": dry, "leave_out": cleaned}
        for name, each in seen.items():
            model = make_forecaster("lightgbm").fit(each, FitContext(_HORIZON, (80.0,), threads=2))
            mean = ask(model, ForecastRequest(_HORIZON)).mean[out]
            arms[name].append(np.abs(mean - truth).sum(axis=1))
            signed[name].append(float((mean - truth).sum()))
        sold.append(truth.sum(axis=1))
        who.append(out)
    total = float(np.concatenate(sold).sum())
    errors = {name: np.concatenate(each) for name, each in arms.items()}
    rows = [
        {"part": "out of stock at the cutoff", "data": wide.name, "zeros": name, "articles": len(errors[name])}
        | {"WAPE": round(float(errors[name].sum()) / total, 4), "bias": round(sum(signed[name]) / total, 4)}
        for name in arms
    ]
    _, place = np.unique(np.concatenate(who), return_inverse=True)
    random, held = np.random.default_rng(7), int(place.max()) + 1
    weight = np.stack([np.bincount(random.integers(0, held, held), minlength=held) for _ in range(_DRAWS)])[:, place]
    draws = (weight @ errors["leave_out"]) / (weight @ errors["keep"])
    claim = claim_of(
        "stock-outs-left-out",
        f"{wide.name}: WAPE of articles out of stock at the cutoff, runs left out over runs kept",
        "ratio",
        0.95,
        float(errors["leave_out"].sum() / errors["keep"].sum()),
        (float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))),
        is_most=True,
    )
    return rows, [claim]


def _run_dry(wide: Wide, cut: int, *, seed: int) -> tuple[Panel, Panel, NDArray[np.int64]]:
    """The panel at a cutoff, the same with some articles sold out for the 7 to 21 days before it, and their numbers."""
    random = np.random.default_rng(seed)
    begun = np.flatnonzero(wide.first < cut)
    recent = np.nan_to_num(wide.y[begun, cut - 56 : cut]).mean(axis=1)
    can = (recent >= 1) & (wide.first[begun] < cut - 300)
    out = np.flatnonzero(can & (random.random(len(begun)) < 0.2))
    y = wide.y.copy()
    for row in begun[out].tolist():
        y[row, cut - int(random.integers(7, 22)) : cut] = 0
    return wide.panel(cut, horizon=_HORIZON), replace(wide, y=y).panel(cut, horizon=_HORIZON), out
