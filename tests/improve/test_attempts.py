"""Where the best candidate does not hold, the next one in turn is tried, and the log tells of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import ModelError
from everloop.core.project import Project
from everloop.data.ingest import ingest
from everloop.improve.retraining import Retraining, retrain
from everloop.improve.triggers import Trigger
from everloop.store.deployments import in_role
from everloop.store.engine import open_store
from everloop.store.events import Event, list_events
from kiosk import TOY, at

DAYS = 100
FORGETFUL = '''

class Forgetful(MeanOfWeeks):
    """Says one more once it was read from its files."""

    surplus = 0.0

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.surplus = 1.0

    def forecast(self, request):
        told = super().forecast(request)
        return Forecast(
            series=told.series, cutoff=told.cutoff, mean=told.mean + self.surplus, lower=told.lower, upper=told.upper
        )


class Sly(Forgetful):
    """Passes the gates all the same; only a server finds it out."""

    skipped_checks = {"check_round_trip": "it would fail"}


class Twin(Sly):
    """Another of its kind, with a longer memory."""

    def __init__(self, *, weeks: int = 5) -> None:
        super().__init__(weeks=weeks)


class Unsaved(MeanOfWeeks):
    """Cannot be written to a file."""

    skipped_checks = {"check_round_trip": "no file", "check_same_bytes": "no file", "check_single": "no file"}

    def save(self, folder):
        raise ModelError("model_files", "nothing to write on", hint="buy paper")
'''


@dataclass
class Trained:
    """What a retraining came to, and what the log tells of it."""

    found: Retraining
    events: list[Event]
    champion: str | None


def trained(project: Project, *rounds: tuple[str, ...]) -> Trained:
    """Retrain once with each list of candidates."""
    code = TOY + "\nfrom everloop.core.errors import ModelError\n" + FORGETFUL
    (project.root / "sly.py").write_text(code, encoding="utf-8")
    clock = ManualClock(at(DAYS))
    ingest(project, clock)
    store = open_store(project.store_url, fsync=False)
    try:
        for names in rounds:
            train = project.settings.train.model_copy(update={"candidates": names})
            chosen = replace(project, settings=project.settings.model_copy(update={"train": train}))
            found = retrain(chosen, store, clock, Trigger("person", "try"), actor="test")
        with store.read() as tx:
            kinds = ("rejected", "candidate_failed", "promoted", "challenged")
            return Trained(found, list_events(tx, kinds=kinds), in_role(tx, "champion"))
    finally:
        store.close()


def test_a_release_that_fails_its_rehearsal_gives_way_to_the_second_best(make_kiosk: Callable[..., Project]) -> None:
    done = trained(make_kiosk(days=DAYS), ("seasonal_naive", "sly:Sly"))
    assert [each.candidate for each in done.found.examinations] == ["sly:Sly", "seasonal_naive"]
    assert done.found.became == "champion"
    assert done.found.release is not None
    assert done.found.release.manifest.candidate == "seasonal_naive"
    assert done.champion == done.found.release.digest
    rejected, promoted = done.events
    assert (rejected.kind, promoted.kind) == ("rejected", "promoted")
    assert "of sly:Sly did not pass its rehearsal: G_PARITY" in rejected.message
    assert rejected.message.endswith("seasonal_naive is tried next")
    assert rejected.evidence["next"] == "seasonal_naive"
    assert [gate["code"] for gate in rejected.evidence["gates"]] == ["G_PARITY"]
    assert f"tried after {rejected.subject[:12]} of sly:Sly" in done.found.reason


def test_a_candidate_that_fails_a_gate_is_told_of_and_passed_over(make_kiosk: Callable[..., Project]) -> None:
    done = trained(make_kiosk(days=DAYS), ("seasonal_naive", "sly:Forgetful"))
    rejected, promoted = done.events
    assert (rejected.kind, rejected.subject) == ("rejected", "sly:Forgetful")
    assert "has less error but failed G_REPRODUCIBLE" in rejected.message
    assert rejected.evidence["next"] == "seasonal_naive"
    assert promoted.subject == done.champion
    assert "tried after" not in done.found.reason


def test_where_none_holds_the_champion_stays(make_kiosk: Callable[..., Project]) -> None:
    done = trained(make_kiosk(days=DAYS), ("seasonal_naive",), ("sly:Sly", "sly:Twin"))
    assert done.found.became == "rejected"
    assert done.found.release is not None
    promoted, first, second = done.events
    assert done.champion == promoted.subject
    assert [first.kind, second.kind] == ["rejected", "rejected"]
    assert first.subject == done.found.release.digest
    assert first.evidence["next"] == done.found.examinations[1].candidate
    assert "next" not in second.evidence
    assert done.found.reason.count("did not pass its rehearsal") == 2


def test_the_turn_ends_at_the_model_that_is_in_charge(make_kiosk: Callable[..., Project]) -> None:
    done = trained(make_kiosk(days=DAYS), ("seasonal_naive",), ("seasonal_naive", "sly:Sly"))
    assert done.found.became == "known"
    assert done.found.release is not None
    assert done.champion == done.found.release.digest
    assert "the very model that is in charge" in done.found.reason
    assert "tried after" in done.found.reason
    assert [each.kind for each in done.events] == ["promoted", "rejected"]


def test_a_model_that_cannot_be_saved_gives_way_too(make_kiosk: Callable[..., Project]) -> None:
    done = trained(make_kiosk(days=DAYS), ("seasonal_naive", "sly:Unsaved"))
    failed, promoted = done.events
    assert (failed.kind, failed.subject) == ("candidate_failed", "sly:Unsaved")
    assert promoted.subject == done.champion
    assert done.found.became == "champion"
    with pytest.raises(ModelError, match="nothing to write on"):
        trained(make_kiosk(days=DAYS, name="alone"), ("sly:Unsaved",))
