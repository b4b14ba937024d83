"""The tables of the store.

Facts are only appended (events, deployments, predictions, outcomes, measurements); what is derived from them is
computed when it is asked for, so that late and corrected facts need no repair.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

__all__ = [
    "deployments",
    "drift_references",
    "drift_summaries",
    "events",
    "evidence",
    "keys",
    "leases",
    "marks",
    "measurements",
    "metadata",
    "outcomes",
    "predictions",
    "releases",
    "row_outcomes",
    "splits",
    "states",
    "trials",
]

Sequence = BigInteger().with_variant(Integer, "sqlite")


class Instant(TypeDecorator[datetime]):
    """An instant as text of fixed width in UTC: readable in any SQL shell, and sorted as time is."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """To ``2011-12-09T03:00:00.000000Z``."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Back from text."""
        return None if value is None else datetime.fromisoformat(value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

events = Table(
    "events",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("message", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Index("ix_events_kind_at", "kind", "at"),
)

releases = Table(
    "releases",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("model_digest", String(64), nullable=False),
    Column("candidate", String(200), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("dataset_version", Integer, nullable=False),
    Column("dataset_digest", String(64), nullable=False),
    Column("cutoff", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("gates", JSON, nullable=False),
    Index("ix_releases_created_at", "created_at"),
)

deployments = Table(
    "deployments",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("role", String(16), nullable=False),
    Column("release", String(64), nullable=True),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_deployments_role_seq", "role", "seq"),
)

states = Table(
    "states",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("release", String(64), nullable=False),
    Column("dataset_version", Integer, nullable=False),
    Column("dataset_digest", String(64), nullable=False),
    Column("cutoff", Instant, nullable=False),
    Column("at", Instant, nullable=False),
    Index("ix_states_release_seq", "release", "seq"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("release", String(64), nullable=False),
    Column("state", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("twin", String(36), nullable=True),
    Column("first_time", Instant, nullable=False),
    Column("last_time", Instant, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("unit", String(200), nullable=True),
    Column("experiment", String(36), nullable=True),
    Index("ix_predictions_last_time", "last_time"),
    Index("ix_predictions_release_at", "release", "at"),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("received_at", Instant, nullable=False),
    Column("prediction", String(36), nullable=True),
    Column("series", Text, nullable=False),
    Column("time", Instant, nullable=False),
    Column("value", Float(53), nullable=False),
    Column("source", String(128), nullable=False),
    Index("ix_outcomes_time", "time"),
)

row_outcomes = Table(
    "row_outcomes",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("received_at", Instant, nullable=False),
    Column("prediction", String(36), nullable=False),
    Column("row", Integer, nullable=False),
    Column("value", Float(53), nullable=True),
    Column("label", Text, nullable=True),
    Column("at", Instant, nullable=True),
    Column("source", String(128), nullable=False),
    Index("ix_row_outcomes_prediction", "prediction"),
)

measurements = Table(
    "measurements",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("received_at", Instant, nullable=False),
    Column("unit", String(200), nullable=False),
    Column("metric", String(128), nullable=False),
    Column("at", Instant, nullable=False),
    Column("value", Float(53), nullable=False),
    Column("source", String(128), nullable=False),
    Index("ix_measurements_metric_at", "metric", "at"),
    Index("ix_measurements_at", "at"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("fence", Integer, nullable=False),
)

marks = Table(
    "marks",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("value", JSON, nullable=False),
    Column("at", Instant, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("challenger", String(64), nullable=False),
    Column("champion", String(64), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("decided_at", Instant, nullable=True),
    Column("decision", String(16), nullable=True),
    Column("evidence", JSON, nullable=True),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("rate", Float(53), nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant, nullable=True),
)

splits = Table(
    "splits",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("experiment", String(36), nullable=False),
    Column("salt", String(64), nullable=False),
    Column("unit", String(200), nullable=False),
    Column("weights", JSON, nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_splits_experiment_seq", "experiment", "seq"),
)

evidence = Table(
    "evidence",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("at", Instant, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("record", JSON, nullable=False),
    Index("ix_evidence_kind_subject_seq", "kind", "subject", "seq"),
)

drift_summaries = Table(
    "drift_summaries",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("part", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
)

drift_references = Table(
    "drift_references",
    metadata,
    Column("release", String(64), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
