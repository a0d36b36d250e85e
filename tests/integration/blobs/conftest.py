"""Each test gets a blob app of its own, with an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blob_world import BlobWorld, blob_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BlobWorld]:
    with blob_world(tmp_path / "artifacts") as world:
        yield world
