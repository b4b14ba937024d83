"""How good the answers of a model of rows turned out to be, and whether that has left its range.

A model that was adopted brings no examination along, so nothing is promised: its range is learnt from its own first
four weeks with truth, and it is held to that from then on. A model that was bad from the start is not found this way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.stats.evidence import Evidence
from everloop.stats.levels import LevelRange, excess_path, level_range, onset, running_deviation
from everloop.stats.row_scores import (
    ClassificationScores,
    RegressionScores,
    classify,
    log_losses,
    regress,
)

__all__ = ["OutputAccuracy", "RowWatch", "daily_levels", "measure_rows", "watch_rows"]

Floats = NDArray[np.float64]

LEARNT_WEEKS = 4
_WEEK = 7
_LEAST_ROWS = 10
_CONFIDENCE = 0.975
_YEAR = 365.25
_FLOOR = 1e-6
_SIDES: dict[str, tuple[int, ...]] = {"error": (1,), "bias": (1, -1), "log_loss": (1,), "mistakes": (1,)}


@dataclass(frozen=True, slots=True)
class OutputAccuracy:
    """The scores of one output of a release."""

    output: str
    scores: RegressionScores | ClassificationScores


@dataclass(frozen=True, slots=True)
class RowWatch:
    """One kind of level of a model of rows, by day.

    Attributes:
        kind: ``"error"`` (mean absolute error), ``"bias"``, ``"log_loss"`` or ``"mistakes"`` (share of wrong labels).
        range: where it must lie, learnt from the first four weeks; ``None`` before they are over.
        days: the judged days after those.
        live: the mean level of the last 28 of them, ``None`` for none.
        verdict: ``"within"``, ``"above"``, ``"below"`` or ``"cannot tell"``.
        evidence: the record.
    """

    kind: str
    range: LevelRange | None
    days: int
    live: float | None
    verdict: str
    evidence: Evidence

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The ends of the range in the unit of :attr:`live`, ``None`` where one is open or not known."""
        ends = (None, None) if self.range is None else (self.range.lower, self.range.upper)
        lower, upper = (None if end is None else _shown(self.kind, end) for end in ends)
        return lower, upper

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "kind": self.kind,
            "range": None if self.range is None else asdict(self.range),
            "days": self.days,
            "live": self.live,
            "verdict": self.verdict,
            "evidence": self.evidence.to_dict(),
        }


def measure_rows(frame: pl.DataFrame, classes: Sequence[Any] = ()) -> list[OutputAccuracy]:
    """The scores of each output over all rows with truth.

    Args:
        frame: rows beside their truth: ``output``, ``at``, ``predicted``, ``predicted_label``, ``scores``, ``value``,
            ``label``.
        classes: what the probabilities stand for, in order; needed to score them.
    """
    found = []
    for (output,), rows in frame.group_by(["output"], maintain_order=True):
        known = _known(rows, classes)
        if not classes:
            scores: RegressionScores | ClassificationScores = regress(known["predicted"], known["value"])
        else:
            answer, truth, probabilities = _coded(known, classes)
            scores = classify(answer, truth, probabilities)
        found.append(OutputAccuracy(str(output or ""), scores))
    return found


def daily_levels(frame: pl.DataFrame, *, until: date, classes: Sequence[Any] = ()) -> dict[date, dict[str, float]]:
    """The level of each day with enough truth, by kind.

    Args:
        frame: the rows of one output beside their truth, as :func:`measure_rows` takes them.
        until: days from this one on are not over.
        classes: what the probabilities stand for; empty for a regression.
    """
    days, levels = _daily(_known(frame, classes), until, classes)
    return {day: {kind: float(values[place]) for kind, values in levels.items()} for place, day in enumerate(days)}


def watch_rows(levels: Mapping[date, Mapping[str, float]], *, alarms_per_year: float) -> list[RowWatch]:
    """Each kind of level of one output against the range of its first four weeks.

    Args:
        levels: those of :func:`daily_levels`, since the release went live.
        alarms_per_year: how many false alarms a year all kinds and ends together may give.
    """
    days = sorted(levels)
    kinds = [kind for kind in _SIDES if any(kind in levels[day] for day in days)]
    ends = sum(len(_SIDES[kind]) for kind in kinds)
    found = []
    for kind in kinds:
        when = [day for day in days if kind in levels[day]]
        values = np.array([levels[day][kind] for day in when])
        found.append(_watch(kind, when, values, _SIDES[kind], ends, alarms_per_year))
    return found


def _known(frame: pl.DataFrame, classes: Sequence[Any]) -> pl.DataFrame:
    """The rows whose truth is known and can be scored."""
    if not classes:
        return frame.filter(pl.col("value").is_not_null() & pl.col("predicted").is_not_null())
    return frame.filter(pl.Series(_codes(frame, "label", "value", classes) >= 0, dtype=pl.Boolean))


def _codes(frame: pl.DataFrame, text: str, number: str, classes: Sequence[Any]) -> NDArray[np.int64]:
    """The number of the class that each row's text, or else its number, stands for; -1 for none."""
    by_text = {str(each): place for place, each in enumerate(classes)}
    by_number = {float(each): place for place, each in enumerate(classes) if isinstance(each, bool | int | float)}
    return np.array(
        [
            by_text.get(word, -1) if word is not None else by_number.get(value, -1)
            for word, value in zip(frame[text].to_list(), frame[number].to_list(), strict=True)
        ],
        dtype=np.int64,
    )


