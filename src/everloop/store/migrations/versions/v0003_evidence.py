"""The evidence behind decisions, one row for each record that differs from the one before."""

import sqlalchemy as sa
from alembic import op

from everloop.store.schema import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "evidence",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_evidence")),
        sa.UniqueConstraint("id", name=op.f("uq_evidence_id")),
    )
    op.create_index("ix_evidence_kind_subject_seq", "evidence", ["kind", "subject", "seq"], unique=False)


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_evidence_kind_subject_seq", table_name="evidence")
    op.drop_table("evidence")
