"""One batch of forecasts: made once for each release, state and question, and read from the store after that.

The loop stores a batch after each change of the data, so a command that only writes it out need not load a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from everloop.core.clock import Clock
from everloop.core.digest import canonical_json, digest_json
from everloop.core.errors import IntegrityError
from everloop.core.project import Project
from everloop.release.bundle import open_release
from everloop.release.manifest import Manifest
from everloop.serve.answers import Answerer, no_champion
from everloop.serve.query import ForecastQuery, fitting_horizon, fitting_levels
from everloop.serve.served import wanted_in
from everloop.store.deployments import find_state
from everloop.store.engine import Store
from everloop.store.facts import find_prediction, has_prediction
from everloop.store.values import ForecastValues

__all__ = ["Batch", "batch_id", "make_batch", "stored_answer"]


@dataclass(frozen=True, slots=True)
class Batch:
    """The forecasts of every series from one cutoff.

    Attributes:
        prediction_id: what they are stored under.
        release: the digest of the release.
        state: the id of its serving state, empty for the release's own model.
        cutoff: the last instant that the model knew.
        values: the numbers.
        is_stored: whether they were in the store already.
    """

    prediction_id: str
    release: str
    state: str
    cutoff: datetime
    values: ForecastValues
    is_stored: bool


def batch_id(release: str, state: str, *rest: Any) -> str:
    """The id of a batch: made again, it is the same one (a UUID of version 8, RFC 9562).

    Args:
        release: the release's digest.
        state: the serving state's id.
        rest: what else tells it from another, as JSON values.
    """
    text = digest_json([release, state, *rest])
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-8{text[17:20]}-{text[20:32]}"


def make_batch(
    project: Project, store: Store, clock: Clock, query: ForecastQuery, *, answerer: Answerer | None = None
) -> Batch:
    """The champion's forecast of every series, from the store where the same was made before.

    Args:
        project: the project.
        store: its store.
        clock: the time that a new prediction carries.
        query: horizon and levels; it is about all series.
        answerer: what answers, where the caller has loaded one already.

    Raises:
        UnavailableError: there is no champion, or the store does not answer.
        RequestError: horizon or levels do not fit the release.
        ModelError: the model fails.
    """
    wanted = wanted_in(store, "champion")
    if wanted is None:
        raise no_champion()
    manifest = open_release(project.releases / wanted.release, digest=wanted.release).manifest
    record = _record(project, manifest, query)
    loops, own = (batch_id(wanted.release, wanted.state, ""), batch_id(wanted.release, wanted.state, "", record))
    # the loop's own batch has the settings' horizon and levels
    is_usual = record == _record(project, manifest, ForecastQuery())
    names = (loops, own) if is_usual else (own,)
    with store.read() as tx:
        state = find_state(tx, wanted.state) if wanted.state else None
    stored = stored_answer(store, names, record)
    if stored is not None:
        cutoff = datetime.fromisoformat(manifest.cutoff) if state is None else state.cutoff
        return Batch(stored[0], wanted.release, wanted.state, cutoff, stored[1], is_stored=True)
    with store.read() as tx:
        # an id is taken where the settings changed since, or what is stored cannot be read
        name = next((each for each in names if not has_prediction(tx, each)), None)
    answer = (answerer or Answerer(project, store, clock)).answer_batch(prediction_id=name, query=query)
    return Batch(answer.prediction_id, answer.release, answer.state, answer.cutoff, answer.values, is_stored=False)


def _record(project: Project, manifest: Manifest, query: ForecastQuery) -> dict[str, Any]:
    """The question with everything spelled out, as it is stored with its answer."""
    settings = project.settings.forecast
    levels = fitting_levels(settings.levels if query.levels is None else query.levels)
    steps = fitting_horizon(query.horizon, default=settings.horizon, most=manifest.horizon)
    return {"series": None, "horizon": steps, "levels": list(levels), "future": {}}


def stored_answer(store: Store, names: tuple[str, ...], record: dict[str, Any]) -> tuple[str, ForecastValues] | None:
    """The answer to the very same question and its id, where it is in the store and can be read.

    Args:
        store: the store.
        names: the ids that it may have.
        record: the question with everything spelled out.
    """
    asked = canonical_json(record).encode()
    with store.read() as tx:
        found = [find_prediction(tx, name) for name in names if has_prediction(tx, name)]
    for each in found:
        if each.request != asked:
            continue
        try:
            return each.id, ForecastValues.unpack(each.response)
        except IntegrityError:
            continue
    return None
