"""Databases of their own for tests, on the PostgreSQL server that FEDOPS_TEST_POSTGRES names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

#: A PostgreSQL server on which tests may make databases, e.g. postgresql+psycopg://user@host/db
POSTGRES = os.environ.get("FEDOPS_TEST_POSTGRES")
KINDS = ["sqlite", "postgresql"] if POSTGRES else ["sqlite"]


@contextmanager
def fresh_database(server: str, name: str, template: str = "template1") -> Iterator[str]:
    """Make a database; gives its URL.

    One for each test: what a test left running may still read while the next one begins, and emptying
    a database under it would wait for its locks, or end one of the two in a deadlock.
    """
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def say(text: str) -> None:
        with engine.connect() as connection:
            connection.execute(sa.text(text))

    say(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield engine.url.set(database=name).render_as_string(hide_password=False)
    finally:
        say(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        engine.dispose()
