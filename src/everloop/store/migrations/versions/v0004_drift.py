"""What drift is told from: summaries of data by part, and what a release learnt to expect."""

import sqlalchemy as sa
from alembic import op

from everloop.store.schema import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "drift_summaries",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("part", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("source", "part", name=op.f("pk_drift_summaries")),
    )
    op.create_table(
        "drift_references",
        sa.Column("release", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("release", "digest", name=op.f("pk_drift_references")),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("drift_references")
    op.drop_table("drift_summaries")
