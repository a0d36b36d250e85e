"""Rows as the API shows them."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import inspect

from fedops.core.contracts import Reply
from fedops.server.database.tables import Base

R = TypeVar("R", bound=Reply)


def read_as(kind: type[R], row: Base, /, **more: Any) -> R:
    """A row as a reply: what is called like a column has its value, all else must be in ``more``."""
    fields, columns = kind.model_fields.keys(), inspect(type(row)).column_attrs.keys()
    assert fields - columns <= more.keys(), f"{kind.__name__}: {fields - columns - more.keys()}"
    return kind(**{name: getattr(row, name) for name in (fields & columns) - more.keys()}, **more)
