"""Gates that judge case by case: what they fail by chance, what they find, and what is waived."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from everloop.core.frequency import Frequency
from everloop.core.settings.training import GateSettings
from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.validate.backtest import Backtest, BacktestPlan, Fold
from everloop.validate.gates.behaviour import keeps_laws, no_leaking_columns
from everloop.validate.gates.judging import Cases, judge
from everloop.validate.gates.pairing import Clusters, bias_of, coverage_of, saving
from everloop.validate.gates.result import GateResult
from everloop.validate.gates.slices import SliceRule, worst_slice
from everloop.validate.scores import score_backtest

Floats = NDArray[np.float64]
STORES, ITEMS, HORIZON, FOLDS = 12, 6, 14, 3
RUNS = 200


def shop_panel(days: int = 200) -> Panel:
    rng = np.random.default_rng(1)
    n = STORES * ITEMS
    keys = tuple((f"s{store:02}", f"i{item}") for store in range(STORES) for item in range(ITEMS))
    return Panel(
        Frequency.parse("1d"),
        ("store", "item"),
        keys,
        10_000,
        np.arange(n + 1) * days,
        rng.poisson(20, n * days).astype(np.float32),
    )


PANEL = shop_panel()
CLUSTERS = Clusters.of(PANEL)


def backtest(rng: np.random.Generator, actual: Floats, noise: float = 4.0, *, bad_store: float = 1.0) -> Backtest:
    """Forecasts whose errors hang together within a store, with honest 80 % intervals."""
    n = len(PANEL.keys)
    folds = []
    for number in range(FOLDS):
        store = np.repeat(rng.normal(0, noise, (STORES, HORIZON)), ITEMS, axis=0)
        error = 0.5**0.5 * (store + rng.normal(0, noise, (n, HORIZON)))
        error[:ITEMS] *= bad_store
        mean = actual[number] + error
        half = 1.2816 * noise
        ones = np.ones(n)
        folds.append(
            Fold(9900 + 14 * number, np.arange(n), actual[number], mean, {80.0: mean - half}, {80.0: mean + half},
                 ones, ones, 0.0, 0.0)
        )  # fmt: skip
    return Backtest(BacktestPlan(FOLDS, HORIZON, HORIZON), (80.0,), tuple(folds))


def truth(rng: np.random.Generator) -> Floats:
    return rng.poisson(20, (FOLDS, len(PANEL.keys), HORIZON)).astype(np.float64)


def held(mine: Backtest, other: Backtest, **limits: float) -> dict[str, GateResult]:
    cases = Cases(PANEL, CLUSTERS, mine, other, other)
    scores = [score_backtest(each, PANEL) for each in (mine, other)]
    found = judge(
        scores[0], scores[1], GateSettings(**limits), metric="wape", levels=(80.0,), champion=scores[1], cases=cases
    )  # type: ignore[arg-type]
    return {gate.name: gate for gate in found}


def test_clusters_are_stores() -> None:
    assert (CLUSTERS.name, len(CLUSTERS.names)) == ("store", STORES)


def test_an_equal_candidate_fails_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(3)
    failed = {"champion": 0, "slice": 0, "bias": 0, "coverage": 0}
    for _ in range(RUNS):
        actual = truth(rng)
        mine, other = backtest(rng, actual), backtest(rng, actual)
        found = saving(mine, other, CLUSTERS, metric="wape", alpha=0.05)
        assert found is not None
        failed["champion"] += found.is_surely_negative
        result = worst_slice(mine, other, PANEL, SliceRule("wape", margin=0.0, alpha=0.05), rival="the champion")
        failed["slice"] += not result.passed
        bias = bias_of(mine, CLUSTERS, alpha=0.025)
        failed["bias"] += bias.is_surely_negative or bias.is_surely_positive
        coverage = coverage_of(mine, CLUSTERS, 80.0, alpha=0.025)
        assert coverage is not None
        failed["coverage"] += coverage.is_surely_negative or coverage.is_surely_positive
    for name, count in failed.items():
        assert binomtest(count, RUNS, 0.05, alternative="greater").pvalue > 0.005, (name, count)


def test_a_candidate_that_is_plainly_worse_is_stopped() -> None:
    rng = np.random.default_rng(4)
    actual = truth(rng)
    gate = held(backtest(rng, actual, 4.8), backtest(rng, actual, 4.0))["not_worse_than_champion"]
    assert gate.blocks
    assert gate.evidence["paired"]["upper"] < 0
    assert gate.evidence["paired"]["unit"] == "store"


def test_what_may_be_chance_is_left_to_the_trial() -> None:
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(20):
        actual = truth(rng)
        gate = held(backtest(rng, actual), backtest(rng, actual), champion_margin=0.0)["not_worse_than_champion"]
        seen.add("chance" in gate.message)
        assert gate.passed or gate.evidence["paired"]["upper"] < 0
    assert seen == {True, False}


def test_the_one_store_that_got_worse_is_named() -> None:
    rng = np.random.default_rng(6)
    actual = truth(rng)
    gate = held(backtest(rng, actual, bad_store=2.5), backtest(rng, actual))["worst_slice"]
    assert not gate.passed
    assert gate.severity == "warning"
    assert "store s00" in gate.message
    assert gate.evidence["slices"] == STORES + ITEMS


def test_a_bias_beyond_chance_stops() -> None:
    rng = np.random.default_rng(7)
    actual = truth(rng)
    mine = backtest(rng, actual)
    high = replace(mine, folds=tuple(replace(fold, mean=fold.mean * 1.3) for fold in mine.folds))
    gate = held(high, mine)["bias"]
    assert gate.blocks
    assert gate.evidence["interval"]["lower"] > 0.15


def test_a_failure_is_let_pass_with_its_reason() -> None:
    rng = np.random.default_rng(8)
    actual = truth(rng)
    mine = backtest(rng, actual)
    high = replace(mine, folds=tuple(replace(fold, mean=fold.mean * 1.3) for fold in mine.folds))
    gate = held(high, mine, waive={"G_BIAS": "stock is cleared"})["bias"]  # type: ignore[arg-type]
    assert (gate.passed, gate.blocks, gate.waived) == (False, False, "stock is cleared")
    assert held(mine, mine, waive={"G_BIAS": "stock is cleared"})["bias"].waived == ""  # type: ignore[arg-type]


def test_a_column_made_from_the_target_is_found() -> None:
    rng = np.random.default_rng(9)
    honest = rng.normal(size=len(PANEL.y)).astype(np.float32)
    assert no_leaking_columns(replace(PANEL, known={"price": honest})).passed
    told = (2 * PANEL.y + rng.normal(0, 0.2, len(PANEL.y))).astype(np.float32)
    gate = no_leaking_columns(replace(PANEL, known={"price": honest, "plan": told}))
    assert gate.blocks
    assert "plan" in gate.message
    assert "price" not in gate.message


class Peeking(SeasonalNaiveForecaster):
    """Looks behind the cutoff, where the arrays of a view go on."""

    def fit(self, panel: Panel, context: FitContext) -> Peeking:
        base = panel.y.base
        whole = panel.y if base is None else np.asarray(base)
        self.peeked = float(np.nansum(whole))
        super().fit(panel, context)
        return self

    def forecast(self, request):  # type: ignore[no-untyped-def]
        answer = super().forecast(request)
        return replace(answer, mean=answer.mean + self.peeked)


class Fickle(SeasonalNaiveForecaster):
    """Adds what no seed decides."""

    def forecast(self, request):  # type: ignore[no-untyped-def]
        answer = super().forecast(request)
        return replace(answer, mean=answer.mean + np.random.default_rng().random(answer.mean.shape))


@pytest.mark.parametrize(("made", "broken"), [(Fickle, "reproducible"), (Peeking, "no_leak")])
def test_a_forecaster_of_ones_own_is_held_to_the_laws(made: type, broken: str) -> None:
    results = {gate.name: gate for gate in keeps_laws(made, PANEL)}
    assert set(results) == {"no_leak", "robust", "reproducible"}
    assert results[broken].blocks, results[broken].message


def test_the_built_in_ones_are_not_tried_again() -> None:
    assert keeps_laws(SeasonalNaiveForecaster, PANEL) == ()
