"""Promotion and rollback: who is in charge is one row of the store, written together with its event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from everloop.core.clock import Clock
from everloop.core.errors import GateError, NotFoundError, UsageError
from everloop.core.project import Project
from everloop.release.bundle import open_release
from everloop.release.registry import sync_aliases
from everloop.release.rehearsed import rehearsed_gates
from everloop.release.rollout import begin_rollout, end_rollout
from everloop.store.deployments import ReleaseRow, Role, deploy, deployment_history, find_release, in_role
from everloop.store.engine import Store
from everloop.store.events import list_events, record_event

if TYPE_CHECKING:
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["Promotion", "failed_gates", "previous_champion", "promote", "rollback", "withdraw_challenger"]


@dataclass(frozen=True, slots=True)
class Promotion:
    """What changed.

    Attributes:
        role: the role.
        release: the digest of who has it now, ``None`` for nobody.
        previous: the digest of who had it before.
        changed: whether anything changed; promoting who is in charge already changes nothing.
        warning: why MLflow's aliases are behind, empty where they are in step.
    """

    role: Role
    release: str | None
    previous: str | None
    changed: bool = True
    warning: str = ""


def failed_gates(row: ReleaseRow, rehearsed: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """The gates that stop a release from being promoted without force: its own, and those of its rehearsal."""
    return [
        gate
        for gate in (*row.gates, *rehearsed)
        if not gate["passed"] and gate.get("severity") != "warning" and not gate.get("waived")
    ]


def promote(
    project: Project,
    store: Store,
    clock: Clock,
    name: str,
    *,
    role: Role = "champion",
    reason: str,
    actor: str,
    force: bool = False,
    tracker: Tracker | None = None,
) -> Promotion:
    """Give a role to a release, after verifying its bundle; servers follow within their poll interval.

    What a rehearsal showed counts like the gates of the backtest, where the store keeps one.

    A challenger that becomes champion is no challenger any more. A split of the traffic ends with the roles that it was
    made for; a new challenger gets its share as ``release.rollout`` says.

    Args:
        project: the project.
        store: its store.
        clock: dates the change.
        name: a digest, the beginning of one, or a role.
        role: ``"champion"`` or ``"challenger"``.
        reason: why, for the audit log.
        actor: who or what.
        force: promote although a gate failed; the reason is then recorded with the failed gates.
        tracker: an open tracker, opened here where it is ``None``.

    Raises:
        NotFoundError: there is no such release, or its bundle is gone.
        IntegrityError: the bundle was changed.
        GateError: a gate failed, and it is not forced.
        UsageError: it is forced without a reason, or the champion is to be its own challenger.
    """
    row, failed = _promotable(project, store, name, reason=reason, force=force)
    now = clock.now()
    with store.write() as tx:
        previous = in_role(tx, role)
        if role == "challenger" and in_role(tx, "champion") == row.digest:
            raise UsageError(
                "champion_challenger",
                f"release {row.digest[:12]} is the champion already",
                hint="there is nothing to try",
            )
        if previous != row.digest:
            deploy(tx, role, row.digest, at=now, reason=reason)
            if role == "champion" and in_role(tx, "challenger") == row.digest:
                deploy(tx, "challenger", None, at=now, reason="became champion")
            evidence: dict[str, Any] = {"previous": previous, "reason": reason, "metrics": row.metrics}
            if failed:
                evidence["forced_gates"] = [gate["name"] for gate in failed]
            kind = "promoted" if role == "champion" else "challenged"
            message = f"{row.digest[:12]} ({row.candidate}) is {role}: {reason}"
            record_event(tx, now, kind, message, actor=actor, subject=row.digest, evidence=evidence)
            if role == "champion":
                end_rollout(tx, at=now, reason=message, actor=actor)
            else:
                if previous is not None:
                    end_rollout(tx, at=now, reason=message, actor=actor, release=previous)
                begin_rollout(tx, project.settings.release, row.digest, at=now, reason=reason, actor=actor)
    warning = sync_aliases(project, store, clock, actor=actor, tracker=tracker)
    return Promotion(role, row.digest, previous, previous != row.digest, warning)


def _promotable(
    project: Project, store: Store, name: str, *, reason: str, force: bool
) -> tuple[ReleaseRow, list[dict[str, Any]]]:
    """The verified release that is named, and its gates that failed, which are none where it is not forced."""
    if force and not reason.strip():
        raise UsageError("reason_missing", "a forced promotion needs a reason", hint="say why: --reason '...'")
    with store.read() as tx:
        row = find_release(tx, name)
        rehearsed = rehearsed_gates(tx, row.digest)
    open_release(project.releases / row.digest, digest=row.digest)
    failed = failed_gates(row, rehearsed)
    if failed and not force:
        names = ", ".join(gate["name"] for gate in failed)
        raise GateError(
            "gates_failed",
            f"release {row.digest[:12]} failed {names}: {failed[0]['message']}",
            hint="train a better one, or promote it all the same: --force --reason '...'",
        )
    return row, failed


def rollback(
    project: Project, store: Store, clock: Clock, *, reason: str, actor: str, tracker: Tracker | None = None
) -> Promotion:
    """Put the previous champion back in charge; again, and it is the one before that.

    Raises:
        NotFoundError: there is no previous champion, or its bundle is gone.
        IntegrityError: its bundle was changed.
        UsageError: somebody else changed the champion in the meantime.
    """
    current, target = previous_champion(store)
    open_release(project.releases / target, digest=target)
    now = clock.now()
    with store.write() as tx:
        if _line_of_champions(tx)[-2:] != [target, current]:
            raise UsageError(
                "rollback_raced", "the champion was changed at the same time", hint="look again: everloop status"
            )
        deploy(tx, "champion", target, at=now, reason=f"rolled back: {reason}")
        seq = deployment_history(tx, "champion")[0].seq
        message = f"rolled back from {current[:12]} to {target[:12]}: {reason}"
        evidence = {"from": current, "to": target, "reason": reason, "deployment": seq}
        record_event(tx, now, "rolled_back", message, actor=actor, subject=target, evidence=evidence)
        end_rollout(tx, at=now, reason=message, actor=actor)
    return Promotion(
        "champion", target, current, True, sync_aliases(project, store, clock, actor=actor, tracker=tracker)
    )


def previous_champion(store: Store) -> tuple[str, str]:
    """The digests of the champion and of the one that a rollback would put in charge.

    Raises:
        NotFoundError: there is no previous champion.
    """
    with store.read() as tx:
        line = _line_of_champions(tx)
    if len(line) < 2:
        raise NotFoundError(
            "rollback_nowhere",
            "there is no previous champion to go back to",
            hint="promote a release: everloop promote DIGEST; list them: everloop release --list",
        )
    return line[-1], line[-2]


def withdraw_challenger(
    project: Project, store: Store, clock: Clock, *, reason: str, actor: str, tracker: Tracker | None = None
) -> Promotion | None:
    """Take the challenger out of its role; ``None`` where there is none."""
    now = clock.now()
    with store.write() as tx:
        previous = in_role(tx, "challenger")
        if previous is None:
            return None
        deploy(tx, "challenger", None, at=now, reason=reason)
        message = f"{previous[:12]} is no challenger any more: {reason}"
        record_event(tx, now, "withdrawn", message, actor=actor, subject=previous, evidence={"reason": reason})
        end_rollout(tx, at=now, reason=message, actor=actor, release=previous)
    return Promotion(
        "challenger", None, previous, True, sync_aliases(project, store, clock, actor=actor, tracker=tracker)
    )


def _line_of_champions(tx: Connection) -> list[str]:
    """The champions that led to the present one, oldest first: a rollback takes the last one off."""
    rollbacks = {event.evidence.get("deployment") for event in list_events(tx, kinds=("rolled_back",), limit=10_000)}
    line: list[str] = []
    for each in reversed(deployment_history(tx, "champion")):
        if each.seq in rollbacks and len(line) > 1:
            line.pop()
        elif each.release is not None and (not line or line[-1] != each.release):
            line.append(each.release)
    return line
