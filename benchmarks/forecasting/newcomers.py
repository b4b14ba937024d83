"""Products that are in no data yet: launches of M5, asked a day before they begin, by models fitted long before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.experiment.training import available_threads
from everloop.models.catalog import make_forecaster
from everloop.models.ensemble import MEMBERS, average
from everloop.models.forecaster import FitContext, Forecast, ForecastRequest
from forecasting.intermittent_panels import Wide, data_folder, m5_stores
from measuring.claims import claim_of

__all__ = ["measure"]

_HORIZON = 28
_STORES = ("CA_1", "WI_3")
_CUTOFFS = (1100, 1380)
_FOLLOWED = 200
"""Launches of so many days after a cutoff are asked."""
_LEVELS = (80.0, 95.0)
_WITHIN = 5.0
_DRAWS = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Said:
    """What a model said of launches, and what came: arrays of shape ``(launches, 28)``."""

    truth: Floats
    mean: Floats
    inside: dict[float, NDArray[np.bool_]]
    width: dict[float, Floats]


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Errors and coverage by model, over all launches; an interval is the bootstrap's over items (Efron 1979).

    Args:
        quick: one store and one cutoff.
    """
    folder = data_folder()
    if folder is None:
        return [{"skipped": "EVERLOOP_DATA names no folder with M5"}], []
    parts: dict[str, list[_Said]] = {}
    items: list[NDArray[np.str_]] = []
    for store in _STORES[:1] if quick else _STORES:
        wide = m5_stores(folder, store)
        for cutoff in _CUTOFFS[:1] if quick else _CUTOFFS:
            found, names = _asked(wide, cutoff)
            items.append(names)
            for model, said in found.items():
                parts.setdefault(model, []).append(said)
    rows, claims = [], []
    for model, each in parts.items():
        row, made = _judged(model, _joined(each), np.concatenate(items))
        rows.append(row)
        claims += made
    return rows, claims


def _asked(wide: Wide, cutoff: int) -> tuple[dict[str, _Said], NDArray[np.str_]]:
    """By model, all launches of the days after a cutoff, and their items."""
    context = FitContext(_HORIZON, _LEVELS, threads=available_threads())
    before = wide.panel(cutoff, horizon=_HORIZON)
    models = {name: make_forecaster(name).fit(before, context) for name in MEMBERS}
    new = np.flatnonzero((wide.first >= cutoff) & (wide.first < cutoff + _FOLLOWED))
    found: dict[str, list[_Said]] = {}
    order = []
    for first in np.unique(wide.first[new]).tolist():
        rows = new[wide.first[new] == first]
        order.append(rows)
        panel = wide.panel(first, horizon=_HORIZON, rows=rows)
        truth = wide.y[rows, first : first + _HORIZON].astype(np.float64)
        answers = {
            name: model.update(panel).forecast(ForecastRequest(_HORIZON, _LEVELS)) for name, model in models.items()
        }
        for name, answer in (answers | {"ensemble": average(list(answers.values()))}).items():
            found.setdefault(name, []).append(_said(answer, truth))
    names = np.array([wide.keys[row][0] for row in np.concatenate(order).tolist()])
    return {name: _joined(each) for name, each in found.items()}, names


def _said(answer: Forecast, truth: Floats) -> _Said:
    return _Said(
        truth,
        answer.mean,
        {level: (truth >= answer.lower[level]) & (truth <= answer.upper[level]) for level in _LEVELS},
        {level: answer.upper[level] - answer.lower[level] for level in _LEVELS},
    )


def _joined(parts: list[_Said]) -> _Said:
    return _Said(
        np.concatenate([each.truth for each in parts]),
        np.concatenate([each.mean for each in parts]),
        {level: np.concatenate([each.inside[level] for each in parts]) for level in _LEVELS},
        {level: np.concatenate([each.width[level] for each in parts]) for level in _LEVELS},
    )


def _judged(model: str, said: _Said, items: NDArray[np.str_]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    names, which = np.unique(items, return_inverse=True)
    draws = np.random.default_rng(4).integers(0, len(names), (_DRAWS, len(names)))
    size = np.bincount(which)
    row: dict[str, Any] = {
        "model": model,
        "launches": len(items),
        "items": len(names),
        "wape": round(float(np.abs(said.truth - said.mean).sum() / said.truth.sum()), 3),
        "forecast of sold": round(float(said.mean.sum() / said.truth.sum()), 3),
    }
    claims = []
    for level in _LEVELS:
        held = np.bincount(which, said.inside[level].mean(axis=1))
        shares = 100 * held[draws].sum(axis=1) / size[draws].sum(axis=1)
        low, high = (float(each) for each in np.quantile(shares, [0.025, 0.975]))
        share = 100 * float(said.inside[level].mean())
        row |= {f"held {level:g} %": round(share, 1), f"width {level:g} %": round(float(said.width[level].mean()), 2)}
        off = sorted(abs(each - level) for each in (low, high))
        least = 0.0 if low <= level <= high else off[0]
        told = f"{model}, launches: days within the {level:g} % interval, points off"
        claims.append(
            claim_of(
                f"newcomers-{model}-{level:g}",
                told,
                "points",
                _WITHIN,
                abs(share - level),
                (least, off[1]),
                is_most=True,
                note=f"{share:.1f} % [{low:.1f}, {high:.1f}]",
            )
        )
    return row, claims
