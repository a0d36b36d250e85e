"""How Alembic runs the steps in ``versions``: on the connection it is given."""

from __future__ import annotations

from alembic import context

from fedops.server.database.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
