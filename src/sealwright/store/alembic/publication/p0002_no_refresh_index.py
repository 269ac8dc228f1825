"""What is due is presign's own to know. Nobody asks this database for it, and each refreshed answer moved in it."""

from alembic import op

revision = "p0002"
down_revision = "p0001"


def upgrade() -> None:
    op.drop_index(op.f("ix_answers_refresh_at"), table_name="answers")
