"""Alembic's entry: run the migrations on the connection that the store hands over."""

from alembic import context

from everloop.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
