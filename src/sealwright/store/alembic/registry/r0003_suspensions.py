"""Suspensions of people, as the ledger has them."""

import sqlalchemy as sa
from alembic import op

from sealwright.store.engine import UTCDateTime

revision = "r0003"
down_revision = "r0002"


def upgrade() -> None:
    op.create_table(
        "suspensions",
        sa.Column("entry_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=63), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("entry_index"),
    )
