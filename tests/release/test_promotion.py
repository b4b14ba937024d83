from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import GateError, IntegrityError, NotFoundError, UsageError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.mlflow_tracker import Tracker
from everloop.experiment.tracking import open_tracker
from everloop.experiment.training import fit_candidate
from everloop.release import promotion
from everloop.release.build import build_release
from everloop.release.manifest import Dataset
from everloop.release.promotion import promote, rollback, withdraw_challenger
from everloop.store.deployments import deploy, deployment_history, in_role
from everloop.store.engine import Store, open_store
from everloop.store.events import list_events
from everloop.validate.examination import BASELINE, Shared, backtest_candidate, examine

START = datetime(2011, 12, 9, 3, tzinfo=UTC)


class World:
    """A project with three releases: two good ones, and one that failed a gate."""

    def __init__(self, project: Project, make_panel: Callable[..., Panel]) -> None:
        self.project = project
        self.clock = ManualClock(START)
        self.tracker: Tracker = open_tracker(project, clock=self.clock)
        self.store: Store = open_store(project.store_url, fsync=False)
        self.one, self.two = (self.release(project, make_panel(seed=seed)) for seed in (1, 2))
        strict = Project(project.root, project.settings.model_copy(update={"validation": self._strict()}), project.home)
        self.failed = self.release(strict, make_panel(seed=3))

    def _strict(self) -> Any:
        validation = self.project.settings.validation
        return validation.model_copy(update={"gates": validation.gates.model_copy(update={"min_skill": 0.5})})

    def release(self, project: Project, panel: Panel) -> str:
        dataset = Dataset(version=1, digest="d" * 64, rows=1920)
        lineage = collect_lineage(project)
        baseline = backtest_candidate(project, panel, BASELINE)
        shared: dict[str, Any] = {"tracker": self.tracker, "lineage": lineage}
        found = examine(BASELINE, Shared(project, panel, dataset, baseline=baseline, **shared))
        fitted = fit_candidate(project, panel, BASELINE)
        more: dict[str, Any] = {"panel": panel, "dataset": dataset, "store": self.store}
        return build_release(project, self.clock, examination=found, fitted=fitted, **more, **shared).digest

    def promote(self, name: str, **options: Any) -> promotion.Promotion:
        self.clock.advance(timedelta(hours=1))
        options = {"reason": "because", "actor": "test", "tracker": self.tracker} | options
        return promote(self.project, self.store, self.clock, name, **options)

    def rollback(self) -> promotion.Promotion:
        self.clock.advance(timedelta(hours=1))
        return rollback(
            self.project, self.store, self.clock, reason="it went wrong", actor="test", tracker=self.tracker
        )

    def role(self, role: Any = "champion") -> str | None:
        with self.store.read() as tx:
            return in_role(tx, role)

    def aliases(self) -> dict[str, str]:
        """Who MLflow's aliases point to, by release digest."""
        client = self.tracker.client
        model = client.get_registered_model("demand")
        return {
            alias: client.get_model_version("demand", version).tags["everloop.release"]
            for alias, version in model.aliases.items()
        }


@pytest.fixture
def world(make_project: Callable[..., Project], make_panel: Callable[..., Panel]) -> Iterator[World]:
    world = World(make_project(), make_panel)
    yield world
    world.store.close()


