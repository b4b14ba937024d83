"""An alert when the live errors of a model of rows have left the range of its first weeks."""

from __future__ import annotations

from datetime import datetime

from everloop.improve.rollback import RANGE_ALERT
from everloop.monitor.row_live import RowReport
from everloop.store.alerts import clear_alert, raise_alert
from everloop.store.engine import Store
from everloop.store.evidence import keep_evidence
from everloop.store.standing import keep_live_standing

__all__ = ["settle_row_ranges"]

_HINT = "see: everloop monitor; to go back by hand: everloop rollback"


def settle_row_ranges(store: Store, report: RowReport, *, at: datetime, actor: str) -> None:
    """Raise the alert while a kind of error is beyond its range, and end it when all are back.

    Models of rows are not rolled back by themselves: what the one before would have answered is not known.
    """
    out = next((each for each in report.watches if each.verdict in ("above", "below")), None)
    subject = report.release.digest
    with store.write() as tx:
        keep_live_standing(tx, subject, report.standing, at=at)
        if out is None:
            clear_alert(tx, RANGE_ALERT, at=at, actor=actor)
            return
        record = out.evidence.to_dict()
        reason = out.evidence.reason
        if raise_alert(tx, RANGE_ALERT, reason, at=at, actor=actor, hint=_HINT, subject=subject, evidence=record):
            keep_evidence(tx, record, at=at, kind=out.evidence.kind, subject=subject)
