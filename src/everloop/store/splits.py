"""Traffic splits: which share of the units each release answers, as it was set, changed and ended.

A split is one experiment. Each change of its weights is a new *stage* with the same salt; rows are only ever added,
so that it can be told which weights drew an answer. A prediction stores the label of its stage.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, case, func, insert, select

from everloop.core.errors import NotFoundError, UsageError
from everloop.core.ids import new_id
from everloop.store.events import record_event
from everloop.store.records import MILLION, Stage, TrafficSplit
from everloop.store.schema import predictions, splits

__all__ = [
    "MILLION",
    "ArmCount",
    "Stage",
    "TrafficSplit",
    "change_split",
    "count_arms",
    "end_split",
    "fitting_weights",
    "latest_split",
    "split_in_force",
    "start_split",
]


_EXPERIMENT_CHARS = 23  # with a dot and a stage's number it still fits the column
_TOLERANCE = 1e-4
_CLOCK_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ArmCount:
    """How much a release answered in a stage of a split.

    Attributes:
        stage: the number of the stage.
        release: the release's digest.
        requests: its answers.
        units: the units whose first answer in the whole split was one of these.
        loose: its answers to requests that named no unit.
    """

    stage: int
    release: str
    requests: int
    units: int
    loose: int


def fitting_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights as they are kept: sorted by digest, whole millionths, summing to 1.

    Raises:
        UsageError: there are none, one lies outside of 0 to 1, or they do not sum to 1.

    >>> fitting_weights({"b": 1 / 3, "a": 2 / 3})
    {'a': 0.666667, 'b': 0.333333}
    """
    hint = "give shares that sum to 1, such as champion=0.9 challenger=0.1"
    for release, share in weights.items():
        if not 0 <= share <= 1:
            raise UsageError("split_weights", f"the share of {release[:12]} is {share:g}, not from 0 to 1", hint=hint)
    total = sum(weights.values())
    if not weights or abs(total - 1) > _TOLERANCE:
        raise UsageError("split_weights", f"the shares sum to {total:.6g}, not to 1", hint=hint)
    exact = {release: weights[release] / total * MILLION for release in sorted(weights)}
    parts = {release: int(share) for release, share in exact.items()}
    # what rounding down left over goes to those that lost most by it
    for release in sorted(exact, key=lambda each: parts[each] - exact[each])[: MILLION - sum(parts.values())]:
        parts[release] += 1
    return {release: part / MILLION for release, part in parts.items()}


def start_split(
    connection: Connection,
    weights: Mapping[str, float],
    *,
    unit: str,
    at: datetime,
    reason: str,
    actor: str,
    salt: str | None = None,
) -> TrafficSplit:
    """Begin a split; one that is in force ends.

    Args:
        connection: a transaction that writes.
        weights: the share of each release by digest.
        unit: what is drawn: ``"series"``, ``"header"``, or the name of a column.
        at: when.
        reason: why, for the audit log.
        actor: who or what.
        salt: the key of the hash, a new random one by default: a new experiment draws anew.

    Raises:
        UsageError: the weights do not fit.
    """
    fitting = fitting_weights(weights)
    end_split(connection, at=at, reason=f"another one begins: {reason}", actor=actor)
    split = TrafficSplit(
        new_id(at)[:_EXPERIMENT_CHARS], salt or secrets.token_hex(16), unit, (Stage(fitting, at, reason),)
    )
    _append(connection, split, fitting, at=at, reason=reason)
    message = f"traffic is split by {unit}, {_shown(fitting)}: {reason}"
    _record(connection, split, "split_started", message, at=at, actor=actor, reason=reason)
    return split


def change_split(
    connection: Connection, weights: Mapping[str, float], *, at: datetime, reason: str, actor: str
) -> TrafficSplit:
    """Give the split in force other weights; a unit changes its release only where a weight made it.

    Raises:
        NotFoundError: no split is in force.
        UsageError: the weights do not fit.
    """
    fitting = fitting_weights(weights)
    present = split_in_force(connection)
    if present is None:
        raise NotFoundError("split_none", "traffic is not split", hint="begin with: everloop traffic set")
    # a release that is left out stays with a share of zero, so that all who took part are known
    stage = Stage(dict.fromkeys(present.weights, 0.0) | fitting, at, reason)
    if stage.weights == present.weights:
        return present
    split = TrafficSplit(present.experiment, present.salt, present.unit, (*present.stages, stage))
    _append(connection, split, stage.weights, at=at, reason=reason)
    message = f"traffic is now split {_shown(fitting)}, before {_shown(present.weights)}: {reason}"
    _record(connection, split, "split_changed", message, at=at, actor=actor, reason=reason)
    return split


