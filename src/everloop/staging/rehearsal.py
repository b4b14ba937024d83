"""The rehearsal of a release between its making and its roll-out: measured, judged, and kept as evidence.

What was measured differs from machine to machine and from day to day, so it is kept in the store beside the release's
digest, never in the release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from everloop.core.clock import Clock
from everloop.core.errors import EverloopError
from everloop.core.project import Project
from everloop.core.settings.training import GateSettings
from everloop.models.forecaster import Forecaster
from everloop.release.bundle import Release, load_model
from everloop.release.rehearsed import REHEARSAL, last_rehearsal
from everloop.serve.served import is_pickle_allowed
from everloop.staging.fresh import measure_afresh
from everloop.staging.measuring import Measured, measure
from everloop.staging.trained import forecasts_of, mlflow_rows
from everloop.stats.evidence import Evidence
from everloop.store.engine import Store
from everloop.store.evidence import keep_evidence
from everloop.validate.gates.result import GateResult, blocking, waived
from everloop.validate.gates.serving import latency, memory, parity

__all__ = ["judge_measured", "rehearse", "rehearse_once"]

_ROW_TOLERANCE = 1e-6
"""Linear algebra may round otherwise for one row than for many, and 32-bit models give seven digits."""


def rehearse(
    project: Project,
    store: Store,
    clock: Clock,
    release: Release,
    *,
    trained: Forecaster | None = None,
    is_timed: bool = False,
) -> tuple[GateResult, ...]:
    """Load a release as a server does, ask it, judge what was measured, and keep that as evidence.

    Args:
        project: the project; ``validate.gates`` holds the limits.
        store: its store.
        clock: dates the evidence.
        release: the release, verified.
        trained: the model as training left it; by default it is loaded from the bundle.
        is_timed: measure latency and memory where no limit asks for it too.

    Raises:
        UnavailableError: the store does not answer.
    """
    limits = project.settings.validation.gates
    measured = (
        measure_afresh(project, release.digest)
        if is_timed or limits.max_latency_ms or limits.max_memory_mb
        else measure(project, store, release.digest, is_timed=False)
    )
    same, failure = None, measured.failure
    if not failure:
        try:
            same = _held(project, store, release, measured, trained)
        except EverloopError as error:
            failure = error.message
        except Exception as error:
            # a user's own model, or the library that MLflow asks, may fail in any way; that is an answer too
            failure = f"the trained model itself cannot be asked: {type(error).__name__}: {error}"
    if same is None:
        message = f"it cannot be served: {failure}"
        same = GateResult("G_PARITY", "serves_as_trained", False, "error", message, {"failure": failure})
    gates = judge_measured(same, measured, limits)
    _keep(store, clock, release.digest, gates, measured)
    return gates


def rehearse_once(project: Project, store: Store, clock: Clock, release: Release) -> tuple[GateResult, ...]:
    """The verdicts on a release by today's limits and waivers; it is measured only where it was not before.

    Raises:
        UnavailableError: the store does not answer.
    """
    limits = project.settings.validation.gates
    with store.read() as tx:
        record = last_rehearsal(tx, release.digest)
    if record is None or not record["gates"][0]["passed"]:  # a missing library may have been installed since
        return rehearse(project, store, clock, release)
    if (limits.max_latency_ms or limits.max_memory_mb) and not record["measured"]["rounds"]:
        return rehearse(project, store, clock, release)
    measured = msgspec.convert(record["measured"], Measured)
    same = GateResult(**record["gates"][0])
    gates = judge_measured(same, measured, limits)
    if [gate.to_dict() for gate in gates] != record["gates"]:
        _keep(store, clock, release.digest, gates, measured)
    return gates


def judge_measured(same: GateResult, measured: Measured, limits: GateSettings) -> tuple[GateResult, ...]:
    """The verdicts on what was measured; a limit of 0 asks for none.

    Args:
        same: the verdict on what was answered.
        measured: what was measured.
        limits: the limits, and what is let pass.
    """
    found = [same]
    if limits.max_latency_ms and not measured.failure:
        found.append(latency(measured.rounds, limits.max_latency_ms))
    if limits.max_memory_mb and not measured.failure:
        found.append(memory(measured.peak_mb, limits.max_memory_mb, before=measured.before_mb))
    return waived(found, limits.waive)


def _held(
    project: Project, store: Store, release: Release, measured: Measured, trained: Forecaster | None
) -> GateResult:
    if release.manifest.signature is not None:
        return parity(mlflow_rows(release), measured.answers, tolerance=_ROW_TOLERANCE)
    if trained is None:
        is_allowed = is_pickle_allowed(project, store, release.digest)
        trained = load_model(release, root=project.root, allow_pickle=is_allowed)
    return parity(forecasts_of(project, release, trained), measured.answers)


def _keep(store: Store, clock: Clock, digest: str, gates: tuple[GateResult, ...], measured: Measured) -> None:
    now = clock.now()
    # the answers are the release's own and can be had again at any time
    kept: Mapping[str, Any] = msgspec.to_builtins(msgspec.structs.replace(measured, answers={}))
    record = evidence_of(gates, measured).to_dict()
    record |= {"gates": [gate.to_dict() for gate in gates], "measured": kept, "figures": figures_of(measured)}
    record["at"] = now.isoformat()
    with store.write() as tx:
        keep_evidence(tx, record, at=now, kind=REHEARSAL, subject=digest)


def figures_of(measured: Measured) -> dict[str, float | None]:
    """What was measured in a few numbers, those of the least disturbed round; empty where nothing was timed."""
    if not measured.rounds:
        return {}
    best = min(measured.rounds, key=lambda each: float(np.percentile(each, 95)))
    return {
        "p50_ms": float(np.percentile(best, 50)),
        "p95_ms": float(np.percentile(best, 95)),
        "peak_mb": measured.peak_mb,
        "before_mb": measured.before_mb,
    }


def evidence_of(gates: tuple[GateResult, ...], measured: Measured) -> Evidence:
    """A rehearsal as evidence."""
    stopped = blocking(gates)
    shown = [gate for gate in gates if not gate.passed] or list(gates)
    return Evidence(
        question="Does the release answer as the trained model does, within its limits of time and memory?",
        verdict="stopped" if stopped else "passed",
        reason="; ".join(gate.message for gate in shown),
        effect=None,
        unit="",
        lower=None,
        upper=None,
        n=sum(map(len, measured.rounds)) or int(gates[0].evidence.get("cases", 0)),
        observation="a request for one series or row",
        method="the release is loaded and asked as a server loads and asks it"
        + (", in a process of its own" if measured.rounds else ""),
        guarantee="none beyond what was asked: the figures are of this machine and this moment",
        would_change="everloop rehearse measures anew; validate.gates holds the limits and what is waived",
        kind=REHEARSAL,
    )
