"""What Alembic runs for either database: the connection comes from ``store.migrations``, nothing from a file."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
