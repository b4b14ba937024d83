"""Candidates brought into charge one after the other, best first, until one holds its rehearsal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from everloop.core.clock import Clock
from everloop.core.errors import ModelError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.data.table import DatasetVersion
from everloop.experiment.lineage import Lineage
from everloop.experiment.training import fit_candidate
from everloop.improve.trial import begin_trial
from everloop.release.build import build_release
from everloop.release.bundle import Release, open_release
from everloop.release.promotion import promote
from everloop.release.registry import sync_aliases
from everloop.staging.rehearsal import rehearse
from everloop.store.deployments import in_role
from everloop.store.engine import Store
from everloop.store.events import record_event
from everloop.validate.examination import Examination
from everloop.validate.gates.result import GateResult, blocking

if TYPE_CHECKING:
    # MLflow takes three seconds to import; opening a tracker does it
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["Attempts", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a training's candidates.

    Attributes:
        release: the new release; where none holds its rehearsal the first that was made; ``None`` where no candidate
            passed its gates.
        became: ``"champion"``, ``"challenger"``, ``"rejected"`` or ``"known"`` (the champion is this very model).
        reason: a sentence for a person.
    """

    release: Release | None
    became: str
    reason: str


@dataclass(frozen=True, slots=True)
class Attempts:
    """Fits, releases and rehearses candidates in turn; the first that holds is rolled out.

    Attributes:
        project: the project.
        store: its store.
        clock: the time.
        actor: who, for the audit log.
        panel: the data that a candidate is fitted to.
        dataset: their version.
        lineage: the running code and environment.
        tracker: where the runs are recorded.
        guard: raises where this process may no longer act; asked before anything is decided.
        tell: told a word on the present step.
    """

    project: Project
    store: Store
    clock: Clock
    actor: str
    panel: Panel
    dataset: DatasetVersion
    lineage: Lineage
    tracker: Tracker
    guard: Callable[[], None]
    tell: Callable[[str], None]

    def take(self, examinations: Sequence[Examination]) -> Outcome:
        """Bring the best candidate that passes its gates and holds its rehearsal into the release's rollout.

        Each that is passed over is an event of kind ``"rejected"`` with the gates that stopped it. A candidate passes
        only where it is not worse than the champion by more than the gate's margin, so the next in turn has cleared
        the same bar. The turn ends at a candidate that gives the champion's own model: what follows is worse than it.

        Args:
            examinations: best first, at least one.

        Raises:
            ModelError: no candidate that passed its gates can be fitted to all data or saved.
            UnavailableError: MLflow or the store is away.
        """
        passed = [each for each in examinations if each.passed]
        self.guard()
        if not passed:
            return self._none_passed(examinations[0])
        for better in examinations[: examinations.index(passed[0])]:
            failed = blocking(better.gates)
            message = f"{better.candidate} has less error but failed {_told(failed)}"
            self._reject(message, better.candidate, better.gates, passed[0])
        stopped: list[tuple[Release, str]] = []
        failures: list[ModelError] = []
        for number, each in enumerate(passed):
            following = passed[number + 1] if number + 1 < len(passed) else None
            try:
                found = self._attempt(each, following, stopped)
            except ModelError as error:
                # it was backtested well, so it is its data or its files; another's may do
                failures.append(error)
                self.note_failure(each.candidate, error)
                continue
            if found is not None:
                return found
        if not stopped:
            raise failures[0]
        return Outcome(stopped[0][0], "rejected", "; ".join(message for _, message in stopped))

    def note_failure(self, candidate: str, error: ModelError) -> None:
        """Tell of a candidate that cannot be fitted."""
        message = f"candidate {candidate} failed: {error.message}"
        self._record("candidate_failed", message, candidate, error.to_dict())

    def _attempt(
        self, examination: Examination, following: Examination | None, stopped: list[tuple[Release, str]]
    ) -> Outcome | None:
        """Fit, release, rehearse and roll out a candidate; ``None`` where its rehearsal adds it to ``stopped``."""
        candidate = examination.candidate
        self.tell(f"fitting {candidate}")
        fitted = fit_candidate(self.project, self.panel, candidate, dataset=self.dataset)
        known = self._in_charge()
        if known is not None and known.manifest.model_digest == fitted.model_digest:
            reason = f"{candidate} gives the very model that is in charge already, release {known.digest[:12]}"
            return Outcome(known, "known", _after(reason, stopped))
        release = build_release(
            self.project,
            self.clock,
            examination=examination,
            fitted=fitted,
            panel=self.panel,
            dataset=self.dataset,
            lineage=self.lineage,
            tracker=self.tracker,
            store=self.store,
            actor=self.actor,
        )
        gates = blocking(rehearse(self.project, self.store, self.clock, release, trained=fitted.model))
        self.guard()
        if not gates:
            return self._roll_out(release, examination, stopped)
        message = f"release {release.digest[:12]} of {candidate} did not pass its rehearsal: {_told(gates)}"
        self._reject(message, release.digest, gates, following)
        stopped.append((release, message))
        return None

    def _none_passed(self, best: Examination) -> Outcome:
        failed = [gate for gate in best.gates if not gate.passed]
        reason = f"no candidate passed its gates; the best, {best.candidate}, failed {_told(failed)}"
        self._reject(reason, best.candidate, best.gates, None)
        return Outcome(None, "rejected", reason)

    def _reject(self, message: str, subject: str, gates: Sequence[GateResult], following: Examination | None) -> None:
        """Tell of a candidate that is passed over, and which is tried in its place."""
        evidence: dict[str, Any] = {"gates": [gate.to_dict() for gate in gates]}
        if following is not None:
            message += f"; {following.candidate} is tried next"
            evidence["next"] = following.candidate
        self._record("rejected", message, subject, evidence)

    def _record(self, kind: str, message: str, subject: str, evidence: dict[str, Any]) -> None:
        with self.store.write() as tx:
            record_event(tx, self.clock.now(), kind, message, actor=self.actor, subject=subject, evidence=evidence)

    def _in_charge(self) -> Release | None:
        with self.store.read() as tx:
            digest = in_role(tx, "champion")
        return None if digest is None else open_release(self.project.releases / digest, digest=digest)

    def _roll_out(self, release: Release, best: Examination, stopped: Sequence[tuple[Release, str]]) -> Outcome:
        """Bring a release into charge, or on trial, as ``release.rollout`` says."""
        project, store, clock, actor = self.project, self.store, self.clock, self.actor
        with store.read() as tx:
            champion = in_role(tx, "champion")
        skill = best.evaluation.skill.get(best.metric)
        shown = "" if skill is None else f", {best.metric.upper()} {skill:.1%} better than the seasonal naive's"
        reason = f"{best.candidate} passed its gates{shown}"
        if champion is None or project.settings.release.rollout == "direct":
            reason += "; " + ("nobody was in charge" if champion is None else "release.rollout is 'direct'")
            reason = _after(reason, stopped)
            promote(project, store, clock, release.digest, reason=reason, actor=actor, tracker=self.tracker)
            return Outcome(release, "champion", reason)
        reason = _after(reason, stopped)
        begin_trial(store, project.settings.release, release.digest, at=clock.now(), reason=reason, actor=actor)
        sync_aliases(project, store, clock, actor=actor, tracker=self.tracker)
        return Outcome(release, "challenger", reason)


def _told(gates: Sequence[GateResult]) -> str:
    return "; ".join(f"{gate.code}: {gate.message}" for gate in gates)


def _after(reason: str, stopped: Sequence[tuple[Release, str]]) -> str:
    """A reason, and which releases were made and stopped before it came to that."""
    if not stopped:
        return reason
    names = ", ".join(f"{release.digest[:12]} of {release.manifest.candidate}" for release, _ in stopped)
    return f"{reason}; tried after {names}, which did not pass the rehearsal"
