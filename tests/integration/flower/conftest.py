"""A grid on an in-memory server, and the Flower run that messages belong to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flower_identity import flower_identity as flower_identity
from flower_server import FlowerServer, echo

from fedops.engine.link.server_link import ServerLink
from fedops.flower.codec.compat import take_task_identity
from fedops.flower.grid.assignment_grid import AssignmentGrid


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
