"""Batches by an engine's workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import IntegrityError
from everloop.models.forecaster import FitContext
from everloop.models.lightgbm import LightGBMForecaster
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.serve.answers import Answerer, compute_values
from everloop.serve.batch.parts import EngineBatch
from everloop.serve.query import ForecastQuery, resolve
from everloop.serve.repeating import repeat
from everloop.store.facts import find_prediction

ENGINE = "\n[engine]\nworkers = 2\n"
NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)

Worlds = Callable[..., AbstractContextManager[Any]]


def kept(world: Any) -> set[Path]:
    return set((world.project.home / "pieces").glob("??/*"))


def test_parts_by_workers_are_the_models_own_batch(make_world: Worlds, tmp_path: Path) -> None:
    with make_world(tmp_path, ENGINE) as world:
        world.champion(LightGBMForecaster(trees=10), name="lightgbm")
        served = Answerer(world.project, world.store, ManualClock(NOW)).served()
        query = ForecastQuery(levels=(80.0,), horizon=9)
        resolved = resolve(query, served, horizon=14, levels=(80.0, 95.0))
        whole, _ = compute_values(world.project, served, query)
        parts = EngineBatch(world.project, served, part_series=4)
        found = parts.values(resolved)
        assert found is not None
        assert found.equals(whole)
        pieces = kept(world)
        assert len(pieces) == 2
        assert parts.values(resolved).equals(whole)  # type: ignore[union-attr]
        assert kept(world) == pieces
        some = resolve(ForecastQuery(series=("S0/item%2F1",)), served, horizon=14, levels=(80.0,))
        assert parts.values(some) is None


def test_a_batch_is_stored_and_repeated_as_ever(make_world: Worlds, tmp_path: Path) -> None:
    stored = []
    for name, more in (("here", ""), ("there", ENGINE)):
        (tmp_path / name).mkdir()
        with make_world(tmp_path / name, more) as world:
            world.advance(world.champion(), SeasonalNaiveForecaster().fit(world.panel, FitContext(14, (80.0, 95.0))))
            answer = Answerer(world.project, world.store, ManualClock(NOW)).answer_batch(prediction_id="batch")
            with world.store.read() as tx:
                prediction = find_prediction(tx, "batch")
            assert answer.state
            assert repeat(world.project, world.store, prediction).equals(answer.values)
            assert bool(kept(world)) == bool(more)
            stored.append((prediction.request, prediction.response, prediction.state))
    assert stored[0] == stored[1]


def test_a_bundle_that_was_changed_is_refused_by_a_worker_too(make_world: Worlds, tmp_path: Path) -> None:
    with make_world(tmp_path, ENGINE) as world:
        world.champion()
        served = Answerer(world.project, world.store, ManualClock(NOW)).served()
        resolved = resolve(ForecastQuery(), served, horizon=14, levels=(80.0, 95.0))
        head = served.release.folder / "model" / "model.json"
        head.write_text(head.read_text() + " ")
        with pytest.raises(IntegrityError):
            EngineBatch(world.project, served).values(resolved)
        assert kept(world) == set()
