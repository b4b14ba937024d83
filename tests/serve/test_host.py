from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from everloop.core.clock import ManualClock
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.serve.host import Host
from everloop.store.deployments import Role
from everloop.store.events import list_events
from everloop.store.marks import list_marks

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)


class Notes:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.swaps: list[str] = []
        self.failures: list[str] = []

    def swapped(self, role: Role, served: object) -> None:
        self.swaps.append(role)

    def swap_failed(self, role: Role) -> None:
        self.failures.append(role)

    def poll_failed(self) -> None:
        self.failures.append("poll")

    def breaker(self, role: str, *, is_open: bool) -> None:
        if is_open:
            self.failures.append(f"breaker of {role}")


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def host(world, notes: Notes) -> Host:  # type: ignore[no-untyped-def]
    return Host(world.project, world.store, ManualClock(NOW), notes)


def alerts(world) -> list[str]:  # type: ignore[no-untyped-def]
    with world.store.read() as tx:
        return [event.kind for event in list_events(tx, kinds=("alert", "cleared"))]


def test_it_follows_a_promotion_and_its_end(world, host: Host, notes: Notes) -> None:  # type: ignore[no-untyped-def]
    assert not host.refresh()
    first = world.champion()
    assert host.refresh()
    assert host.serving.champion is not None
    assert host.serving.champion.release.digest == first
    assert not host.refresh()
    second = world.champion(SeasonalNaiveForecaster(season=14))
    assert host.refresh()
    assert host.serving.champion.release.digest == second
    world.deploy("champion", None)
    assert host.refresh()
    assert host.serving.champion is None
    assert notes.swaps == ["champion"] * 3


def test_a_promoted_challenger_is_not_loaded_again(world, host: Host) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    challenger = world.add(SeasonalNaiveForecaster(season=14))
    world.deploy("challenger", challenger)
    host.refresh()
    loaded = host.serving.challenger
    shutil.rmtree(world.project.releases / challenger)  # what is loaded needs no files
    world.deploy("champion", challenger)
    world.deploy("challenger", None)
    host.refresh()
    assert host.serving.champion is loaded
    assert host.serving.challenger is None


def test_a_release_that_cannot_be_loaded_leaves_the_old_one_in_charge(  # type: ignore[no-untyped-def]
    world, host: Host, notes: Notes
) -> None:
    first = world.champion()
    host.refresh()
    second = world.champion(SeasonalNaiveForecaster(season=14))
    array = next((world.project.releases / second / "model").rglob("*.npy"))
    content = array.read_bytes()
    array.write_bytes(content[:-1])
    for _ in range(100):  # the alert is raised once, not at each look
        host.refresh()
    assert host.serving.champion is not None
    assert host.serving.champion.release.digest == first
    assert alerts(world) == ["alert"]
    assert 2 <= len(notes.failures) <= 5  # it is tried again, at longer intervals
    array.write_bytes(content)
    for _ in range(40):
        host.refresh()
    assert host.serving.champion.release.digest == second
    assert alerts(world) == ["alert", "cleared"]
    with world.store.read() as tx:
        assert list_marks(tx, "alert:") == {}


def test_at_the_start_a_lost_state_gives_way_to_the_releases_own_model(world, host: Host) -> None:  # type: ignore[no-untyped-def]
    model = SeasonalNaiveForecaster()
    digest = world.champion(model)
    state = world.advance(digest, model)
    shutil.rmtree(world.project.states / state)
    host.refresh()
    assert host.serving.champion is not None
    assert (host.serving.champion.release.digest, host.serving.champion.state) == (digest, "")
    assert alerts(world) == ["alert"]
    newer = world.advance(digest, model, days=2, version=3)
    host.refresh()
    assert host.serving.champion.state == newer


@pytest.mark.parametrize("cause", ["ZeroDivisionError", "RuntimeError", "StopIteration"])
def test_a_model_that_cannot_forecast_is_not_swapped_in(world, host: Host, notes: Notes, cause: str) -> None:  # type: ignore[no-untyped-def]
    (world.project.root / "fragile_model.py").write_text(
        "from everloop.models.seasonal_naive import SeasonalNaiveForecaster\n"
        "class Fragile(SeasonalNaiveForecaster):\n"
        "    def forecast(self, request):\n"
        f"        raise {cause}('no forecast today')\n"
    )
    import sys

    sys.path.insert(0, str(world.project.root))
    try:
        import fragile_model  # type: ignore[import-not-found]

        first = world.champion()
        host.refresh()
        world.champion(fragile_model.Fragile())
        for _ in range(5):
            host.refresh()
    finally:
        sys.path.remove(str(world.project.root))
        sys.modules.pop("fragile_model", None)
    assert host.serving.champion is not None
    assert host.serving.champion.release.digest == first
    assert alerts(world) == ["alert"]
    assert notes.failures == ["champion"]


def test_a_store_that_is_away_changes_nothing(world, host: Host, notes: Notes) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    host.refresh()
    served = host.serving
    with world.store.write() as tx:
        tx.exec_driver_sql("ALTER TABLE deployments RENAME TO away")
    host.refresh()
    assert host.serving is served
    assert notes.failures == ["poll"]
