"""The registry keeps the ledger's entries themselves, not only their hashes: what was projected is read again."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("leaves")
    op.create_table(
        "leaves",
        sa.Column("entry_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry_index"),
    )
    for table in ("certificates", "revocations", "projection"):
        op.execute(sa.text(f"DELETE FROM {table}"))  # noqa: S608  # names of ours
    op.execute(sa.text("DELETE FROM rosters WHERE entry_index IS NOT NULL"))
