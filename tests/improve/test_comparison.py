from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from everloop.core.errors import SettingsError
from everloop.improve.comparison import decide, pair_cases
from everloop.monitor.joining import JoinedForecast
from everloop.stats.evidence import Evidence
from everloop.stats.paired.comparison import PairedLosses, PairedRule
from everloop.stats.paired.losses import loss_of
from everloop.validate.clusters import choose_cluster


def answer(mean: list[float], actual: list[float], *, name: str, twin: str | None = None) -> JoinedForecast:
    steps = np.arange(1, len(mean) + 1)
    return JoinedForecast(
        prediction=name,
        release="r",
        role="shadow" if twin else "champion",
        kind="batch",
        twin=twin,
        series=("a",),
        index=steps + 100,
        steps=steps,
        mean=np.array([mean]),
        actual=np.array([actual]),
        lower={},
        upper={},
        hindsight=0,
    )


ABSOLUTE = loss_of("absolute")
RULE = PairedRule(min_days=14, max_days=42)


def test_only_twins_with_truth_are_compared() -> None:
    champion = answer([10, 10, 10], [12, 10, np.nan], name="p")
    shadow = answer([11, 10, 10], [12, 10, np.nan], name="q", twin="p")
    stranger = answer([11, 10, 10], [12, 10, 5], name="s", twin="nobody")
    losses = pair_cases([champion], [shadow, stranger], cluster=str, loss=ABSOLUTE)
    assert losses.days.tolist() == [101, 102]
    assert losses.champion.ravel().tolist() == [2, 0]
    assert losses.challenger.ravel().tolist() == [1, 0]
    assert losses.counts.sum() == 2
    assert pair_cases([champion], [replace(shadow, series=("b",))], cluster=str, loss=ABSOLUTE).counts.sum() == 0


def test_a_day_counts_when_its_truth_has_settled() -> None:
    def both(actual: list[list[float]]) -> PairedLosses:
        series = tuple(f"{store}/bread" for store in "abcd")
        champion = answer([10] * 3, [0] * 3, name="p")
        champion = replace(champion, series=series, mean=np.full((4, 3), 10.0), actual=np.array(actual))
        shadow = replace(champion, prediction="q", role="shadow", twin="p", mean=np.full((4, 3), 11.0))
        return pair_cases([champion], [shadow], cluster=lambda text: text[0], loss=ABSOLUTE)

    nan = float("nan")
    partial = both([[9, 9, 9], [9, 9, nan], [9, 9, nan], [9, 9, nan]])
    assert partial.days.tolist() == [101, 102], "one store of four does not stand for the day"
    assert partial.clusters == ("a", "b", "c", "d")
    assert both([[9, 9, 9], [9, 9, 8], [9, 9, 9], [9, 9, nan]]).days.tolist() == [101, 102]
    whole = both([[9, 9, 9], [9, 9, 8], [9, 9, 9], [9, 9, 9]])
    assert whole.days.tolist() == [101, 102, 103]
    assert whole.champion[2].tolist() == [1, 2, 1, 1]


def test_the_coarsest_column_with_enough_values_is_the_cluster() -> None:
    series = [f"state {number % 3}/store {number % 9}/item {number}" for number in range(90)]
    columns = ["state", "store", "item"]
    name, group = choose_cluster(columns, series)
    assert (name, group(series[0])) == ("store", "store 0")
    assert choose_cluster(columns, series, "state")[1](series[4]) == "state 1"
    assert choose_cluster(columns, series[:5])[0] == "series"
    assert choose_cluster(["item"], ["a", "b"])[0] == "item"
    with pytest.raises(SettingsError, match="no column"):
        choose_cluster(columns, series, "shop")


def losses_of(gain: float, n: int, seed: int = 2) -> PairedLosses:
    rng = np.random.default_rng(seed)
    champion = rng.uniform(80, 120, size=(n, 10))
    challenger = champion * (1 - gain) + rng.normal(scale=5, size=(n, 10))
    names = tuple(f"store {number}" for number in range(10))
    return PairedLosses(np.arange(n), names, champion, challenger, np.full((n, 10), 10))


@pytest.mark.parametrize(
    ("gain", "n", "verdict"),
    [(0.2, 5, "go on"), (0.2, 20, "promote"), (-0.2, 20, "keep"), (0.0, 15, "go on"), (0.0, 42, "keep")],
)
def test_verdicts(gain: float, n: int, verdict: str) -> None:
    evidence = decide(losses_of(gain, n), RULE, loss=ABSOLUTE, cluster="store")
    assert evidence.verdict == verdict
    assert evidence.n == n
    assert evidence.would_change
    assert (evidence.kind, evidence.clusters, evidence.cluster) == ("paired", 10, "store")
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))) == evidence


def test_nothing_yet_goes_on() -> None:
    evidence = decide(PairedLosses.collect([], [], [], []), RULE, loss=ABSOLUTE, cluster="store")
    assert evidence.verdict == "go on"
    assert evidence.effect is None
