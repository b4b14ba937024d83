from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import IntegrityError, RequestError, UnavailableError
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.release.bundle import open_release
from everloop.serve.answers import Answerer
from everloop.serve.query import ForecastQuery
from everloop.serve.repeating import repeat
from everloop.store.facts import Prediction, find_prediction
from everloop.store.values import ForecastValues

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)


@pytest.fixture
def answerer(world):  # type: ignore[no-untyped-def]
    return Answerer(world.project, world.store, ManualClock(NOW))


def stored(world, identifier: str) -> Prediction:  # type: ignore[no-untyped-def]
    with world.store.read() as tx:
        return find_prediction(tx, identifier)


def test_an_answer_is_stored_before_it_is_given(world, answerer) -> None:  # type: ignore[no-untyped-def]
    digest = world.champion()
    answer = answerer.answer_forecast(ForecastQuery(series=("S0/item%2F1",), horizon=3))
    row = stored(world, answer.prediction_id)
    assert ForecastValues.unpack(row.response).equals(answer.values)
    assert (row.release, row.role, row.kind, row.at) == (digest, "champion", "forecast", NOW)
    assert row.first_time == datetime(2026, 3, 1, tzinfo=UTC)
    assert row.last_time == datetime(2026, 3, 3, tzinfo=UTC)
    assert json.loads(row.request) == {
        "series": ["S0/item%2F1"], "horizon": 3, "levels": [80.0, 95.0], "future": {},
    }  # fmt: skip


def test_the_numbers_are_those_of_the_model(world, answerer) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    answer = answerer.answer_forecast(ForecastQuery(series=("S1/item%2F0",), horizon=7))
    # the seasonal naive repeats the last week, which can be read off the panel without it
    week = world.panel.y.reshape(6, -1)[3, -7:]
    np.testing.assert_array_equal(answer.values.mean, week[None, :])
    assert answer.labels[0] == "2026-03-01"


def test_a_batch_holds_every_series(world, answerer) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    answer = answerer.answer_batch("champion", prediction_id="batch-1")
    assert answer.prediction_id == "batch-1"
    assert answer.values.mean.shape == (6, 14)
    assert stored(world, "batch-1").kind == "batch"
    assert json.loads(stored(world, "batch-1").request)["series"] is None


def test_one_series_alone_gets_the_bits_of_the_batch(world, answerer) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    batch = answerer.answer_batch().values
    for place, key in enumerate(batch.series):
        single = answerer.answer_forecast(ForecastQuery(series=(key,))).values
        np.testing.assert_array_equal(single.mean[0], batch.mean[place])
        np.testing.assert_array_equal(single.lower[80.0][0], batch.lower[80.0][place])


def test_a_challengers_batch_is_a_shadow(world, answerer) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    world.deploy("challenger", world.add(SeasonalNaiveForecaster(season=14)))
    leader = answerer.answer_batch("champion")
    shadow = answerer.answer_batch("challenger", twin=leader.prediction_id)
    row = stored(world, shadow.prediction_id)
    assert (row.role, row.twin) == ("shadow", leader.prediction_id)
    assert row.release != leader.release


def test_a_new_state_answers_from_its_own_cutoff(world, answerer) -> None:  # type: ignore[no-untyped-def]
    model = SeasonalNaiveForecaster()
    digest = world.champion(model)
    before = answerer.answer_batch()
    state = world.advance(digest, model)
    after = answerer.answer_batch()
    assert (before.state, after.state) == ("", state)
    assert (before.labels[0], after.labels[0]) == ("2026-03-01", "2026-03-02")
    assert after.release == digest


def test_every_answer_can_be_repeated_bit_for_bit(world, answerer) -> None:  # type: ignore[no-untyped-def]
    model = SeasonalNaiveForecaster()
    digest = world.champion(model)
    queries = [
        ForecastQuery(series=("S0/item%2F1",), levels=(33.3,)),
        ForecastQuery(future={"price": 2.5, "event": "fair"}),
        ForecastQuery(series=({"store_id": "S0", "item_id": "item/2", "future": {"price": [1] * 14}},)),
    ]
    answers = [answerer.answer_forecast(query) for query in queries] + [answerer.answer_batch()]
    world.advance(digest, model)
    answers.append(answerer.answer_batch())
    for answer in answers:
        again = repeat(world.project, world.store, stored(world, answer.prediction_id))
        assert again.equals(answer.values)


def test_without_a_champion_nothing_is_answered(world, answerer) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UnavailableError) as caught:
        answerer.answer_batch()
    assert (caught.value.code, caught.value.hint) == ("no_champion", "make one: everloop run")


def test_a_refused_query_leaves_nothing(world, answerer) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    with pytest.raises(RequestError):
        answerer.answer_forecast(ForecastQuery(horizon=99), prediction_id="none")
    with world.store.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM predictions").scalar() == 0


def test_a_changed_bundle_is_not_loaded(world, answerer) -> None:  # type: ignore[no-untyped-def]
    digest = world.champion()
    head = open_release(world.project.releases / digest).folder / "model" / "model.json"
    head.write_text(head.read_text() + " ")
    with pytest.raises(IntegrityError):
        answerer.answer_batch()
