"""Events that are known ahead are expected again; days of which nothing is known are not judged."""

from __future__ import annotations

import numpy as np

from everloop.monitor.drift.events import Event, event_columns, plan_events
from everloop.monitor.drift.streams import plan_streams
from everloop.monitor.drift.summaries import ALL, Counts, Moments, Summary
from everloop.stats.drift.judging import judge
from everloop.stats.drift.reference import Reference, learn

DAYS = np.arange(1096) + 17_000
HISTORY = 731
# a feast that moves: never on the same date, as Easter
FEAST = np.array([100, 452, 830])
STRIKE = np.array([200, 900])


def calendar(days: np.ndarray = DAYS) -> Summary:
    """A column of events, a flag of the feast, a flag that is on every other day, and a number."""
    at = days - DAYS[0]
    feast, strike = np.isin(at, FEAST).astype(float), np.isin(at, STRIKE).astype(float)
    counts = Counts(("feast", "strike"), 4 * np.stack([feast, strike], axis=1), np.full(len(days), 4.0))
    numbers = {
        (name, ALL): Moments(*(np.full(len(days), 4.0),) * 2, 4 * np.arcsinh(values), 4 * np.arcsinh(values) ** 2)
        for name, values in (("is_feast", feast), ("is_even", at % 2.0), ("degrees", 3.0 * feast))
    }
    return Summary(days, numbers, {"event": counts})


COLUMNS = ("event", "is_feast", "is_even", "degrees")


def test_events_are_what_came_twice_and_on_few_days() -> None:
    events = plan_events(calendar(DAYS[:HISTORY]), COLUMNS)
    assert events == (Event("event", "feast"), Event("is_feast"))


def test_columns_are_the_day_before_the_day_and_the_day_after() -> None:
    found = event_columns(calendar(), (Event("event", "feast"),), DAYS[99:103])
    assert found.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert event_columns(calendar(), (Event("event", "gone"), Event("none")), DAYS).sum() == 0


def test_a_plan_carries_them() -> None:
    plan = plan_streams(calendar(DAYS[:HISTORY]), columns=COLUMNS, target="", known_ahead=COLUMNS)
    assert Event("event", "feast") in plan.events
    assert "event" in plan.left_out


def judged(values: np.ndarray, events: tuple[Event, ...]):  # type: ignore[no-untyped-def]
    regressors = event_columns(calendar(), events, DAYS)
    kinds = ["value"] * values.shape[1]
    reference = learn(DAYS[:HISTORY], values[:HISTORY], kinds, regressors=regressors[:HISTORY])
    kept = Reference.unpack(reference.pack())
    return judge(kept, DAYS[HISTORY:], values[HISTORY:], regressors=regressors[HISTORY:])


def test_a_feast_that_moves_is_no_drift_where_it_is_known_ahead() -> None:
    values = np.random.default_rng(3).normal(size=(len(DAYS), 4))
    values[FEAST] += 12
    values[FEAST - 1] += 5
    without, known = (judged(values, events) for events in ((), (Event("event", "feast"),)))
    on = FEAST[2] - HISTORY
    # two feasts are believed by two thirds
    assert np.abs(without.watched.errors[on]).min() > 9
    assert np.abs(known.watched.errors[on]).max() < 7
    assert known.evidence.max() < without.evidence.max()
    assert not known.any_alarm


def test_a_day_that_never_had_a_value_in_the_past_is_not_judged() -> None:
    values = np.random.default_rng(4).normal(size=(len(DAYS), 2))
    values[FEAST[:2], 0] = np.nan
    values[FEAST[2]] = -60
    found = judged(values, (Event("event", "feast"),))
    on = FEAST[2] - HISTORY
    assert found.watched.counts[on].tolist() == [False, True]
    assert found.is_alarm.tolist() == [False, False] or not found.is_alarm[0]
    assert found.first_alarm == int(DAYS[FEAST[2]])
    assert found.evidence[on, 0] < found.threshold <= found.evidence[on, 1]