def _coded(rows: pl.DataFrame, classes: Sequence[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats | None]:
    """The numbers of the classes that were answered and true, and the probabilities where every row has them."""
    truth = _codes(rows, "label", "value", classes)
    answer = _codes(rows, "predicted_label", "predicted", classes)
    scores = rows["scores"].to_list()
    if not scores or any(each is None or len(each) != len(classes) for each in scores):
        return answer, truth, None
    probabilities = np.array(scores, dtype=np.float64)
    is_silent = (rows["predicted_label"].is_null() & rows["predicted"].is_null()).to_numpy()
    return np.where(is_silent, probabilities.argmax(axis=1), answer), truth, probabilities


def _daily(rows: pl.DataFrame, until: date, classes: Sequence[Any]) -> tuple[list[date], dict[str, Floats]]:
    """The level of each day with enough truth, by kind."""
    if classes:
        answer, truth, probabilities = _coded(rows, classes)
        losses = {"mistakes": (answer != truth).astype(np.float64)}
        if probabilities is not None:
            losses["log_loss"] = log_losses(truth, probabilities)
    else:
        error = rows["predicted"].to_numpy().astype(np.float64) - rows["value"].to_numpy().astype(np.float64)
        losses = {"error": np.abs(error), "bias": error}
    table = (
        pl.DataFrame({"day": rows["at"].dt.date(), **losses})
        .group_by("day")
        .agg(pl.len(), *[pl.col(kind).mean() for kind in losses])
        .filter((pl.col("len") >= _LEAST_ROWS) & (pl.col("day") < until))
        .sort("day")
    )
    levels = {kind: table[kind].to_numpy().astype(np.float64) for kind in losses}
    if "error" in levels:
        levels["error"] = np.log(np.maximum(levels["error"], _FLOOR))
    return table["day"].to_list(), levels


def _watch(
    kind: str, days: list[date], values: Floats, sides: tuple[int, ...], ends: int, alarms_per_year: float
) -> RowWatch:
    learnt = LEARNT_WEEKS * _WEEK
    span = None
    if len(values) > learnt:
        windows = list(values[:learnt].reshape(LEARNT_WEEKS, _WEEK))
        span = level_range(windows, confidence=_CONFIDENCE, length=float(learnt))
    if span is None or span.lower is None:
        reason = f"{min(len(values), learnt)} of {learnt} days with truth from which its range is learnt"
        return RowWatch(
            kind, None, 0, None, "cannot tell", _evidence(kind, "cannot tell", reason, None, [], values[:0])
        )
    later, when = values[learnt:], days[learnt:]
    limit = math.log(_YEAR * ends / alarms_per_year)
    confidence = max(_CONFIDENCE, 1 - alarms_per_year / ends)
    deviation = running_deviation(later, span.deviation)
    verdict, reason = "within", f"over {len(later)} days it has not surely left the range of its first four weeks"
    for side in sides:
        end = span.end(side, confidence)
        path = excess_path(later, end, deviation, side=side)
        if end is not None and len(path) and path[-1] >= limit:
            verdict = "above" if side > 0 else "below"
            since = when[onset(later, end, deviation, side=side)]
            reason = f"it has been {verdict} the range of its first four weeks since {since:%Y-%m-%d}"
    live = float(later[-28:].mean()) if len(later) else None
    return RowWatch(
        kind,
        span,
        len(later),
        None if live is None else _shown(kind, live),
        verdict,
        _evidence(kind, verdict, reason, span, when, later),
    )


def _shown(kind: str, level: float) -> float:
    return math.exp(level) if kind == "error" else level


def _evidence(
    kind: str, verdict: str, reason: str, span: LevelRange | None, days: list[date], values: Floats
) -> Evidence:
    low, high = (None, None) if span is None else (span.lower, span.upper)
    shown = [_shown(kind, value) for value in values.tolist()]
    ends = [None if end is None else _shown(kind, end) for end in (low, high)]
    return Evidence(
        question=f"Does the {kind.replace('_', ' ')} stay where it was in the first four weeks?",
        verdict="left" if verdict in ("above", "below") else verdict,
        reason=reason,
        effect=float(np.mean(shown[-28:])) if shown else None,
        unit={"error": "mean absolute error", "bias": "mean error", "mistakes": "share of rows"}.get(kind, "log loss"),
        lower=ends[0],
        upper=ends[1],
        n=len(shown),
        observation="one day of rows with truth",
        method="e-detector (Shin, Ramdas, Rinaldo 2024) over the end of a prediction interval from four weeks",
        guarantee="the false alarms a year of monitor.false_alarms_per_year, while weeks differ as the first four did",
        would_change="more days of truth",
        series={
            "day": [f"{each:%Y-%m-%d}" for each in days],
            "effect": shown,
            "lower": [ends[0]] * len(shown),
            "upper": [ends[1]] * len(shown),
        },
        kind="live",
        warnings=("the range is learnt live: a model that was bad from the start is not found",),
    )
