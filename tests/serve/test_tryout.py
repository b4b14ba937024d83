"""A new release answers recorded requests beside the old one before it takes over."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from everloop.core.clock import ManualClock
from everloop.core.digest import canonical_json
from everloop.core.errors import ModelError, RequestError
from everloop.core.ids import new_id
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.serve.host import Host
from everloop.serve.metrics import Metrics
from everloop.serve.tryout import Tryout, try_out
from everloop.store.alerts import open_alerts
from everloop.store.events import Event, list_events
from everloop.store.facts import Prediction, add_predictions
from everloop.store.recorded import Recorded

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
REQUESTS = [Recorded(str(number), "forecast", b"{}") for number in range(10)]
FAULTS = '''
"""Forecasters with a fault each, that warming up does not show."""

import threading
import time

from dataclasses import replace

from everloop.models.seasonal_naive import SeasonalNaiveForecaster

HOLD = threading.Event()


class Fine(SeasonalNaiveForecaster):
    def forecast(self, request):
        if request.horizon != 3:  # what warming up asks
            return super().forecast(request)
        return self.asked(request)

    def asked(self, request):
        found = super().forecast(request)
        factor = 1.1
        return replace(found, mean=found.mean * factor, lower={k: v * factor for k, v in found.lower.items()},
                       upper={k: v * factor for k, v in found.upper.items()})


class Raises(Fine):
    def asked(self, request):
        raise ZeroDivisionError("not three steps")


class NotFinite(Fine):
    def asked(self, request):
        found = super().asked(request)
        found.mean[0, 0] = float("nan")
        return found


class Slow(Fine):
    def asked(self, request):
        time.sleep(0.03)
        return super().asked(request)


class Hangs(Fine):
    def asked(self, request):
        HOLD.wait(30)
        return super().asked(request)
'''


@pytest.fixture
def faults(world) -> Iterator[Any]:  # type: ignore[no-untyped-def]
    """The module of the faulty forecasters, importable as a user's own code is."""
    (world.project.root / "faults.py").write_text(FAULTS)
    sys.path.insert(0, str(world.project.root))
    import faults as module  # type: ignore[import-not-found]

    yield module
    module.HOLD.set()
    sys.path.remove(str(world.project.root))
    sys.modules.pop("faults", None)


def host_of(world, **settings: Any) -> Host:  # type: ignore[no-untyped-def]
    serve = world.project.settings.serve
    compare = serve.swap_compare.model_copy(update={"seconds": 0.5, "max_slowdown": 5.0})
    update = {"swap_compare": compare, "model_timeout_seconds": 0.2} | settings
    changed = world.project.settings.model_copy(update={"serve": serve.model_copy(update=update)})
    return Host(replace(world.project, settings=changed), world.store, ManualClock(NOW), Metrics())


def record(world, release: str, *, count: int = 8, horizon: int = 3, series: str = "S0/item%2F1") -> None:  # type: ignore[no-untyped-def]
    """Store requests that a release answered."""
    request = canonical_json({"series": [series], "horizon": horizon, "levels": [80.0], "future": {}}).encode()
    rows = []
    for number in range(count):
        at = NOW + timedelta(seconds=number)
        rows.append(Prediction(new_id(at), at, release, "", "champion", "forecast", None, at, at, request, b""))
    with world.store.write() as tx:
        add_predictions(tx, rows)


def swaps(world) -> list[Event]:  # type: ignore[no-untyped-def]
    with world.store.read() as tx:
        return list_events(tx, kinds=("swapped",))


def alerts(world) -> dict[str, str]:  # type: ignore[no-untyped-def]
    with world.store.read() as tx:
        return {alert.code: alert.message for alert in open_alerts(tx)}


def champion_of(host: Host) -> str:
    assert host.serving.champion is not None
    return host.serving.champion.release.digest


