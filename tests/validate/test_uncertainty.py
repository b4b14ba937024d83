"""WSPL is the guide's formula, and its quantiles are those of windows that are not scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from everloop.core.errors import SettingsError, UsageError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.data.totals import grouping
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext
from everloop.models.total_errors import TotalErrors
from everloop.validate.backtest import Backtest, BacktestPlan, run_backtest
from everloop.validate.hierarchy import Sums
from everloop.validate.scores import score_backtest
from everloop.validate.totals import PastWindows
from everloop.validate.uncertainty import weighted_pinball, wspl

SUMS = Sums(((), ("store",), ("dept",), ("store", "item")))
LEVELS = (50.0, 80.0)


def backtest_of(panel: Panel, windows: int) -> Backtest:
    context = FitContext(horizon=7, levels=LEVELS)
    plan = BacktestPlan(windows=windows, horizon=7, step=7)
    return run_backtest(lambda: make_forecaster("seasonal_naive"), panel, plan, context)


def slow_wspl(panel: Panel, backtest: Backtest, number: int) -> float:
    """The guide's formula, one sum and one quantile at a time."""
    fold = backtest.folds[number]
    past = panel.until(fold.cutoff)
    windows = PastWindows.of(backtest, panel)
    by_level = []
    for columns in SUMS.levels:
        level = grouping(panel, columns)
        totals = windows.totals(panel, level)
        errors = TotalErrors.collect(totals.without(number), lowest=0.0)
        value = 0.0
        worth = [float(np.nansum(past.last(7)[row])) for row in range(past.n_series)]
        for sum_ in range(len(level.labels)):
            rows = [row for row in range(panel.n_series) if level.codes[row] == sum_]
            history = np.nansum([past.last(int(past.lengths.max()))[row].astype(float) for row in rows], axis=0)
            scale = np.mean(np.abs(np.diff(np.trim_zeros(history, "f"))))
            mean, truth = sum(fold.mean[row] for row in rows), sum(fold.actual[row] for row in rows)
            found = errors.intervals(mean[None], totals.unit[number][[sum_]], LEVELS)
            ends = [{each: end[each][0] for each in LEVELS} for end in found]
            if len(rows) == 1:
                ends = [{each: end[each][rows[0]] for each in LEVELS} for end in (fold.lower, fold.upper)]
            quantiles = {0.5: mean}
            for each in LEVELS:
                quantiles[0.5 - each / 200], quantiles[0.5 + each / 200] = ends[0][each], ends[1][each]
            loss = [
                np.mean([u * (a - q) if a >= q else (1 - u) * (q - a) for a, q in zip(truth, values, strict=True)])
                for u, values in quantiles.items()
            ]
            value += sum(worth[row] for row in rows) / sum(worth) * float(np.mean(loss)) / scale
        by_level.append(value)
    return float(np.mean(by_level))


def test_it_is_the_guides_formula(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel()
    backtest = backtest_of(panel, 4)
    found = weighted_pinball(SUMS, backtest, panel)
    assert [each.value for each in found] == pytest.approx([slow_wspl(panel, backtest, n) for n in range(4)])
    scores = score_backtest(backtest, panel, sums=SUMS)
    assert scores.overall["wspl"].value == pytest.approx(np.mean([each.value for each in found]))
    assert scores.by_fold[2]["wspl"].value == found[2].value


def test_what_came_does_not_move_its_own_quantiles(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel()
    backtest = backtest_of(panel, 3)
    fold = backtest.folds[1]
    worse = replace(backtest, folds=(backtest.folds[0], replace(fold, mean=fold.mean * 3), backtest.folds[2]))
    plain, changed = (weighted_pinball(SUMS, each, panel) for each in (backtest, worse))
    assert changed[1].value > 2 * plain[1].value
    assert changed[0].value > plain[0].value, "errors elsewhere make intervals wide"


def test_sums_without_intervals_have_no_number(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel()
    [found] = weighted_pinball(SUMS, backtest_of(panel, 1), panel)
    assert found.value is None
    assert "intervals of sums need other windows, here are 0" in found.reason
    assert score_backtest(backtest_of(panel, 1), panel, sums=SUMS).overall["wspl"].value is None


def test_sums_that_do_not_count() -> None:
    actual = np.array([[2.0], [5.0]])
    quantiles = {0.5: np.array([[1.0], [np.nan]])}
    one = np.ones(2)
    assert wspl(actual, quantiles, scale=np.array([1.0, 0.0]), weights=one) == 0.5
    assert wspl(actual, quantiles, scale=one, weights=np.array([3.0, 0.0])) == 0.5
    assert wspl(actual, quantiles, scale=one, weights=one) is None
    assert wspl(actual, quantiles, scale=one * np.nan, weights=one) is None
    with pytest.raises(UsageError, match="no quantiles"):
        wspl(actual, {}, scale=one, weights=one)


def test_it_may_rank(make_project: Callable[..., Project]) -> None:
    asked = ('validate.metric="wspl"', "validate.sums=[[]]")
    assert make_project(*asked, "validate.windows=3").settings.validation.metric == "wspl"
    with pytest.raises(SettingsError, match="3 or more"):
        make_project(*asked, "validate.windows=2")
    with pytest.raises(SettingsError, match=r"needs validate\.sums"):
        make_project(asked[0])
