"""Statistical methods: numbers beside statsforecast's, errors by kind of demand, time, and launches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel
from everloop.models.asking import ask
from everloop.models.catalog import make_forecaster
from everloop.models.demand_kinds import KINDS, kinds_of
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.intermittent import adida, croston, imapa, tsb
from forecasting.intermittent_panels import Wide, data_folder, m5_stores, rossmann
from forecasting.launches import measure_launches
from measuring.claims import claim_of, claim_of_rounds

__all__ = ["measure"]

Floats = NDArray[np.float64]

_CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    "seasonal_naive": ("seasonal_naive", {}),
    "ets": ("ets", {}),
    "croston": ("croston", {}),
    "croston (tsb)": ("croston", {"variant": "tsb"}),
    "adida": ("adida", {}),
    "adida (multiple)": ("adida", {"multiple": True}),
    "theta": ("theta", {}),
    "theta (dynamic, optimised)": ("theta", {"theta": None, "dynamic": True}),
    "statistical": ("statistical", {}),
}
_ORIGINS = 4
_DRAWS = 500
_SERIES, _DAYS = 30_490, 730


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The table and the claims of all parts.

    Args:
        quick: fewer series and origins.
    """
    rows, claims = _speed(quick=quick)
    folder = data_folder()
    if folder is None:
        return [*rows, {"part": "real sales", "note": "EVERLOOP_DATA names no folder with real sales"}], claims
    m5 = m5_stores(folder, "CA_1")
    shops = rossmann(folder)
    parts = [
        _equality(m5, quick=quick),
        _equality(shops, quick=quick),
        _errors(m5, 28, quick=quick),
        _errors(shops, 42, quick=quick),
        measure_launches(folder, quick=quick),
    ]
    for part_rows, part_claims in parts:
        rows += part_rows
        claims += part_claims
    return rows, claims


def _equality(wide: Wide, *, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Our numbers beside statsforecast's on the last 420 days, series by series."""
    from statsforecast.models import ADIDA, IMAPA, TSB, CrostonClassic, CrostonSBA

    y = wide.y[:, -420:].astype(np.float64)[:: 10 if quick else 1]
    y[np.cumsum(np.nan_to_num(y) > 0, axis=1) == 0] = np.nan
    y = y[~np.isnan(y).all(axis=1)]
    cases: dict[str, tuple[Callable[[Floats], Floats], Any]] = {
        "Croston": (lambda y: croston(y, 0.1, is_corrected=False), CrostonClassic()),
        "SBA": (lambda y: croston(y, 0.1, is_corrected=True), CrostonSBA()),
        "TSB": (lambda y: tsb(y, 0.2, 0.1), TSB(0.2, 0.1)),
        "ADIDA": (adida, ADIDA()),
        "IMAPA": (lambda y: imapa(y, most=1000), IMAPA()),
    }
    rows, claims = [], []
    for name, (method, peer) in cases.items():
        ours = method(y)
        theirs = np.array([peer.forecast(row[~np.isnan(row)], 1)["mean"][0] for row in y])
        off = np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-9)
        worst, usual = float(off.max()), float(np.quantile(off, 0.99))
        rows.append(
            {"part": "equality", "data": wide.name, "method": name, "series": len(y), "worst": worst, "99 %": usual}
        )
        claims.append(
            claim_of(
                f"equal-{wide.name.split()[0].lower()}-{name.lower()}",
                f"{wide.name}, {name}: largest relative difference from statsforecast",
                "ratio",
                0.005,
                worst,
                (usual, worst),
                is_most=True,
            )
        )
    return rows, claims


