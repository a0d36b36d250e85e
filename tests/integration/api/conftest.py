"""Each test gets a Server Manager with a migrated database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from managing import World, managing


@pytest.fixture
def world(tmp_path: Path, database_url: str | None) -> Iterator[World]:
    with managing(tmp_path, database_url) as made:
        yield made


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with its pages. One for all that look at them."""
    with managing(tmp_path_factory.mktemp("pages"), dashboard=True) as world:
        yield world
