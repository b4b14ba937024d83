"""Real launches: items of M5 that began after the cutoff, forecast by what was known before them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel
from everloop.models.coldstart import ColdStart
from everloop.models.forecaster import ForecastRequest
from forecasting.intermittent_panels import Wide, m5_stores
from measuring.claims import claim_of

__all__ = ["measure_launches"]

_HORIZON = 28
_CUTOFFS = (820, 1100, 1380, 1660)
_AGES = (0, 3, 7, 14)
_EARLY = 56
_DRAWS = 1000
_LEVELS = (80.0, 95.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Found:
    """Launches with what each method said of their next 28 days; arrays of shape ``(launches, 28)``."""

    item: NDArray[np.str_]
    truth: Floats
    said: dict[str, Floats]
    inside: dict[float, NDArray[np.bool_]]
    above: dict[float, NDArray[np.bool_]]


def measure_launches(folder: Path, *, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Errors and coverage on launches, each store by itself and three together, where siblings are known."""
    groups = (("CA_1",), ("TX_2",), ("WI_3",), ("CA_1", "CA_2", "CA_3"))
    rows: list[dict[str, Any]] = []
    alone: dict[int, list[_Found]] = {age: [] for age in _AGES}
    together: dict[int, list[_Found]] = {}
    for stores in groups[:1] if quick else groups:
        wide = m5_stores(folder, *stores)
        for age in _AGES:
            found = [_ask(wide, cutoff, age) for cutoff in (_CUTOFFS[-2:] if quick else _CUTOFFS)]
            if len(stores) == 1:
                alone[age] += found
            else:
                together[age] = found
    claims = []
    for name, by_age in (("one store at a time", alone), ("three stores", together)):
        for age, parts in by_age.items():
            row, made = _judged(_joined(parts), name, age)
            rows.append(row)
            claims += made
    return rows, claims


def _ask(wide: Wide, cutoff: int, age: int) -> _Found:
    """All launches of the 280 days after a cutoff at one age, by what was learnt before the cutoff."""
    before = wide.panel(cutoff, horizon=_HORIZON)
    cold = ColdStart.learn(before, horizon=_HORIZON, seed=1)
    last = min(cutoff + 280, wide.y.shape[1] - max(_AGES) - _HORIZON)
    new = np.flatnonzero((wide.first >= cutoff) & (wide.first < last))
    group = _group_means(wide, cutoff)
    parts = []
    for first in np.unique(wide.first[new]).tolist():
        rows = new[wide.first[new] == first]
        days = first + age
        parts.append(_answered(wide, cold, wide.panel(days, horizon=_HORIZON, rows=rows), rows, days, group))
    return _joined(parts)


def _answered(
    wide: Wide, cold: ColdStart, panel: Panel, rows: NDArray[np.int64], days: int, group: dict[str, float]
) -> _Found:
    answer = cold.forecast(panel, ForecastRequest(_HORIZON, _LEVELS))
    truth = wide.y[rows, days : days + _HORIZON].astype(np.float64)
    first = int(wide.first[rows[0]])
    own = wide.y[rows, first:days].mean(axis=1) if days > first else np.zeros(len(rows))
    said = {
        "siblings and own days": answer.mean,
        "group mean": np.array([group[name] for name in wide.static["dept_id"][rows].tolist()]),
        "own mean": own,
        "seasonal naive": np.stack([_naive(wide.y[row, first:days]) for row in rows.tolist()]),
    }
    return _Found(
        np.array([wide.keys[row][0] for row in rows.tolist()]),
        truth,
        {name: np.broadcast_to(v[:, None] if v.ndim == 1 else v, truth.shape) for name, v in said.items()},
        {level: (truth >= answer.lower[level]) & (truth <= answer.upper[level]) for level in _LEVELS},
        {level: truth > answer.upper[level] for level in _LEVELS},
    )