def test_a_swap_tells_what_changed(world, faults: Any) -> None:  # type: ignore[no-untyped-def]
    host = host_of(world)
    first = world.champion()
    host.refresh()
    assert swaps(world) == []  # nothing was swapped out
    record(world, first)
    second = world.champion(faults.Fine())
    assert host.refresh()
    assert champion_of(host) == second
    (event,) = swaps(world)
    assert event.subject == second
    assert event.evidence["before"] == {"release": first, "state": ""}
    found = event.evidence["tryout"]
    assert (found["asked"], found["answered"], found["unfit"]) == (8, 8, 0)
    assert found["difference"] == pytest.approx(2 * 0.1 / 2.1, rel=1e-3)
    assert found["new_seconds"] > 0
    assert "8 of 8 recorded requests" in event.message


def test_several_workers_tell_of_a_swap_once(world) -> None:  # type: ignore[no-untyped-def]
    hosts = [host_of(world) for _ in range(3)]
    world.champion()
    for host in hosts:
        host.refresh()
    world.champion(SeasonalNaiveForecaster(season=14))
    for host in hosts:
        assert host.refresh()
    assert len(swaps(world)) == 1


@pytest.mark.parametrize(
    ("fault", "said"), [("Raises", "fails on request"), ("NotFinite", "fails on request"), ("Slow", "too slow")]
)
def test_a_release_that_does_badly_is_refused_and_the_old_one_stays(world, faults: Any, fault: str, said: str) -> None:  # type: ignore[no-untyped-def]
    host = host_of(world)
    first = world.champion()
    host.refresh()
    record(world, first)
    world.champion(getattr(faults, fault)())
    for _ in range(50):  # it is not tried at every look
        host.refresh()
    assert champion_of(host) == first
    assert list(alerts(world)) == ["swap_refused"]
    assert said in alerts(world)["swap_refused"]
    assert swaps(world) == []
    world.deploy("champion", first)  # rolled back: the reason for the alert is gone
    host.refresh()
    assert alerts(world) == {}


def test_a_release_that_hangs_holds_nothing_up_and_is_not_tried_beside_itself(world, faults: Any) -> None:  # type: ignore[no-untyped-def]
    host = host_of(world)
    first = world.champion()
    host.refresh()
    record(world, first)
    world.champion(faults.Hangs())
    for _ in range(100):
        host.refresh()
    assert champion_of(host) == first
    assert "more than" in alerts(world)["champion_load"]
    preparing = [thread for thread in threading.enumerate() if thread.name == "everloop-preparing"]
    assert len(preparing) == 1


def test_a_release_that_hangs_while_it_is_loaded_is_given_up(world, faults: Any) -> None:  # type: ignore[no-untyped-def]
    host = host_of(world, load_timeout_seconds=0.3)
    first = world.champion()
    host.refresh()
    slow = faults.Hangs()
    slow_class = type(slow)
    original = slow_class.forecast
    slow_class.forecast = lambda self, request: faults.HOLD.wait(30) and original(self, request)
    world.champion(slow)
    host.refresh()
    assert champion_of(host) == first
    assert "loading it took more than 0.3 seconds" in alerts(world)["champion_load"]


def test_series_that_are_gone_are_told_and_refuse_only_when_most_are(world) -> None:  # type: ignore[no-untyped-def]
    host = host_of(world)
    first = world.champion()
    host.refresh()
    record(world, first, count=5)
    record(world, first, count=4, series="S1/item%2F2")
    whole = world.panel
    world.panel = whole.__class__(
        **{name: getattr(whole, name) for name in whole.__slots__}
        | {
            "keys": whole.keys[:5],  # without S1/item/2
            "offsets": whole.offsets[:6],
            "y": whole.y[: whole.offsets[5]],
            "known": {name: values[: whole.offsets[5]] for name, values in whole.known.items()},
            "future": replace(whole.future, columns={n: v[:5] for n, v in whole.future.columns.items()}),
        }
    )
    second = world.champion(SeasonalNaiveForecaster(season=14))
    host.refresh()
    assert champion_of(host) == second
    assert swaps(world)[0].evidence["tryout"]["unfit"] == 4
    record(world, second, count=9, horizon=5, series="S0/item%2F2")
    world.panel = replace(whole, keys=tuple((f"T{n}", "x") for n in range(6)))
    world.champion(SeasonalNaiveForecaster(season=21))
    host.refresh()
    assert champion_of(host) == second
    assert "takes none of 9" in alerts(world)["swap_refused"]


