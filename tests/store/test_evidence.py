"""Evidence is kept once, found by its id's beginning, and read back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from everloop.core.errors import NotFoundError
from everloop.stats.evidence import Evidence
from everloop.store.engine import Store, open_store
from everloop.store.evidence import find_evidence, keep_evidence, list_evidence

AT = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def some(verdict: str = "go on") -> Evidence:
    return Evidence(
        question="Is it better?",
        verdict=verdict,
        reason="too early",
        effect=0.1,
        unit="share",
        lower=None,
        upper=None,
        n=3,
        observation="one day",
        method="paired",
        guarantee="none yet",
        would_change="more days",
        series={"day": [1, 2, 3]},
        kind="paired",
        alpha=0.05,
        clusters=10,
        cluster="store",
        warnings=("few stores",),
    )


def test_the_same_record_is_kept_once_and_comes_back_as_it_was(store: Store) -> None:
    with store.write() as tx:
        first = keep_evidence(tx, some().to_dict(), at=AT, kind="paired", subject="abc")
        again = keep_evidence(tx, some().to_dict(), at=AT, kind="paired", subject="abc")
        other = keep_evidence(tx, some("keep").to_dict(), at=AT, kind="paired", subject="abd")
    assert first == again != other
    with store.read() as tx:
        assert [row.verdict for row in list_evidence(tx, kinds=("paired",))] == ["go on", "keep"]
        assert [row.subject for row in list_evidence(tx, subject="abc")] == ["abc"]
        assert Evidence.from_dict(find_evidence(tx, first[:12]).record) == some()


def test_an_id_that_is_unknown_or_ambiguous_is_refused(store: Store) -> None:
    with store.write() as tx:
        keep_evidence(tx, some().to_dict(), at=AT, kind="paired", subject="abc")
        keep_evidence(tx, some("keep").to_dict(), at=AT, kind="paired", subject="abc")
    with store.read() as tx, pytest.raises(NotFoundError, match="more than one"):
        find_evidence(tx, "")
    with store.read() as tx, pytest.raises(NotFoundError, match="no record"):
        find_evidence(tx, "zz")


def test_a_record_of_an_older_version_is_read_with_defaults() -> None:
    record = some().to_dict()
    del record["clusters"], record["warnings"]
    record["unknown"] = 1
    assert Evidence.from_dict(record).clusters is None
