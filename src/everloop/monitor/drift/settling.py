"""What follows from a look at drift: the alert, the evidence that is kept, and a change that was accepted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection

from everloop.core.errors import ConflictError
from everloop.monitor.drift.report import DriftReport
from everloop.store.alerts import clear_alert, open_alerts, raise_alert
from everloop.store.deployments import ReleaseRow
from everloop.store.engine import Store
from everloop.store.events import record_event
from everloop.store.evidence import keep_evidence
from everloop.store.marks import get_mark, set_mark
from everloop.store.standing import keep_drift_standing

__all__ = ["DRIFT_ALERT", "Acceptance", "accept_drift", "accepted_change", "concerns", "reset_day", "settle_drift"]

DRIFT_ALERT = "drift"
_ACCEPTED = "drift_accepted"
_LONGEST_RESET = 28
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMED = "drift_named"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A change that somebody accepted: what came until then is the new normal.

    Attributes:
        at: when it was accepted.
        since: the first day of the change, ``None`` where none was open.
        reason: why.
    """

    at: datetime
    since: date | None
    reason: str


def accepted_change(connection: Connection) -> Acceptance | None:
    """The change that was accepted last, ``None`` where none ever was."""
    value = get_mark(connection, _ACCEPTED)
    if value is None:
        return None
    since = date.fromisoformat(value["since"]) if value["since"] else None
    return Acceptance(datetime.fromisoformat(value["at"]), since, value["reason"])


def settle_drift(store: Store, report: DriftReport, *, at: datetime, actor: str) -> None:
    """Raise the alert while drift is seen, end it when none is any more; keep the evidence of what is new.

    Args:
        store: the store.
        report: what was found.
        at: when.
        actor: who looked.
    """
    evidence = report.evidence
    named = {"release": report.release.digest, "columns": sorted(each.column for each in report.drifting)}
    since = {"since": report.since and report.since.isoformat()}
    with store.write() as tx:
        keep_drift_standing(tx, report.release.digest, evidence.verdict, report.standing, at=at)
        if evidence.verdict != "drift":
            if evidence.verdict == "no drift":
                clear_alert(tx, DRIFT_ALERT, at=at, actor=actor)
                set_mark(tx, _NAMED, None, at=at)
            return
        before = get_mark(tx, _NAMED)
        set_mark(tx, _NAMED, {**named, **since}, at=at)
        if before is not None and {name: before.get(name) for name in named} == named:
            return
        # another column, or another release: the evidence of each is kept once, the alert stays one
        keep_evidence(tx, evidence.to_dict(), at=at, kind="drift", subject=report.release.digest)
        raise_alert(
            tx,
            DRIFT_ALERT,
            evidence.reason,
            at=at,
            actor=actor,
            hint="see: everloop monitor drift; a retraining starts by itself where retrain.on holds 'drift'; "
            "if the change is as you want it: everloop monitor --accept drift --reason TEXT",
            subject=report.release.digest,
            evidence={**evidence.to_dict(), **named, **since},
        )


def accept_drift(store: Store, *, at: datetime, actor: str, reason: str) -> Acceptance:
    """Accept the change that is seen now: the alert ends, and what came since it began becomes what is expected.

    Args:
        store: the store.
        at: when.
        actor: who accepts it.
        reason: why, for the audit log.

    Raises:
        ConflictError: no drift is open that could be accepted.
    """
    with store.write() as tx:
        alert = next((each for each in open_alerts(tx) if each.code == DRIFT_ALERT), None)
        if alert is None:
            raise ConflictError(
                "drift_none", "there is no open drift to accept", hint="look at it: everloop monitor drift"
            )
        opened = get_mark(tx, _NAMED) or {}
        value = {"at": at.isoformat(), "since": opened.get("since"), "reason": reason}
        set_mark(tx, _ACCEPTED, value, at=at)
        set_mark(tx, _NAMED, None, at=at)
        clear_alert(tx, DRIFT_ALERT, at=at, actor=actor)
        columns = ", ".join(opened.get("columns", ())) or "no column"
        record_event(
            tx,
            at,
            "drift_accepted",
            f"the change of {columns} is accepted: {reason}",
            actor=actor,
            subject=opened.get("release", ""),
            evidence={**value, "columns": opened.get("columns", [])},
        )
    return Acceptance(at, date.fromisoformat(value["since"]) if value["since"] else None, reason)


def concerns(accepted: Acceptance, release: ReleaseRow) -> bool:
    """Whether a change was accepted after a release was trained, which had not seen it then."""
    return accepted.at > release.cutoff


def reset_day(release: ReleaseRow, accepted: Acceptance | None) -> int | None:
    """The day from which an accepted change is what is expected.

    It is when the change began, but no more than four weeks before it was accepted: a slow change had gone further
    by then.
    """
    if accepted is None or not concerns(accepted, release):
        return None
    day = (accepted.at.astimezone(UTC) - _EPOCH).days
    if accepted.since is None:
        return day
    return min(max((accepted.since - _EPOCH.date()).days, day - _LONGEST_RESET), day)
