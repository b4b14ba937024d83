"""Models of rows: their scores by output, and levels held to the range of their first weeks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from everloop.monitor.row_accuracy import RowWatch, daily_levels, measure_rows, watch_rows
from everloop.stats.row_scores import ClassificationScores, RegressionScores

START = datetime(2024, 1, 1, 9, tzinfo=UTC)


def rows(days: int, seed: int, *, worse_from: int = 10_000, factor: float = 1.0, each: int = 40) -> pl.DataFrame:
    """Predictions of a number, ``each`` a day, with autocorrelated levels of error."""
    rng = np.random.default_rng(seed)
    level = np.zeros(days)
    for day in range(1, days):
        level[day] = 0.5 * level[day - 1] + 0.05 * rng.standard_normal()
    day = np.repeat(np.arange(days), each)
    size = np.exp(level[day]) * np.where(day >= worse_from, factor, 1.0)
    value = rng.normal(100, 20, day.size)
    return frame(
        at=[START + timedelta(days=int(place)) for place in day],
        predicted=value + size * rng.standard_normal(day.size),
        value=value,
    )


def frame(**columns: Any) -> pl.DataFrame:
    size = len(columns["at"])
    blank = {"output": [""] * size, "predicted": [None] * size, "predicted_label": [None] * size}
    blank |= {"scores": [None] * size, "value": [None] * size, "label": [None] * size}
    schema = {"predicted": pl.Float64, "predicted_label": pl.String, "scores": pl.List(pl.Float64)}
    schema |= {"value": pl.Float64, "label": pl.String}
    return pl.DataFrame(blank | columns, schema_overrides=schema)


def watched(told: pl.DataFrame, until: date) -> list[RowWatch]:
    return watch_rows(daily_levels(told, until=until), alarms_per_year=0.05)


def test_a_regression_is_scored_where_the_truth_is_known() -> None:
    told = frame(at=[START] * 3, predicted=[1.0, 2.0, 3.0], value=[1.5, 2.0, None])
    (found,) = measure_rows(told)
    assert isinstance(found.scores, RegressionScores)
    assert (found.scores.n, found.scores.mae, found.scores.bias) == (2, 0.25, -0.25)


def test_a_classification_is_scored_by_labels_and_by_probabilities() -> None:
    told = frame(
        at=[START] * 3,
        predicted_label=["yes", "no", "yes"],
        scores=[[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]],
        label=["yes", "no", "no"],
    )
    (found,) = measure_rows(told, ["no", "yes"])
    assert isinstance(found.scores, ClassificationScores)
    assert found.scores.accuracy == pytest.approx(2 / 3)
    assert found.scores.log_loss == pytest.approx(-np.mean(np.log([0.8, 0.9, 0.4])))
    (alone,) = measure_rows(told.with_columns(scores=pl.lit(None, dtype=pl.List(pl.Float64))), ["no", "yes"])
    assert isinstance(alone.scores, ClassificationScores)
    assert alone.scores.log_loss is None


def test_its_range_is_learnt_from_four_weeks_and_said_to_be() -> None:
    until = date(2025, 1, 1)
    early = watched(rows(20, 1), until)
    assert [each.verdict for each in early] == ["cannot tell", "cannot tell"]
    assert "20 of 28 days" in early[0].evidence.reason
    later = watched(rows(90, 1), until)
    assert [each.verdict for each in later] == ["within", "within"]
    assert later[0].days == 62
    assert "bad from the start" in later[0].evidence.warnings[0]
    part = watched(rows(90, 1), date(2024, 3, 1))
    assert part[0].days == 60 - 28, "days that are not over are not judged"


def test_a_model_that_gets_worse_is_said_and_since_when() -> None:
    error = watched(rows(120, 2, worse_from=60, factor=2.5), date(2025, 1, 1))[0]
    assert error.verdict == "above"
    assert error.evidence.verdict == "left"
    since = date.fromisoformat(error.evidence.reason[-10:])
    assert abs((since - START.date()).days - 60) <= 3


def test_healthy_years_alarm_no_more_often_than_allowed() -> None:
    runs = 60
    alarms = 0
    for seed in range(runs):
        found = watched(rows(393, 1000 + seed, each=12), date(2026, 1, 1))
        alarms += any(each.verdict in ("above", "below") for each in found)
    assert binomtest(alarms, runs).proportion_ci(0.99).low <= 0.05
