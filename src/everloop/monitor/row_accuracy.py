"""How good the answers of a model of rows turned out to be, and whether that has left its range.

A model that was adopted brings no examination along, so nothing is promised: its range is learnt from its own first
four weeks with truth, and it is held to that from then on. A model that was bad from the start is not found this way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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

__all__ = ["OutputAccuracy", "RowWatch", "measure_rows", "watch_rows"]

Floats = NDArray[np.float64]

LEARNT_WEEKS = 4
_WEEK = 7
_LEAST_ROWS = 10
_CONFIDENCE = 0.975
_YEAR = 365.25
_FLOOR = 1e-6


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


def watch_rows(
    frame: pl.DataFrame, *, until: date, alarms_per_year: float, classes: Sequence[Any] = ()
) -> list[RowWatch]:
    """Each kind of level of one output against the range of its first four weeks.

    Args:
        frame: the rows of one output beside their truth, as :func:`measure_rows` takes them.
        until: days from this one on are not over.
        alarms_per_year: how many false alarms a year all kinds and ends together may give.
        classes: what the probabilities stand for; empty for a regression.
    """
    days, levels = _daily(_known(frame, classes), until, classes)
    sides = {"error": (1,), "bias": (1, -1), "log_loss": (1,), "mistakes": (1,)}
    ends = sum(len(sides[kind]) for kind in levels)
    return [_watch(kind, days, values, sides[kind], ends, alarms_per_year) for kind, values in levels.items()]


def _known(frame: pl.DataFrame, classes: Sequence[Any]) -> pl.DataFrame:
    if not classes:
        return frame.filter(pl.col("value").is_not_null() & pl.col("predicted").is_not_null())
    names = [str(each) for each in classes]
    return frame.filter(pl.col("label").is_in(names))


def _coded(rows: pl.DataFrame, classes: Sequence[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats | None]:
    """The numbers of the classes that were answered and true, and the probabilities where every row has them."""
    number = {str(each): place for place, each in enumerate(classes)}
    truth = np.array([number[each] for each in rows["label"]], dtype=np.int64)
    scores = rows["scores"]
    probabilities = None
    if len(rows) and all(each is not None and len(each) == len(classes) for each in scores):
        probabilities = np.array([list(each) for each in scores], dtype=np.float64)
    labels = rows["predicted_label"]
    answer = np.array([number.get(each, -1) if each is not None else -1 for each in labels], dtype=np.int64)
    if probabilities is not None and labels.null_count() == len(rows):
        answer = probabilities.argmax(axis=1)
    return answer, truth, probabilities


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
    confidence = max(_CONFIDENCE, 1 - 2 * alarms_per_year / ends)
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
