"""A fixture for each test: the Flower run that messages belong to. They cannot be made without one."""

from collections.abc import Iterator

import pytest
from flwr.supercore.task_identity import TaskIdentity


@pytest.fixture(autouse=True)
def flower_identity() -> Iterator[None]:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 77, 1, 5
    yield
    TaskIdentity._run_id = TaskIdentity._node_id = TaskIdentity._task_id = None
