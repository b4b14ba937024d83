"""A split is judged from what was stored of its units, and its verdict carried out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from msgspec.structs import replace

from everloop.core.errors import SettingsError
from everloop.core.ids import new_id
from everloop.core.project import Project
from everloop.improve.split import is_judged, judge_split, settle_split, split_of, split_state
from everloop.improve.split_metrics import guardrail_of
from everloop.improve.trial import begin_trial
from everloop.serve.traffic import Split
from everloop.stats.split.comparison import SplitDecision
from everloop.store.deployments import deploy, in_role
from everloop.store.engine import Store, open_store
from everloop.store.events import list_events
from everloop.store.evidence import list_evidence
from everloop.store.facts import Outcome, Prediction, add_outcomes, add_predictions
from everloop.store.measurements import Measurement, add_measurements
from everloop.store.splits import TrafficSplit, change_split, split_in_force, start_split
from everloop.store.trials import Trial, open_trial
from everloop.store.values import ForecastValues

NOW = datetime(2026, 3, 1, tzinfo=UTC)
A, B, C = "a" * 64, "b" * 64, "c" * 64
UNITS = tuple(f"shop/item {number:03d}" for number in range(80))
PAST = 14


@dataclasses.dataclass(frozen=True)
class World:
    """Sales, and the errors of the champion; a challenger's are smaller or larger by a factor."""

    sales: np.ndarray
    noise: np.ndarray

    @classmethod
    def make(cls, days: int, seed: int = 1) -> World:
        rng = np.random.default_rng(seed)
        level = rng.lognormal(2.5, 0.7, (len(UNITS), 1))
        sales = level * rng.gamma(4.0, 0.25, (len(UNITS), PAST + days))
        return cls(sales, level * rng.lognormal(-1.0, 0.6, level.shape) * rng.normal(0.0, 1.0, sales.shape))

    def forecast(self, unit: int, day: int, factor: float) -> float:
        return float(self.sales[unit, PAST + day] + factor * self.noise[unit, PAST + day])


@pytest.fixture
def project(make_kiosk: Callable[..., Project]) -> Project:
    return make_kiosk("release.rollout=ab", "release.max_days=28", "release.min_days=5", days=30)


@pytest.fixture
def store(project: Project) -> Iterator[Store]:
    opened = open_store(project.store_url, fsync=False)
    yield opened
    opened.close()


def begin(project: Project, store: Store) -> tuple[Trial, TrafficSplit]:
    with store.write() as tx:
        deploy(tx, "champion", A, at=NOW, reason="first")
    begin_trial(store, project.settings.release, B, at=NOW, reason="passed its gates", actor="test")
    with store.write() as tx:
        trial, split = open_trial(tx), split_in_force(tx)
        assert trial is not None
        assert split is not None
        # dealt in the same way in each run of the test
        return trial, start_split(tx, split.weights, unit=split.unit, at=NOW, reason="", actor="test", salt="s")


def answer(at: datetime, by: str, role: str, units: list[int], means: list[float], label: str | None) -> Prediction:
    """An answer for the day on which it is asked."""
    day = at.replace(hour=0)
    times = np.array([int(day.timestamp() * 1e6)])
    mean = np.array(means)[:, None]
    series = tuple(UNITS[unit] for unit in units)
    values = ForecastValues(series, times, mean, {80.0: mean - 1}, {80.0: mean + 1})
    unit = series[0] if label else None
    about = (by, "", role, "forecast" if label else "batch", None, day, day)
    return Prediction(new_id(at), at, *about, b"{}", values.pack(), unit, label)


def facts(world: World, split: TrafficSplit, days: range, factor: float) -> tuple[list[Prediction], list[Outcome]]:
    """What is answered and comes true on some days; those before the split have the champion's batches."""
    drawn, said, told = Split.compile(split), [], []
    for day in days:
        at = NOW + timedelta(days=day, hours=1)
        for unit, text in enumerate(UNITS):
            value = float(world.sales[unit, PAST + day])
            when = at + timedelta(hours=26)
            told.append(Outcome(f"{day}/{unit}", when, None, text, at.replace(hour=0), value, "test"))
            if day >= 0:
                by = drawn.assign(text)
                mean = world.forecast(unit, day, factor if by == B else 1.0)
                said.append(answer(at, by, "champion" if by == A else "challenger", [unit], [mean], split.label))
        if day < 0:
            everyone = list(range(len(UNITS)))
            means = [world.forecast(unit, day, 1.0) for unit in everyone]
            said.append(answer(at, A, "champion", everyone, means, None))
    return said, told


