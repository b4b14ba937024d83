"""What serving to many needs: keys, traffic splits, and which split drew an answer."""

import sqlalchemy as sa
from alembic import op

from everloop.store.schema import Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and columns."""
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("rate", sa.Float(precision=53), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_table(
        "splits",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("experiment", sa.String(length=36), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("weights", sa.JSON(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_splits")),
    )
    op.create_index("ix_splits_experiment_seq", "splits", ["experiment", "seq"], unique=False)
    op.add_column("predictions", sa.Column("unit", sa.String(length=200), nullable=True))
    op.add_column("predictions", sa.Column("experiment", sa.String(length=36), nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("predictions", "experiment")
    op.drop_column("predictions", "unit")
    op.drop_index("ix_splits_experiment_seq", table_name="splits")
    op.drop_table("splits")
    op.drop_table("keys")
