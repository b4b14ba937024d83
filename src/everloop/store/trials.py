"""Trials: a challenger beside the champion, until it is decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from everloop.store.schema import trials

__all__ = ["Trial", "decide_trial", "list_trials", "open_trial", "start_trial"]


@dataclass(frozen=True, slots=True)
class Trial:
    """A challenger's trial; ``decision`` is ``"promote"`` or ``"keep"`` once it is decided."""

    seq: int
    challenger: str
    champion: str
    started_at: datetime
    decided_at: datetime | None
    decision: str | None
    evidence: dict[str, Any] | None


def start_trial(connection: Connection, challenger: str, champion: str, *, at: datetime) -> None:
    """Open a trial."""
    connection.execute(insert(trials).values(challenger=challenger, champion=champion, started_at=at))


def open_trial(connection: Connection) -> Trial | None:
    """The trial that is going on."""
    query = select(trials).where(trials.c.decided_at.is_(None)).order_by(trials.c.seq.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else Trial(**row._mapping)


def decide_trial(
    connection: Connection, trial: Trial, decision: str, evidence: dict[str, Any], *, at: datetime
) -> None:
    """Close a trial with its decision and evidence."""
    query = update(trials).where(trials.c.seq == trial.seq, trials.c.decided_at.is_(None))
    connection.execute(query.values(decided_at=at, decision=decision, evidence=evidence))


def list_trials(connection: Connection, *, limit: int = 100) -> list[Trial]:
    """The newest trials, oldest of them first."""
    query = select(trials).order_by(trials.c.seq.desc()).limit(limit)
    return [Trial(**row._mapping) for row in reversed(connection.execute(query).all())]
