"""Rows as the API shows them."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from sqlalchemy import inspect

from fedops.core.contracts import Reply
from fedops.server.database.tables import Base

R = TypeVar("R", bound=Reply)


def read_as(kind: type[R], row: Base, /, **more: Any) -> R:
    """A row as a reply: what is called like a column has its value, all else must be in ``more``."""
    own, others = _fields(kind, type(row))
    assert others <= more.keys(), f"{kind.__name__}: {others - more.keys()}"
    return kind(**{name: getattr(row, name) for name in own if name not in more}, **more)


@cache
def _fields(kind: type[Reply], row: type[Base]) -> tuple[frozenset[str], frozenset[str]]:
    """The fields that are called like a column, and those that are not."""
    fields, columns = frozenset(kind.model_fields), frozenset(inspect(row).column_attrs.keys())
    return fields & columns, fields - columns