def test_newer_data_are_tried_on_fewer_requests(world) -> None:  # type: ignore[no-untyped-def]
    host = host_of(world)
    model = SeasonalNaiveForecaster()
    digest = world.champion(model)
    host.refresh()
    record(world, digest, count=20)
    state = world.advance(digest, model)
    assert host.refresh()
    assert host.serving.champion.state == state  # type: ignore[union-attr]
    (event,) = swaps(world)
    assert event.evidence["tryout"]["asked"] == 5
    assert "newer data" in event.message


def test_requests_whose_inputs_were_not_kept_compare_nothing(world) -> None:  # type: ignore[no-untyped-def]
    host = host_of(world)
    first = world.champion()
    host.refresh()
    record(world, first)
    with world.store.write() as tx:
        tx.exec_driver_sql("UPDATE predictions SET request = x''")
    world.champion(SeasonalNaiveForecaster(season=14))
    assert host.refresh()
    assert "no recorded request" in swaps(world)[0].message


# what a tryout makes of answers, with numbers for releases: 1 is the old one, 2 the new one


def tried(new: Callable[[Recorded], Any], *, seconds: float = 5.0) -> Tryout:
    def compute(served: Any, recorded: Recorded) -> dict[str, np.ndarray[Any, Any]]:
        return {"y": np.array([1.0, 2.0])} if served == 1 else new(recorded)

    return try_out(2, 1, REQUESTS, compute=compute, max_slowdown=5.0, seconds=seconds)  # type: ignore[arg-type]


def test_the_same_answers_differ_by_nothing() -> None:
    found = tried(lambda _: {"y": np.array([1.0, 2.0])})
    assert (found.answered, found.difference, found.refusal) == (10, 0.0, "")


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({}, "lacks y"),
        ({"y": np.zeros(3)}, "of shape"),
        ({"y": np.array([1.0, np.nan])}, "not finite"),
        ({"y": np.array([1.0, np.inf])}, "not finite"),
    ],
)
def test_answers_of_another_form_are_refused(outputs: dict[str, Any], said: str) -> None:
    found = tried(lambda _: outputs)
    assert said in found.refusal
    assert found.asked == 1  # the first one is enough


def test_more_outputs_are_no_fault() -> None:
    assert tried(lambda _: {"y": np.ones(2), "z": np.array([np.nan])}).refusal == ""


def test_half_of_the_requests_refused_is_the_bound() -> None:
    def some(most: int) -> Callable[[Recorded], Any]:
        def compute(recorded: Recorded) -> dict[str, Any]:
            if int(recorded.id) < most:
                raise RequestError("series_unknown", "gone")
            return {"y": np.ones(2)}

        return compute

    assert tried(some(5)).refusal == ""
    assert "refuses 6 of 10" in tried(some(6)).refusal
    assert "takes none of 10" in tried(some(10)).refusal


def test_it_ends_in_time_with_what_was_seen() -> None:
    assert tried(lambda _: {"y": np.ones(2)}, seconds=-1.0).asked == 1


def test_what_the_old_one_cannot_answer_is_left_out() -> None:
    def compute(served: Any, recorded: Recorded) -> Any:
        raise ModelError("forecast_value", "neither can")

    found = try_out(2, 1, REQUESTS, compute=compute, max_slowdown=5.0, seconds=5.0)  # type: ignore[arg-type]
    assert found == Tryout()


def test_texts_differ_by_share() -> None:
    def compute(served: Any, recorded: Recorded) -> Any:
        return {"label": np.array(["a", "b", "c", "d" if served == 1 else "e"], dtype=object)}

    found = try_out(2, 1, REQUESTS, compute=compute, max_slowdown=5.0, seconds=5.0)  # type: ignore[arg-type]
    assert found.difference == 0.25
