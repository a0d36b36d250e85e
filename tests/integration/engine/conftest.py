"""An in-memory federation for each test, and the Flower run that a strategy's messages belong to."""

from pathlib import Path
from typing import Any

import pytest
from flower_identity import flower_identity as flower_identity
from in_memory_federation import InMemoryFederation


@pytest.fixture
def federation(tmp_path: Path) -> Any:
    made: list[InMemoryFederation] = []

    def make(*devices: str, name: str = "one", **config: Any) -> InMemoryFederation:
        made.append(InMemoryFederation(tmp_path / name, **config))
        (tmp_path / name).mkdir()
        made[-1].add(*devices)
        return made[-1]

    yield make
    for each in made:
        each.server.close()
