"""What came of the rows that models of rows answered, and what was measured of units."""

import sqlalchemy as sa
from alembic import op

from everloop.store.schema import Instant, Sequence

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "row_outcomes",
        sa.Column("seq", Sequence, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("prediction", sa.String(length=36), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("at", Instant(), nullable=True),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_row_outcomes")),
        sa.UniqueConstraint("id", name=op.f("uq_row_outcomes_id")),
    )
    op.create_index("ix_row_outcomes_prediction", "row_outcomes", ["prediction"])
    op.create_table(
        "measurements",
        sa.Column("seq", Sequence, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("metric", sa.String(length=128), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_measurements")),
        sa.UniqueConstraint("id", name=op.f("uq_measurements_id")),
    )
    op.create_index("ix_measurements_metric_at", "measurements", ["metric", "at"])
    op.create_index("ix_measurements_at", "measurements", ["at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("measurements")
    op.drop_table("row_outcomes")
