"""After release the intervals follow what came true, as versioned states that can be traced and repeated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from everloop.core.clock import ManualClock
from everloop.core.project import Project
from everloop.improve.intervals import widths_of
from everloop.loop.context import LoopContext
from everloop.loop.replay import known_at
from everloop.loop.tick import tick
from everloop.loop.trace import repeat_prediction, trace_prediction
from everloop.serve.answers import Answerer
from everloop.serve.batch.making import batch_id
from everloop.serve.served import load_served, wanted_in
from everloop.store.deployments import in_role, latest_state
from everloop.store.engine import Store, open_store
from everloop.store.values import ForecastValues
from kiosk import at

START, DAYS = 100, 12


def restless(project: Project) -> None:
    """Make the sales after the release three times as restless as before."""
    path = project.root / "sales.csv"
    sales = pl.read_csv(path)
    rng = np.random.default_rng(1)
    noise = pl.Series(rng.integers(-18, 19, sales.height))
    is_late = pl.col("day") >= (pl.date(2024, 1, 1) + pl.duration(days=START)).cast(pl.String)
    made = pl.when(is_late).then(pl.max_horizontal(pl.col("sold") + noise, 0)).otherwise("sold")
    sales.with_columns(made.alias("sold")).write_csv(path)


def walk(project: Project, days: int) -> tuple[LoopContext, Store]:
    store = open_store(project.store_url, fsync=False)
    clock = ManualClock(at(START))
    context = LoopContext(project, store, clock, "test", data_until=known_at)
    for _ in range(days):
        assert tick(context).failures == []
        clock.advance(timedelta(days=1))
    return context, store


def state_of(store: Store) -> tuple[str, str]:
    with store.read() as tx:
        champion = in_role(tx, "champion")
        state = latest_state(tx, champion or "")
    assert champion is not None
    assert state is not None
    return champion, state.id


@pytest.fixture
def project(make_kiosk: Callable[..., Project]) -> Project:
    made = make_kiosk("monitor.drift=false", "retrain.on=[]")
    restless(made)
    return made


def test_intervals_widen_are_served_traced_and_repeated(project: Project) -> None:
    context, store = walk(project, DAYS)
    release, state = state_of(store)
    with store.read() as tx:
        widths = widths_of(tx, state)
    assert widths is not None
    assert np.exp(widths.log_factors).min() > 1.03, "each end was missed too often"
    wanted = wanted_in(store, "champion")
    assert wanted is not None
    served = load_served(project, store, wanted)
    own = load_served(project, store, type(wanted)(release))
    answer = Answerer(project, store, context.clock).answer_batch()
    width = answer.values.upper[80.0] - answer.values.mean
    assert np.allclose(width[answer.values.mean > 0], 3 * np.exp(widths.log_factors[0, 1, 0]))
    assert type(served.model).__name__ == "AdaptedForecaster"
    assert type(own.model).__name__ != "AdaptedForecaster", "the release itself stays as it is"
    for identifier in (answer.prediction_id, batch_id(release, state, "")):
        trace = trace_prediction(project, store, identifier)
        assert trace.to_dict()["served_from"]["intervals"] == widths.to_dict()
        again = repeat_prediction(project, store, trace)
        assert again.is_equal, again.reason
    store.close()


def test_a_day_is_learnt_once_and_old_predictions_keep_their_widths(project: Project) -> None:
    context, store = walk(project, 3)
    release, state = state_of(store)
    tick(context)
    tick(context)
    _, later = state_of(store)
    assert later != state, "one more day"
    with store.read() as tx:
        first, second = widths_of(tx, state), widths_of(tx, later)
    assert first is not None
    assert second is not None
    assert second.through == first.through + 1
    old = trace_prediction(project, store, batch_id(release, state, ""))
    assert isinstance(old.values, ForecastValues)
    assert repeat_prediction(project, store, old).is_equal
    store.close()


def test_it_can_be_switched_off(project: Project) -> None:
    settings = project.settings.model_copy(
        update={"forecast": project.settings.forecast.model_copy(update={"adapt_intervals": False})}
    )
    _, store = walk(Project(root=project.root, settings=settings, home=project.home), 4)
    _, state = state_of(store)
    with store.read() as tx:
        assert widths_of(tx, state) is None
    store.close()
