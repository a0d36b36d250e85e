"""A paper federation for each test, a grid on a paper server, and the Flower run that messages belong to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flower_server import FlowerServer, echo
from flwr.supercore.task_identity import TaskIdentity
from paper_federation import PaperFederation

from fedops.engine.link.server_link import ServerLink
from fedops.flower.codec.compat import take_task_identity
from fedops.flower.grid.assignment_grid import AssignmentGrid


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


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FlowerServer]:
    take_task_identity(5, 1)
    made = FlowerServer({"num_rounds": 1}, tmp_path)
    made.clients = {}
    yield made
    made.close()


@pytest.fixture
def grid(server: FlowerServer, tmp_path: Path) -> Iterator[AssignmentGrid]:
    for name in ("pi-1", "pi-2", "pi-3"):
        server.join(name, echo)
    spool = tmp_path / "attempt-1"
    spool.mkdir()
    with ServerLink(server, 3.0) as link:
        yield AssignmentGrid(link, server.spec(), spool, 20.0)
