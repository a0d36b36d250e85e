"""A paper federation for each test; and messages need to know which Flower run they belong to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.supercore.task_identity import TaskIdentity
from paper_federation import PaperFederation


@pytest.fixture(autouse=True)
def flower_identity() -> Iterator[None]:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 77, 1, 5
    yield
    TaskIdentity._run_id = TaskIdentity._node_id = TaskIdentity._task_id = None


@pytest.fixture
def federation(tmp_path: Path) -> Any:
    made: list[PaperFederation] = []

    def make(*devices: str, name: str = "one", **config: Any) -> PaperFederation:
        made.append(PaperFederation(tmp_path / name, **config))
        (tmp_path / name).mkdir()
        made[-1].add(*devices)
        return made[-1]

    yield make
    for each in made:
        each.server.close()