def week_ahead(world: World) -> Prediction:
    """The champion's forecast for the first week, made on the day before."""
    at = NOW - timedelta(hours=20)
    days = [NOW + timedelta(days=day) for day in range(7)]
    times = np.array([int(day.timestamp() * 1e6) for day in days])
    values = ForecastValues(UNITS, times, world.sales[:, PAST : PAST + 7])
    return Prediction(new_id(at), at, A, "", "champion", "batch", None, days[0], days[-1], b"{}", values.pack())


def keep(store: Store, said: list[Prediction], told: list[Outcome]) -> None:
    with store.write() as tx:
        add_predictions(tx, said)
        add_outcomes(tx, told)


def judge(project: Project, store: Store, trial: Trial, split: TrafficSplit, day: int) -> SplitDecision:
    return judge_split(project, store, trial, split, now=NOW + timedelta(days=day, hours=4))


@pytest.mark.parametrize(("factor", "verdict"), [(0.6, "promote"), (1.0, "keep"), (1.3, "keep")])
def test_the_units_decide(project: Project, store: Store, factor: float, verdict: str) -> None:
    trial, split = begin(project, store)
    assert split_of(store, trial) == split
    keep(store, *facts(World.make(30), split, range(-PAST, 29), factor))
    decision = judge(project, store, trial, split, 30)
    assert decision.verdict == verdict, decision.reason
    assert (decision.overall.clusters, decision.overall.n, decision.overall.cluster) == (80, 80, "series")
    state = split_state(project, split, now=NOW)
    settle_split(store, trial, split, decision, at=NOW + timedelta(days=30), actor="test", state=state)
    settle_split(store, trial, split, decision, at=NOW + timedelta(days=30), actor="test", state=state)
    assert is_judged(store, state)
    with store.read() as tx:
        assert (in_role(tx, "champion"), in_role(tx, "challenger")) == (B if verdict == "promote" else A, None)
        assert (open_trial(tx), split_in_force(tx)) == (None, None)
        kinds = [event.kind for event in list_events(tx)]
        kept = list_evidence(tx, kinds=("split",))
    assert kinds.count({"promote": "promoted", "keep": "kept"}[verdict]) == 1
    assert kept[0].verdict == verdict
    assert len(kept) == 4, "the whole, the deciding metric and two guardrails"


def test_a_challenger_that_fails_loses_its_share_at_once(project: Project, store: Store) -> None:
    trial, split = begin(project, store)
    said, told = facts(World.make(3), split, range(-PAST, 3), 1.0)
    failing = [replace(each, release=A, role="fallback") if each.role == "challenger" else each for each in said]
    keep(store, failing, told)
    decision = judge(project, store, trial, split, 3)
    assert (decision.verdict, decision.parts[1].verdict) == ("stop", "harmed")
    assert "failures" in decision.parts[1].question
    settle_split(store, trial, split, decision, at=NOW + timedelta(days=3), actor="test")
    with store.read() as tx:
        assert (in_role(tx, "champion"), open_trial(tx), split_in_force(tx)) == (A, None, None)
        assert [event.kind for event in list_events(tx)].count("stopped") == 1


def test_of_two_challengers_the_one_that_fails_loses_its_share(project: Project, store: Store) -> None:
    trial, _ = begin(project, store)
    with store.write() as tx:
        weights = {A: 0.4, B: 0.3, C: 0.3}
        split = start_split(tx, weights, unit="series", at=NOW, reason="", actor="test", salt="s")
    said, told = facts(World.make(3), split, range(-PAST, 3), 1.0)
    keep(store, [replace(each, release=A, role="fallback") if each.release == B else each for each in said], told)
    decision = judge(project, store, trial, split, 3)
    assert (decision.verdict, decision.stopped) == ("go on", (1,))
    settle_split(store, trial, split, decision, at=NOW + timedelta(days=3), actor="test")
    found = split_of(store, trial)
    assert found is not None
    assert found.weights == {A: 0.7, B: 0.0, C: 0.3}
    with store.read() as tx:
        assert open_trial(tx) is not None


def test_a_canary_only_warns(make_kiosk: Callable[..., Project]) -> None:
    project = make_kiosk("release.rollout=canary", "release.canary_share=0.4", "release.max_days=28", days=30)
    store = open_store(project.store_url, fsync=False)
    try:
        trial, split = begin(project, store)
        keep(store, *facts(World.make(30), split, range(-PAST, 29), 0.5))
        decision = judge(project, store, trial, split, 30)
        assert (decision.verdict, decision.winner) == ("go on", None)
        assert "the shadow comparison decides" in decision.overall.reason
    finally:
        store.close()