def _naive(own: NDArray[np.float32]) -> Floats:
    """The newest value of the same weekday, of any day where there is none, zero where there is no day."""
    if not len(own):
        return np.zeros(_HORIZON)
    newest = np.full(7, own[-1], dtype=np.float64)
    for back in range(min(7, len(own)), 0, -1):
        newest[(7 - back) % 7] = own[len(own) - back]
    return np.tile(newest, _HORIZON // 7)


def _group_means(wide: Wide, cutoff: int) -> dict[str, float]:
    """The mean sales of each department's launches in their first eight weeks."""
    means: dict[str, list[float]] = {name: [0.0] for name in np.unique(wide.static["dept_id"]).tolist()}
    for row in np.flatnonzero((wide.first > 60) & (wide.first < cutoff - 28)).tolist():
        begin = int(wide.first[row])
        means[str(wide.static["dept_id"][row])].append(float(wide.y[row, begin : min(begin + _EARLY, cutoff)].mean()))
    return {name: float(np.mean(values[1:] or [0.0])) for name, values in means.items()}


def _joined(parts: list[_Found]) -> _Found:
    return _Found(
        np.concatenate([part.item for part in parts]),
        np.concatenate([part.truth for part in parts]),
        {name: np.concatenate([part.said[name] for part in parts]) for name in parts[0].said},
        {level: np.concatenate([part.inside[level] for part in parts]) for level in _LEVELS},
        {level: np.concatenate([part.above[level] for part in parts]) for level in _LEVELS},
    )


def _judged(found: _Found, where: str, age: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Errors of the total of 28 days and of days, and claims; intervals by drawing items, with all their stores."""
    _, item = np.unique(found.item, return_inverse=True)
    random = np.random.default_rng(7)
    weight = np.stack(
        [
            np.bincount(random.integers(0, item.max() + 1, item.max() + 1), minlength=item.max() + 1)
            for _ in range(_DRAWS)
        ]
    )[:, item].astype(np.float64)
    weight = np.concatenate([np.ones((1, len(item))), weight])
    sold = weight @ found.truth.sum(axis=1)
    days = {name: weight @ np.abs(found.truth - said).sum(axis=1) / sold for name, said in found.said.items()}
    total = {
        name: weight @ np.abs(found.truth.sum(axis=1) - said.sum(axis=1)) / sold for name, said in found.said.items()
    }
    squares = {name: weight @ ((found.truth - said) ** 2).sum(axis=1) for name, said in found.said.items()}
    row: dict[str, Any] = {"part": "launches", "where": where, "days_known": age, "launches": len(item)}
    for name in found.said:
        row[f"WAPE of 28 days, {name}"] = round(float(total[name][0]), 3)
    for name in found.said:
        row[f"WAPE of days, {name}"] = round(float(days[name][0]), 3)
        row[f"RMSE of days, {name}"] = round(float(np.sqrt(squares[name][0] / found.truth.size)), 3)
    row["bias"] = round(float(found.said["siblings and own days"].sum() / found.truth.sum() - 1), 3)
    for level in _LEVELS:
        row[f"coverage_{level:g}"] = round(float(found.inside[level].mean()), 4)
        row[f"above_{level:g}"] = round(float(found.above[level].mean()), 4)
    return row, _claims(found, where, age, weight, total)


def _claims(found: _Found, where: str, age: int, weight: Floats, total: dict[str, Floats]) -> list[dict[str, Any]]:
    ours = total["siblings and own days"]
    slug = f"{where.split()[0]}-{age}"
    claims = []
    for rival in ("group mean", "own mean"):
        if age == 0 and rival == "own mean":
            continue
        ratio = ours / total[rival]
        claims.append(
            claim_of(
                f"launch-{slug}-{rival.split()[0]}",
                f"launches, {where}, {age} days known: WAPE of the next 28 days over that of the {rival}",
                "ratio",
                1.0,
                float(ratio[0]),
                (float(np.quantile(ratio, 0.025)), float(np.quantile(ratio, 0.975))),
                is_most=True,
            )
        )
    for level in _LEVELS:
        covered = weight @ found.inside[level].mean(axis=1) / weight.sum(axis=1)
        claims.append(
            claim_of(
                f"launch-{slug}-coverage-{level:g}",
                f"launches, {where}, {age} days known: days within the {level:g} % interval, at least 2 points less",
                "%",
                level - 2.0,
                100 * float(covered[0]),
                (100 * float(np.quantile(covered, 0.025)), 100 * float(np.quantile(covered, 0.975))),
            )
        )
    return claims
