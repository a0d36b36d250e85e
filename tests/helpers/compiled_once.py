"""Statements that are compiled once for each kind of database, not once for each engine that a test makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache


@contextmanager
def compiled_once() -> Iterator[None]:
    """All engines made within share what they compiled, as those of a server that runs for long do."""
    shared: Any = LRUCache(5_000)
    begin = sa.Engine.__init__

    def begun(engine: sa.Engine, *args: Any, **kwargs: Any) -> None:
        begin(engine, *args, **kwargs)
        engine._compiled_cache = shared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sa.Engine, "__init__", begun)
        # A compiled statement is found by its dialect, of which each engine has its own.
        patch.setattr(DefaultDialect, "__hash__", lambda one: hash(type(one)), raising=False)
        patch.setattr(DefaultDialect, "__eq__", lambda one, other: type(one) is type(other))
        yield