def end_split(connection: Connection, *, at: datetime, reason: str, actor: str) -> TrafficSplit | None:
    """End the split in force: the champion answers all from now on. ``None`` where there was none."""
    split = split_in_force(connection)
    if split is None:
        return None
    _append(connection, split, {}, at=at, reason=reason)
    message = f"the split of traffic {_shown(split.weights)} ended: {reason}"
    _record(connection, split, "split_ended", message, at=at, actor=actor, reason=reason)
    return split


def split_in_force(connection: Connection) -> TrafficSplit | None:
    """The split that requests are drawn by now."""
    split = latest_split(connection)
    return None if split is None or split.ended_at is not None else split


def latest_split(connection: Connection) -> TrafficSplit | None:
    """The newest split, also one that has ended."""
    newest = select(splits.c.experiment).order_by(splits.c.seq.desc()).limit(1)
    experiment = connection.execute(newest).scalar()
    if experiment is None:
        return None
    rows = connection.execute(select(splits).where(splits.c.experiment == experiment).order_by(splits.c.seq)).all()
    stages = tuple(Stage(row.weights, row.at, row.reason) for row in rows if row.weights)
    ended_at = None if rows[-1].weights else rows[-1].at
    return TrafficSplit(experiment, rows[0].salt, rows[0].unit, stages, ended_at)


def count_arms(connection: Connection, split: TrafficSplit) -> list[ArmCount]:
    """What each release has answered for the split, by stage; shadows, fallbacks and named releases do not count.

    A unit counts once, where it was answered first: so units are independent draws, each by the weights of its stage,
    whatever is changed later.
    """
    stages = {split.label_of(number): number for number in range(len(split.stages))}
    is_own = (
        predictions.c.release.in_(split.weights)
        & (predictions.c.at >= split.stages[0].at - _CLOCK_SKEW)
        & predictions.c.experiment.in_(stages)
        & predictions.c.role.in_(("champion", "challenger"))
    )
    arm = (predictions.c.experiment, predictions.c.release)
    loose = func.sum(case((predictions.c.unit.is_(None), 1), else_=0))
    answered = connection.execute(select(*arm, func.count(), loose).where(is_own).group_by(*arm)).all()
    seen = (
        select(*arm, predictions.c.unit, func.min(predictions.c.id).label("first"))
        .where(is_own, predictions.c.unit.is_not(None))
        .group_by(*arm, predictions.c.unit)
        .subquery()
    )
    place = func.row_number().over(partition_by=seen.c.unit, order_by=seen.c.first).label("place")
    ranked = select(seen.c.experiment, seen.c.release, place).subquery()
    drawn = (
        select(ranked.c.experiment, ranked.c.release, func.count())
        .where(ranked.c.place == 1)
        .group_by(ranked.c.experiment, ranked.c.release)
    )
    units = {(label, release): int(n) for label, release, n in connection.execute(drawn)}
    counts = [
        ArmCount(stages[label], release, int(n), units.get((label, release), 0), int(without))
        for label, release, n, without in answered
    ]
    return sorted(counts, key=lambda each: (each.stage, each.release))


def _append(
    connection: Connection, split: TrafficSplit, weights: Mapping[str, float], *, at: datetime, reason: str
) -> None:
    row = {"experiment": split.experiment, "salt": split.salt, "unit": split.unit, "weights": dict(weights)}
    connection.execute(insert(splits).values(**row, at=at, reason=reason))


def _record(
    connection: Connection, split: TrafficSplit, kind: str, message: str, *, at: datetime, actor: str, reason: str
) -> None:
    # the salt stays out of the log: who knows it could choose units to his liking
    evidence = {"experiment": split.experiment, "unit": split.unit, "weights": split.weights, "reason": reason}
    record_event(connection, at, kind, message, actor=actor, subject=split.experiment, evidence=evidence)


def _shown(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{release[:12]} {share:.4%}".replace(".0000", "") for release, share in weights.items())
