"""Answers: the one function behind HTTP, the command line and the loop.

An answer is computed by the release that the store puts in charge, and stored before it is given.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import msgspec

from everloop.core.clock import Clock
from everloop.core.digest import canonical_json
from everloop.core.errors import UnavailableError
from everloop.core.ids import new_id
from everloop.core.project import Project
from everloop.models.asking import ask
from everloop.release.bundle import Release
from everloop.serve.loading import hasten_for_many
from everloop.serve.query import ForecastQuery, Resolved, level_labels, resolve
from everloop.serve.rows import RowQuery, score_values
from everloop.serve.served import Served, instant_of, load_served, wanted_in
from everloop.store.engine import Store
from everloop.store.records import Prediction, Role
from everloop.store.values import ForecastValues

__all__ = ["About", "Answer", "Answerer", "forecast_rows", "no_champion"]


class Answer(msgspec.Struct, frozen=True):
    """One answer.

    Attributes:
        prediction_id: its id; it is stored under it.
        release: the digest of the release that answered.
        state: the id of its serving state, empty for the release's own model.
        cutoff: the last instant that the model knew.
        labels: the instants of the forecast as text.
        values: the numbers.
        notes: what the reader must know beside them.
        fallback: why another than the one chosen answered, empty where that one did.
    """

    prediction_id: str
    release: str
    state: str
    cutoff: datetime
    labels: tuple[str, ...]
    values: ForecastValues
    notes: tuple[str, ...] = ()
    fallback: str = ""


class Snapshot(Protocol):
    """Numbers that were computed ahead."""

    def values(self, resolved: Resolved) -> ForecastValues | None:
        """The numbers of a query, ``None`` where they were not computed."""


class About(msgspec.Struct, frozen=True):
    """What is stored of an answer beside its numbers; see :class:`everloop.store.facts.Prediction`."""

    kind: str
    role: str = "champion"
    prediction_id: str | None = None
    twin: str | None = None
    unit: str | None = None
    experiment: str | None = None


class Answerer:
    """Answers queries and stores each answer.

    It works without a web server: it loads what is in charge when it is first asked, and again whenever the store
    says that something else is.

    Args:
        project: the project.
        store: its store.
        clock: the time that answers carry.
    """

    def __init__(self, project: Project, store: Store, clock: Clock) -> None:
        self._project = project
        self._store = store
        self._clock = clock
        self._loaded: dict[str, Served] = {}

    def served(self, role: Role = "champion") -> Served:
        """What has a role now, loaded.

        Raises:
            UnavailableError: nobody has the role.
            NotFoundError: its bundle or state is not on this machine.
            IntegrityError: a file of it was changed.
            ModelError: it cannot be loaded.
        """
        wanted = wanted_in(self._store, role)
        if wanted is None:
            raise no_champion() if role == "champion" else _no_challenger()
        loaded = self._loaded.get(role)
        if loaded is None or loaded.wanted != wanted:
            opened: Release | None = loaded.release if loaded and loaded.release.digest == wanted.release else None
            loaded = self._loaded[role] = load_served(self._project, self._store, wanted, opened=opened)
        return loaded

    def answer_forecast(
        self, query: ForecastQuery, *, kind: str = "forecast", prediction_id: str | None = None
    ) -> Answer:
        """The champion's answer, stored before it is returned.

        Raises:
            RequestError: the query does not fit.
            UnavailableError: there is no champion, or the store does not answer.
            ModelError: the model fails.
        """
        answer, prediction = self.compute(query, self.served(), About(kind, prediction_id=prediction_id))
        self.keep(prediction)
        return answer

    def answer_batch(
        self,
        role: Role = "champion",
        *,
        prediction_id: str | None = None,
        twin: str | None = None,
        query: ForecastQuery | None = None,
    ) -> Answer:
        """The base scenario of every series in one prediction.

        Args:
            role: who answers; a challenger's answer is stored as a shadow.
            prediction_id: the id to store it under, a new one by default.
            twin: for a challenger, the id of the champion's answer.
            query: another horizon or other levels than the settings'; it is not bound by ``serve.max_series``.

        Raises:
            UnavailableError: nobody has the role, the store does not answer, or the engine is away or loses its workers
                again and again.
            ModelError: the model fails.
        """
        served = self.served(role)
        parts: Snapshot | None = None
        if self._project.settings.engine.is_shared:
            from everloop.serve.batch.parts import EngineBatch  # what no server needs

            parts = EngineBatch(self._project, served)
        else:
            hasten_for_many(self._project, served)
        answer, prediction = self.compute(
            query or ForecastQuery(),
            served,
            About("batch", "champion" if role == "champion" else "shadow", prediction_id, twin),
            snapshot=parts,
        )
        self.keep(prediction)
        return answer

    def compute(
        self, query: ForecastQuery, served: Served, about: About, *, snapshot: Snapshot | None = None
    ) -> tuple[Answer, Prediction]:
        """An answer that is not stored yet, and the record to store; it may be called by several threads.

        Args:
            query: the question.
            served: who answers it.
            about: what is stored beside the numbers.
            snapshot: the base scenario of ``served``, where it is at hand.

        Raises:
            RequestError: the query does not fit.
            ModelError: the model fails.
        """
        is_limited = about.kind not in ("batch", "batch_new")
        values, record = compute_values(self._project, served, query, is_limited=is_limited, snapshot=snapshot)
        prediction = self._prediction(served, values, record, about)
        answer = Answer(
            prediction_id=prediction.id,
            release=prediction.release,
            state=prediction.state,
            cutoff=served.cutoff,
            labels=served.labels[: len(values.times)],
            values=values,
            notes=values.notes,
        )
        return answer, prediction

    def score(self, query: RowQuery, served: Served, about: About) -> tuple[dict[str, list[Any]], Prediction]:
        """Scored rows by column, and the record of them to store; it may be called by several threads.

        Raises:
            RequestError: the rows do not fit.
            ModelError: the model fails.
        """
        scored, values = score_values(self._project, served, query)
        return scored, self._prediction(served, values, query.record(), about)

    def _prediction(self, served: Served, values: ForecastValues, record: dict[str, Any], about: About) -> Prediction:
        now = self._clock.now()
        return Prediction(
            id=about.prediction_id or new_id(now),
            at=now,
            release=served.release.digest,
            state=served.state,
            role=about.role,
            kind=about.kind,
            twin=about.twin,
            first_time=instant_of(int(values.times[0])),
            last_time=instant_of(int(values.times[-1])),
            request=canonical_json(record).encode(),
            response=values.pack(),
            unit=about.unit,
            experiment=about.experiment,
        )

    def keep(self, prediction: Prediction) -> None:
        """Store what :meth:`compute` gave; an answer that is stored under its id stays as it is."""
        from everloop.store.facts import add_predictions, has_prediction  # what no server needs before it answers

        with self._store.write() as tx:
            # a batch has the id of what it was made from, and another may have made the same one meanwhile
            if not has_prediction(tx, prediction.id):
                add_predictions(tx, [prediction])


def compute_values(
    project: Project,
    served: Served,
    query: ForecastQuery,
    *,
    is_limited: bool = True,
    snapshot: Snapshot | None = None,
) -> tuple[ForecastValues, dict[str, Any]]:
    """The numbers of an answer, and the query as it is recorded."""
    settings = project.settings
    resolved = resolve(
        query,
        served,
        horizon=settings.forecast.horizon,
        levels=settings.forecast.levels,
        max_series=settings.serve.max_series if is_limited else None,
    )
    newcomers, missing = resolved.newcomers, settings.data.missing_ahead
    known = None if snapshot is None or newcomers is not None else snapshot.values(resolved)
    if known is not None:
        return known, resolved.record
    if newcomers is None:
        forecast = ask(served.model, resolved.request, missing_ahead=missing)
    else:
        forecast = newcomers.ask(served.model, resolved.request, served.panel, missing_ahead=missing)
    values = ForecastValues(
        series=resolved.keys,
        times=served.times[: resolved.request.horizon],
        mean=forecast.mean,
        lower=dict(forecast.lower),
        upper=dict(forecast.upper),
        notes=forecast.notes,
    )
    return values, resolved.record


def forecast_rows(values: ForecastValues) -> list[dict[str, Any]]:
    """The forecasts of each series as JSON values."""
    columns = {"forecast": values.mean.tolist()}
    for level in values.lower:
        low, high = level_labels(level)
        columns[low], columns[high] = values.lower[level].tolist(), values.upper[level].tolist()
    return [
        {"series": key} | {name: rows[place] for name, rows in columns.items()}
        for place, key in enumerate(values.series)
    ]


def no_champion() -> UnavailableError:
    """The error of a forecast that nobody is in charge of."""
    return UnavailableError("no_champion", "no release is in charge yet", hint="make one: everloop run")


def _no_challenger() -> UnavailableError:
    return UnavailableError("no_challenger", "no challenger is on trial", hint="everloop promote DIGEST --challenger")
