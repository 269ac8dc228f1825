"""The publication database's first schema."""

import sqlalchemy as sa
from alembic import op

from sealwright.store.engine import UTCDateTime
from sealwright.store.publication import new_identity

revision = "p0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("ca_id", sa.String(length=63), nullable=False),
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("form", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("revocation_date", UTCDateTime(), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("this_update", UTCDateTime(), nullable=False),
        sa.Column("next_update", UTCDateTime(), nullable=False),
        sa.Column("refresh_at", UTCDateTime(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ca_id", "serial", "form"),
    )
    op.create_index(op.f("ix_answers_change"), "answers", ["change"], unique=False)
    op.create_index(op.f("ix_answers_refresh_at"), "answers", ["refresh_at"], unique=False)
    op.create_table(
        "objects",
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.Column("content_type", sa.String(length=64), nullable=False),
        sa.Column("number", sa.String(length=40), nullable=True),
        sa.Column("this_update", UTCDateTime(), nullable=True),
        sa.Column("next_update", UTCDateTime(), nullable=True),
        sa.Column("refresh_at", UTCDateTime(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("path"),
    )
    op.create_index(op.f("ix_objects_change"), "objects", ["change"], unique=False)
    state = op.create_table(
        "state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("identity", sa.String(length=32), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(state, [{"id": 1, "identity": new_identity(), "change": 0}])
