"""Plain values (tables, lists, text, numbers), as TOML and JSON have them: every leaf with its key path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every (``data.inner.0.path``, value) that is no table and no list."""
    items: Any = value.items() if isinstance(value, Mapping) else None
    items = enumerate(value) if isinstance(value, list) else items
    if items is None:
        yield path, value
        return
    for key, item in items:
        yield from leaves(item, f"{path}.{key}" if path else str(key))
