"""The errors of models of rows in a split: what each unit's rows came to, by the day on which they were answered."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from everloop.improve.split_metrics import BEFORE_DAYS, MetricSpec, Truths
from everloop.stats.paired.losses import Loss
from everloop.stats.split.metrics import UnitMetric

__all__ = ["newest_row", "row_metric"]


def newest_row(rows: pl.DataFrame, label: str) -> date | None:
    """The last day whose answers have met a truth."""
    found = rows.filter((pl.col("told") > 0) & (pl.col("experiment") == label))["at"].max()
    return found.date() if found is not None else None  # type: ignore[union-attr]


def row_metric(spec: MetricSpec, truths: Truths, rows: pl.DataFrame) -> UnitMetric:
    """The mean loss of a unit's rows; of classes, the share that was wrong.

    Args:
        spec: ``"error"``, or ``"over"`` or ``"under"`` of numbers; anything else is zero.
        truths: the split's units and days.
        rows: the answers beside the truth, as :func:`everloop.monitor.row_joining.join_rows` gives them.
    """
    frame, place = truths.frame, truths.frame.place
    sums, counts = np.zeros((2, len(frame.units), frame.days))
    past = np.zeros((2, len(frame.units)))
    for release, at, experiment, unit, loss in _losses(spec, rows, truths.loss).iter_rows():
        row, day = place.get(unit or "", -1), (at.date() - frame.first).days
        if row < 0:
            continue
        if experiment == truths.label and frame.entered[row] <= day < truths.settled:
            sums[row, day] += loss
            counts[row, day] += 1
        elif release == truths.champion and -BEFORE_DAYS <= day < 0:
            past[:, row] += (loss, 1.0)
    before, before_counts = None, None
    if truths.reduction == "before" and past[1].any():
        # units that were not answered before the split are as the mean of the others
        before, before_counts = np.where(past[1] > 0, past, np.nan)
    return UnitMetric(
        spec.name, sums, counts, before, before_counts, better="lower", margin=spec.margin, scale=spec.scale
    )


def _losses(spec: MetricSpec, rows: pl.DataFrame, loss: Loss) -> pl.DataFrame:
    """Release, instant, stage, unit and loss of each row whose truth is known."""
    known = rows.filter((pl.col("told") > 0) & (pl.col("role") != "shadow"))
    about = known.select("release", "at", "experiment", "unit")
    predicted, value = (known[name].to_numpy().astype(np.float64) for name in ("predicted", "value"))
    if spec.name == "error":
        wrong = (known["predicted_label"] != known["label"]).fill_null(value=False).to_numpy()
        found = np.where(np.isfinite(value), loss.of(predicted, value), wrong.astype(np.float64))
    elif spec.name in ("over", "under"):
        error = predicted - value if spec.name == "over" else value - predicted
        found = np.maximum(error, 0.0)
    else:
        found = np.zeros(len(known))
    return about.with_columns(pl.Series("loss", np.nan_to_num(found)))