def test_the_same_evidence_in_any_order_and_after_a_restart_is_equal(make_kiosk: Callable[..., Project]) -> None:
    found = []
    world = World.make(20)
    for name in ("one", "two", "three"):
        project = make_kiosk("release.rollout=ab", "release.max_days=28", days=30, name=name)
        store = open_store(project.store_url, fsync=False)
        trial, split = begin(project, store)
        said, told = facts(world, split, range(-PAST, 18), 0.8)
        if name == "one":
            keep(store, said, told)
        elif name == "two":  # the truth comes first, and late in part; looked at in between
            rng = np.random.default_rng(1)
            keep(store, [], [told[place] for place in rng.permutation(len(told))])
            for place in rng.permutation(len(said)):
                keep(store, [said[place]], [])
            judge(project, store, trial, split, 9)
        else:
            wrong = [Outcome(f"w{each.id}", each.received_at, None, each.series, each.time, 0.0, "t") for each in told]
            keep(store, said[::-1], wrong[:900])
            store.close()
            store = open_store(project.store_url, fsync=False)
            keep(store, [], [Outcome(*(getattr(each, n) for n in Outcome.__slots__)) for each in told])
        evidence = judge(project, store, trial, split, 19).overall.to_dict()
        found.append(evidence)
        store.close()
    assert found[0] == found[1] == found[2]


def test_a_day_counts_when_it_has_settled(project: Project, store: Store) -> None:
    trial, split = begin(project, store)
    keep(store, *facts(World.make(12), split, range(-PAST, 10), 1.0))
    days = [len(judge(project, store, trial, split, day).overall.series["day"]) for day in (1, 2, 8, 12, 15)]
    assert days == [0, 1, 7, 10, 10]  # one day to settle, and none after the newest truth


def test_changed_weights_begin_anew_and_keep_what_was_spent(project: Project, store: Store) -> None:
    trial, split = begin(project, store)
    with store.write() as tx:
        later = change_split(tx, {A: 0.4, B: 0.6}, at=NOW + timedelta(days=6), reason="more", actor="test")
    world = World.make(16)
    keep(store, *facts(world, split, range(-PAST, 6), 1.0))
    keep(store, *facts(world, later, range(6, 15), 1.0))
    decision = judge(project, store, trial, later, 16)
    assert len(decision.overall.series["day"]) == 9
    stale = judge(project, store, trial, split, 16)
    settle_split(store, trial, split, stale, at=NOW + timedelta(days=16), actor="test")
    with store.read() as tx:
        assert open_trial(tx) is not None, "judged by weights that are no more in force"


def test_a_unit_s_past_shortens_the_wait(project: Project, store: Store) -> None:
    trial, split = begin(project, store)
    world = World.make(12)
    keep(store, *facts(world, split, range(-PAST, 10), 0.9))
    keep(store, [week_ahead(world)], [])
    widths = {}
    for reduction in ("none", "before", "forecast"):
        release = project.settings.release.model_copy(update={"variance_reduction": reduction})
        other = project.settings.model_copy(update={"release": release})
        evidence = judge(dataclasses.replace(project, settings=other), store, trial, split, 11).overall
        assert evidence.upper is not None
        assert evidence.lower is not None
        widths[reduction] = evidence.upper - evidence.lower
    assert widths["before"] < widths["none"]
    assert len(set(widths.values())) == 3


def test_what_was_measured_of_the_units_decides(project: Project, store: Store) -> None:
    business = {"metric": "revenue", "guardrails": ["returns:lower:0.5"], "better": "higher"}
    release = project.settings.release.model_copy(update=business)
    shop = dataclasses.replace(project, settings=project.settings.model_copy(update={"release": release}))
    trial, split = begin(project, store)
    world = World.make(20)
    keep(store, *facts(world, split, range(-PAST, 19), 1.0))
    with pytest.raises(SettingsError, match="nothing of that name was measured"):
        judge(shop, store, trial, split, 20)
    drawn = Split.compile(split)
    rows = []
    for day in range(-PAST, 18):
        for unit, text in enumerate(UNITS):
            at = NOW + timedelta(days=day, hours=20)
            gain = 1.5 if day >= 0 and drawn.assign(text) == B else 1.0
            for metric, value in (("revenue", gain * world.sales[unit, PAST + day]), ("returns", 1.0 + unit % 3)):
                rows.append(Measurement(at + timedelta(hours=1), text, metric, at, float(value), "test"))
    with store.write() as tx:
        add_measurements(tx, rows)
    decision = judge(shop, store, trial, split, 20)
    assert decision.verdict == "promote", decision.reason
    assert "revenue" in decision.overall.reason
    assert [part.verdict for part in decision.parts] == ["better", "not harmed"]


@pytest.mark.parametrize("text", ["", "error:x", "error:lower:0.1", "returns", "returns:0.1", "error:0.1:2", "error:2"])
def test_a_guardrail_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is no guardrail"):
        guardrail_of(text)
