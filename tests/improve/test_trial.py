"""A trial's challenger gets its share of the traffic and loses it with its role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from everloop.core.settings.releasing import ReleaseSettings
from everloop.improve.trial import begin_trial, settle_trial
from everloop.stats.evidence import Evidence
from everloop.store.deployments import deploy, in_role
from everloop.store.engine import Store, open_store
from everloop.store.splits import split_in_force, start_split
from everloop.store.trials import open_trial

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
A, B, C = "a" * 64, "b" * 64, "c" * 64
EVIDENCE = Evidence("?", "keep", "not better", None, "", None, None, 0, "", "", "", "")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db", fsync=False)
    with opened.write() as tx:
        deploy(tx, "champion", A, at=NOW, reason="first")
    yield opened
    opened.close()


def begin(store: Store, rollout: str, challenger: str = B) -> None:
    settings = ReleaseSettings.model_validate({"rollout": rollout, "split_unit": "store_id"})
    begin_trial(store, settings, challenger, at=NOW, reason="passed its gates", actor="test")


def weights(store: Store) -> dict[str, float] | None:
    with store.read() as tx:
        split = split_in_force(tx)
    return None if split is None else split.weights


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [("shadow", None), ("direct", None), ("canary", {A: 0.95, B: 0.05}), ("ab", {A: 0.5, B: 0.5})],
)
def test_the_rollout_says_what_a_challenger_gets(store: Store, rollout: str, expected: dict[str, float] | None) -> None:
    begin(store, rollout)
    assert weights(store) == expected
    with store.read() as tx:
        split = split_in_force(tx)
    assert split is None or split.unit == "store_id"


@pytest.mark.parametrize("verdict", ["promote", "keep"])
def test_the_split_ends_with_the_trial(store: Store, verdict: str) -> None:
    begin(store, "ab")
    with store.read() as tx:
        trial = open_trial(tx)
    assert trial is not None
    settle_trial(store, trial, replace(EVIDENCE, verdict=verdict), at=NOW, actor="test")
    assert weights(store) is None
    with store.read() as tx:
        assert in_role(tx, "champion") == (B if verdict == "promote" else A)


def test_a_newer_challenger_takes_the_olders_share(store: Store) -> None:
    begin(store, "ab")
    begin(store, "canary", C)
    assert weights(store) == {A: 0.95, C: 0.05}


def test_a_split_of_others_outlives_a_trial(store: Store) -> None:
    begin(store, "shadow")
    with store.write() as tx:
        start_split(tx, {A: 0.5, C: 0.5}, unit="series", at=NOW, reason="by hand", actor="test")
    with store.read() as tx:
        trial = open_trial(tx)
    assert trial is not None
    settle_trial(store, trial, EVIDENCE, at=NOW, actor="test")
    assert weights(store) == {A: 0.5, C: 0.5}
