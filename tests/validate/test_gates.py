from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from everloop.core.settings.training import GateSettings
from everloop.data.panel import Panel
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext
from everloop.validate.backtest import Backtest, BacktestPlan, run_backtest
from everloop.validate.gates.judging import judge
from everloop.validate.gates.result import GateResult, blocking
from everloop.validate.scores import Scores, score_backtest, skill

LEVELS = (80.0,)


@pytest.fixture
def panel(make_panel: Callable[..., Panel]) -> Panel:
    return make_panel()


@pytest.fixture
def naive(panel: Panel) -> Backtest:
    context = FitContext(14, LEVELS)
    return run_backtest(lambda: make_forecaster("seasonal_naive"), panel, BacktestPlan(2, 14, 14), context)


def changed(backtest: Backtest, panel: Panel, change: Callable[..., dict[str, object]]) -> Scores:
    folds = tuple(replace(fold, **change(fold)) for fold in backtest.folds)
    return score_backtest(replace(backtest, folds=folds), panel)


def verdicts(
    scores: Scores, baseline: Scores, champion: Scores | None = None, **limits: float
) -> dict[str, GateResult]:
    gates = judge(scores, baseline, GateSettings(**limits), metric="wape", levels=LEVELS, champion=champion)
    return {gate.name: gate for gate in gates}


def nearer(share: float) -> Callable[..., dict[str, object]]:
    """Forecasts that keep only a share of their error."""
    return lambda fold: {"mean": fold.actual + share * (fold.mean - fold.actual)}


def test_a_better_candidate_passes_all(naive: Backtest, panel: Panel) -> None:
    baseline = score_backtest(naive, panel)
    found = verdicts(changed(naive, panel, nearer(0.8)), baseline, min_skill=0.1)
    assert not blocking(list(found.values()))
    gate = found["beats_baseline"]
    assert gate.code == "G_BASELINE"
    assert gate.evidence["skill"] == pytest.approx(0.2)
    assert len(gate.evidence["by_fold"]) == 2
    assert gate.evidence["n"] == naive.n_forecasts
    assert found["not_worse_than_champion"].message == "no champion"


def test_skill_below_the_limit_fails(naive: Backtest, panel: Panel) -> None:
    baseline = score_backtest(naive, panel)
    gate = verdicts(changed(naive, panel, nearer(0.95)), baseline, min_skill=0.1)["beats_baseline"]
    assert gate.blocks
    assert "less than the +10.0% asked" in gate.message


def test_the_baseline_itself_has_no_skill_and_passes_at_zero(naive: Backtest, panel: Panel) -> None:
    baseline = score_backtest(naive, panel)
    gate = verdicts(baseline, baseline)["beats_baseline"]
    assert gate.passed
    assert gate.evidence["skill"] == 0.0


def test_a_candidate_may_be_worse_than_the_champion_by_the_margin_only(naive: Backtest, panel: Panel) -> None:
    baseline, champion = score_backtest(naive, panel), changed(naive, panel, nearer(0.5))
    within = verdicts(changed(naive, panel, nearer(0.509)), baseline, champion)["not_worse_than_champion"]
    above = verdicts(changed(naive, panel, nearer(0.511)), baseline, champion)["not_worse_than_champion"]
    assert within.passed
    assert above.blocks
    assert above.evidence["other"] == champion.overall["wape"].value


@pytest.mark.parametrize(("factor", "word"), [(1.3, "too high"), (0.7, "too low")])
def test_bias_either_way_fails(naive: Backtest, panel: Panel, factor: float, word: str) -> None:
    baseline = score_backtest(naive, panel)
    gate = verdicts(changed(naive, panel, lambda fold: {"mean": fold.actual * factor}), baseline)["bias"]
    assert gate.blocks
    assert word in gate.message
    assert gate.evidence["bias"] == pytest.approx(factor - 1)


def test_narrow_intervals_stop_and_wide_ones_warn(naive: Backtest, panel: Panel) -> None:
    baseline = score_backtest(naive, panel)
    narrow = changed(naive, panel, lambda f: {"lower": {80.0: f.mean - 0.01}, "upper": {80.0: f.mean + 0.01}})
    wide = changed(naive, panel, lambda f: {"lower": {80.0: f.mean - 999}, "upper": {80.0: f.mean + 999}})
    assert verdicts(narrow, baseline)["coverage_80"].blocks
    gate = verdicts(wide, baseline)["coverage_80"]
    assert (gate.passed, gate.severity) == (False, "warning")
    assert "too wide" in gate.message


def test_intervals_that_were_not_given_are_said(naive: Backtest, panel: Panel) -> None:
    nothing = changed(
        naive,
        panel,
        lambda f: {"lower": {80.0: np.full_like(f.mean, np.nan)}, "upper": {80.0: np.full_like(f.mean, np.nan)}},
    )
    gate = verdicts(nothing, score_backtest(naive, panel))["coverage_80"]
    assert (gate.passed, gate.severity) == (False, "warning")
    assert "no interval was given" in gate.message


def test_what_cannot_be_told_does_not_pass(naive: Backtest, panel: Panel) -> None:
    baseline = score_backtest(naive, panel)
    broken = changed(naive, panel, lambda fold: {"mean": np.full_like(fold.mean, np.nan)})
    found = verdicts(broken, baseline, baseline)
    assert {name for name, gate in found.items() if gate.blocks} >= {
        "finite",
        "beats_baseline",
        "not_worse_than_champion",
        "bias",
    }
    assert skill(None, baseline.overall["wape"]) is None