class TestPromote:
    def test_it_puts_in_charge_and_tells(self, world: World) -> None:
        done = world.promote(world.one[:10])
        assert (done.role, done.release, done.previous, done.warning) == ("champion", world.one, None, "")
        assert world.role() == world.one
        assert world.aliases() == {"champion": world.one}
        with world.store.read() as tx:
            (event,) = list_events(tx, kinds=("promoted",))
        assert (event.subject, event.actor, event.at) == (world.one, "test", START + timedelta(hours=1))
        assert event.evidence["metrics"]["candidate"]["wape"] > 0

    def test_twice_changes_nothing(self, world: World) -> None:
        world.promote(world.one)
        again = world.promote(world.one)
        assert not again.changed
        with world.store.read() as tx:
            assert len(deployment_history(tx, "champion")) == 1
            assert len(list_events(tx, kinds=("promoted",))) == 1

    def test_a_challenger_that_wins_is_no_challenger_any_more(self, world: World) -> None:
        world.promote(world.one)
        world.promote(world.two, role="challenger")
        assert world.aliases() == {"champion": world.one, "challenger": world.two}
        world.promote("challenger")
        assert (world.role(), world.role("challenger")) == (world.two, None)
        assert world.aliases() == {"champion": world.two}

    def test_the_champion_cannot_challenge_itself(self, world: World) -> None:
        world.promote(world.one)
        with pytest.raises(UsageError, match="is the champion already"):
            world.promote(world.one, role="challenger")

    def test_a_failed_gate_stops_it_unless_forced_with_a_reason(self, world: World) -> None:
        with pytest.raises(GateError, match="failed beats_baseline"):
            world.promote(world.failed)
        with pytest.raises(UsageError, match="needs a reason"):
            world.promote(world.failed, force=True, reason=" ")
        assert world.role() is None
        world.promote(world.failed, force=True, reason="a stop-gap")
        with world.store.read() as tx:
            (event,) = list_events(tx, kinds=("promoted",))
        assert event.evidence["forced_gates"] == ["beats_baseline"]
        assert event.evidence["reason"] == "a stop-gap"

    def test_a_changed_bundle_is_refused(self, world: World) -> None:
        card = world.project.releases / world.one / "card.md"
        card.write_text(card.read_text() + "PS: trust me\n")
        with pytest.raises(IntegrityError, match=r"card\.md of release .* is changed"):
            world.promote(world.one)
        assert world.role() is None

    def test_an_unknown_name_is_told(self, world: World) -> None:
        with pytest.raises(NotFoundError, match="there is no release"):
            world.promote("feedbeef")

    def test_mlflow_away_is_a_warning_and_no_failure(self, world: World) -> None:
        uri = "http://127.0.0.1:9"
        tracking = world.project.settings.tracking.model_copy(update={"uri": uri})
        away = Project(
            world.project.root, world.project.settings.model_copy(update={"tracking": tracking}), world.project.home
        )
        done = promote(away, world.store, world.clock, world.one, reason="because", actor="test")
        assert world.role() == world.one
        assert "aliases are behind" in done.warning
        with world.store.read() as tx:
            assert [event.evidence["code"] for event in list_events(tx, kinds=("registry_behind",))] == [
                "tracking_unavailable"
            ]
        world.promote(world.one)  # nothing to change in the store, but the aliases follow
        assert world.aliases() == {"champion": world.one}


class TestRollback:
    def test_it_goes_back_one_by_one_and_not_round_in_circles(self, world: World) -> None:
        world.promote(world.one)
        world.promote(world.two)
        world.promote(world.failed, force=True)
        assert world.rollback().release == world.two
        assert world.aliases()["champion"] == world.two
        assert world.rollback().release == world.one
        with pytest.raises(NotFoundError, match="no previous champion"):
            world.rollback()
        assert world.role() == world.one
        with world.store.read() as tx:
            events = list_events(tx, kinds=("rolled_back",))
        assert [event.evidence["from"] for event in events] == [world.failed, world.two]

    def test_after_a_new_promotion_it_goes_back_to_who_was_there(self, world: World) -> None:
        world.promote(world.one)
        world.promote(world.two)
        world.rollback()
        world.promote(world.failed, force=True)
        assert world.rollback().release == world.one
        world.promote(world.two)
        world.promote(world.one)  # a promotion of a former champion is not a rollback
        assert world.rollback().release == world.two

    def test_without_a_champion_there_is_nowhere_to_go(self, world: World) -> None:
        with pytest.raises(NotFoundError):
            world.rollback()

    def test_a_changed_bundle_is_refused(self, world: World) -> None:
        world.promote(world.one)
        world.promote(world.two)
        (world.project.releases / world.one / "lock.txt").unlink()
        with pytest.raises(IntegrityError):
            world.rollback()
        assert world.role() == world.two

    def test_a_change_at_the_same_time_is_seen(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world.promote(world.one)
        world.promote(world.two)

        def meanwhile(folder: Path, *, digest: str) -> None:
            with world.store.write() as tx:
                deploy(tx, "champion", world.failed, at=world.clock.now(), reason="somebody else")

        monkeypatch.setattr(promotion, "open_release", meanwhile)
        with pytest.raises(UsageError, match="changed at the same time"):
            world.rollback()
        assert world.role() == world.failed


def test_a_challenger_can_be_withdrawn(world: World) -> None:
    def withdraw() -> promotion.Promotion | None:
        options: dict[str, Any] = {"reason": "not better", "actor": "test", "tracker": world.tracker}
        return withdraw_challenger(world.project, world.store, world.clock, **options)

    world.promote(world.one)
    world.promote(world.two, role="challenger")
    done = withdraw()
    assert done is not None
    assert done.previous == world.two
    assert world.role("challenger") is None
    assert world.aliases() == {"champion": world.one}
    assert withdraw() is None
