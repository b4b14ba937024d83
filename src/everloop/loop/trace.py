"""From one served prediction back to its model, code, data and environment, and forward to the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from everloop.core.errors import NotFoundError
from everloop.core.project import Project
from everloop.data.table import head
from everloop.improve.intervals import widths_of
from everloop.improve.refresh import LoadedReleases, make_state
from everloop.loop.trace_truth import TracedTruth, truth_of
from everloop.release.bundle import open_release
from everloop.release.manifest import Manifest
from everloop.serve.repeating import Values, are_equal, numbers_of, repeat, stored_values
from everloop.stats.adaptive import Widths
from everloop.store.deployments import StateRow, find_state
from everloop.store.engine import Store
from everloop.store.facts import Prediction, find_prediction
from everloop.store.values import ForecastValues

__all__ = ["Repetition", "Trace", "repeat_prediction", "trace_prediction"]


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a prediction came from.

    Attributes:
        prediction: what is stored of it.
        values: its numbers.
        manifest: its release's manifest: run, code, environment, training data.
        state: what it was served from; ``None`` for the release as it was fitted.
        truth: what is known by now of what it spoke of.
        widths: how the state's intervals were stretched, ``None`` where they were the release's own.
    """

    prediction: Prediction
    values: Values
    manifest: Manifest
    state: StateRow | None
    truth: TracedTruth
    widths: Widths | None = None

    def to_dict(self) -> dict[str, Any]:
        """The trace as JSON values."""
        provenance = self.manifest.provenance
        return {
            "prediction": self.prediction.id,
            "at": self.prediction.at,
            "kind": self.prediction.kind,
            "role": self.prediction.role,
            "release": self.prediction.release,
            "candidate": self.manifest.candidate,
            "model_class": self.manifest.model_class,
            "model_digest": self.manifest.model_digest,
            "run": self.manifest.run_id,
            "git_commit": provenance.git_commit,
            "git_dirty": provenance.git_dirty,
            "trained_on": {"version": self.manifest.dataset.version, "digest": self.manifest.dataset.digest},
            "trained_until": self.manifest.cutoff,
            "served_from": None
            if self.state is None
            else {
                "state": self.state.id,
                "version": self.state.dataset_version,
                "digest": self.state.dataset_digest,
                "until": self.state.cutoff,
                "intervals": None if self.widths is None else self.widths.to_dict(),
            },
            "environment": {
                "lock": provenance.lock_digest,
                "python": provenance.python,
                "platform": provenance.platform,
                "everloop": provenance.everloop,
            },
            "seed": provenance.seed,
            "request": msgspec.json.decode(self.prediction.request or b"null"),
            "answer": _answer_of(self),
            "outcomes": self.truth.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Repetition:
    """What came of computing a prediction again.

    Attributes:
        is_equal: whether every number is the same, bit for bit.
        state_is_equal: whether the serving state, made again from release and data, has the same digest.
        numbers: how many numbers were compared.
        largest_difference: the largest absolute difference of the forecasts, ``None`` where they cannot be compared.
        reason: a sentence for a person.
    """

    is_equal: bool
    state_is_equal: bool
    numbers: int
    largest_difference: float | None
    reason: str


def trace_prediction(project: Project, store: Store, identifier: str) -> Trace:
    """Where a prediction came from.

    Raises:
        NotFoundError: there is no such prediction, or its release's bundle is gone.
        IntegrityError: the bundle was changed since.
    """
    with store.read() as tx:
        prediction = find_prediction(tx, identifier)
        state = find_state(tx, prediction.state) if prediction.state else None
        truth = truth_of(project, tx, prediction)
        widths = widths_of(tx, prediction.state)
    release = open_release(project.releases / prediction.release, digest=prediction.release)
    return Trace(prediction, stored_values(prediction), release.manifest, state, truth, widths)


def repeat_prediction(project: Project, store: Store, trace: Trace) -> Repetition:
    """Compute a prediction again from its release, the dataset version and its request.

    The serving state is not taken from disk: it is made again from the release and the table's old version.

    Raises:
        NotFoundError: the release, the dataset version, or what was asked is not there any more.
        IntegrityError: the dataset version holds other content than it did.
    """
    if not trace.prediction.request:
        raise NotFoundError(
            "inputs_not_kept",
            f"what was asked for prediction {trace.prediction.id} was not kept, so it cannot be computed again",
            hint="log.inputs is the share of the requests whose inputs are kept",
        )
    is_same_state = True
    if trace.state is not None:
        dataset = head(project.table, trace.state.dataset_version)
        if dataset is None or dataset.digest != trace.state.dataset_digest:
            found = "nothing" if dataset is None else dataset.digest[:12]
            raise NotFoundError(
                "dataset_gone",
                f"dataset version {trace.state.dataset_version} is {found} now, not {trace.state.dataset_digest[:12]}",
                hint="was the table deleted and made anew?",
            )
        loaded = LoadedReleases(project)
        made = make_state(project, trace.prediction.release, dataset, loaded=loaded, widths=trace.widths)
        is_same_state = made.id == trace.state.id
    if not is_same_state:
        return Repetition(False, False, 0, None, "the serving state that the data give now has another digest")
    again = repeat(project, store, trace.prediction)
    before, after = numbers_of(trace.values), numbers_of(again)
    if are_equal(again, trace.values):
        return Repetition(True, True, after.size, 0.0, f"all {after.size} numbers are equal, bit for bit")
    is_comparable = before.shape == after.shape and bool(np.isfinite(before - after).any())
    difference = float(np.nanmax(np.abs(after - before))) if is_comparable else None
    return Repetition(False, True, after.size, difference, "the numbers differ")


def _answer_of(trace: Trace) -> dict[str, Any]:
    """What was answered, in short."""
    values = trace.values
    if isinstance(values, ForecastValues):
        return {
            "series": len(values.series),
            "steps": len(values.times),
            "first": trace.prediction.first_time,
            "last": trace.prediction.last_time,
            "notes": list(values.notes),
        }
    return {"rows": max((len(each) for each in values.values()), default=0), "outputs": list(values)}