def _errors(wide: Wide, horizon: int, *, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Root mean squared scaled errors by kind of demand, relative to the seasonal naive's, with coverage."""
    found: dict[str, list[Floats]] = {name: [] for name in _CANDIDATES}
    inside: dict[str, list[Floats]] = {name: [] for name in _CANDIDATES}
    kinds, series = [], []
    days = wide.y.shape[1]
    for number in range(2 if quick else _ORIGINS):
        panel = wide.panel(days - (number + 1) * horizon, horizon=horizon)
        rows = np.flatnonzero(wide.first < days - (number + 1) * horizon)
        begin = days - (number + 1) * horizon
        truth = wide.y[rows, begin : begin + horizon].astype(np.float64)
        block = panel.last(406).astype(np.float64)
        scale = _scale(block)
        kinds.append(kinds_of(block, 56))
        series.append(rows)
        for name, (candidate, options) in _CANDIDATES.items():
            errors, covered = _one(panel, candidate, options, truth, horizon)
            found[name].append(errors / scale)
            inside[name].append(covered)
    kind, row = np.concatenate(kinds), np.concatenate(series)
    return _told(
        wide.name,
        {name: np.concatenate(each) for name, each in found.items()},
        {name: np.concatenate(each) for name, each in inside.items()},
        kind,
        row,
    )


def _one(panel: Panel, candidate: str, options: dict[str, Any], truth: Floats, horizon: int) -> tuple[Floats, Floats]:
    """Each series' mean squared error, and the share of days within the 80 % interval."""
    model = make_forecaster(candidate, options).fit(panel, FitContext(horizon, (80.0,), threads=2))
    answer = ask(model, ForecastRequest(horizon, (80.0,)))
    is_there = ~np.isnan(truth)
    counts = np.maximum(is_there.sum(axis=1), 1)
    squares = np.where(is_there, (answer.mean - truth) ** 2, 0.0).sum(axis=1) / counts
    within = (truth >= answer.lower[80.0]) & (truth <= answer.upper[80.0])
    return squares, np.where(is_there, within, False).sum(axis=1) / counts


def _scale(block: Floats) -> Floats:
    """The mean squared change from day to day, of RMSSE; the mean square where there is none."""
    changes = np.diff(block, axis=1) ** 2
    is_there = ~np.isnan(changes)
    scale = np.where(is_there, changes, 0.0).sum(axis=1) / np.maximum(is_there.sum(axis=1), 1)
    known = ~np.isnan(block)
    size = np.where(known, block, 0.0) ** 2
    return np.where(scale > 0, scale, np.maximum(size.sum(axis=1) / np.maximum(known.sum(axis=1), 1), 1e-9) + 1.0)


def _told(
    name: str, errors: dict[str, Floats], inside: dict[str, Floats], kind: NDArray[np.int64], series: NDArray[np.int64]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = []
    for number, label in [*enumerate(KINDS), (-1, "all")]:
        is_kind = kind == number if number >= 0 else np.ones(len(kind), dtype=np.bool_)
        if is_kind.sum() < 20:
            continue
        for candidate, values in errors.items():
            rows.append(
                {
                    "part": "errors",
                    "data": name,
                    "kind": label,
                    "forecasts": int(is_kind.sum()),
                    "candidate": candidate,
                    "RMSSE": round(float(np.sqrt(values[is_kind]).mean()), 4),
                    "root of pooled squares": round(float(np.sqrt(values[is_kind].mean())), 4),
                    "coverage_80": round(float(inside[candidate][is_kind].mean()), 4),
                }
            )
    random = np.random.default_rng(7)
    _, place = np.unique(series, return_inverse=True)
    held = int(place.max()) + 1
    weight = np.stack([np.bincount(random.integers(0, held, held), minlength=held) for _ in range(_DRAWS)])[:, place]
    claims = []
    for rival in ("seasonal_naive", "ets"):
        ours, theirs = np.sqrt(errors["statistical"]), np.sqrt(errors[rival])
        draws = (weight @ ours) / (weight @ theirs)
        claims.append(
            claim_of(
                f"rmsse-{name.split()[0].lower()}-{rival}",
                f"{name}: RMSSE of statistical over that of {rival}",
                "ratio",
                1.0,
                float(ours.sum() / theirs.sum()),
                (float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))),
                is_most=True,
            )
        )
    return rows, claims


def _speed(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Processor seconds (all work is of one thread) of a fit on two years of 30,490 series of counts like M5's."""
    n = 1000 if quick else _SERIES
    random = np.random.default_rng(3)
    rate = random.lognormal(-0.6, 1.3, n)[:, None].astype(np.float32)
    y = np.concatenate(
        [random.poisson(part * random.gamma(2.0, 0.5, (len(part), _DAYS))) for part in np.array_split(rate, 20)]
    )
    first = np.where(np.arange(n) % 8 == 0, random.integers(0, _DAYS - 40, n), 0)
    y = y.astype(np.float32)
    y[np.arange(_DAYS)[None, :] < first[:, None]] = np.nan
    y[np.arange(n), first] = np.maximum(y[np.arange(n), first], 1.0)
    keys = tuple((f"{row:06d}",) for row in range(n))
    wide = Wide("counts", 15_003, y, first, keys, {"group": np.array([f"g{row % 7}" for row in range(n)])})
    panel = wide.panel(_DAYS, horizon=28)
    rows, claims = [], []
    for name in ("croston", "adida", "theta", "statistical"):
        begun = time.process_time()
        model = make_forecaster(name).fit(panel, FitContext(28))
        seconds = time.process_time() - begun
        begun = time.process_time()
        model.update(panel)
        rows.append(
            {
                "part": "speed",
                "candidate": name,
                "series": n,
                "fit_cpu_seconds": round(seconds, 1),
                "update_cpu_seconds": round(time.process_time() - begun, 1),
            }
        )
        what = f"fit of {name} on {n} series of {_DAYS} days, seconds of one processor"
        claims.append(claim_of_rounds(f"speed-{name}", what, "s", 60.0, [seconds], is_most=True))
    return rows, claims
