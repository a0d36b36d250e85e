"""The environments of FL servers: kept while a run needs them, and a few of the others."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from managing import World, bundle

from fedops.core import contracts as c
from fedops.core.states import CommitStatus
from fedops.server.database.tables import CommitRow
from fedops.server.delivery.packages import engine_environments
from fedops.server.delivery.packages.engine_environments import KEPT, EngineEnvironments
from fedops.storage.blobs import BlobStore

MADE = KEPT + 4


class OneWheelEach:
    """Packages of a commit: a wheel that no other commit has."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def ensure(self, task: str, commit: str, platform: str) -> c.Packages:
        upload = self._store.begin()
        upload.write(commit.encode())
        ref = upload.finish()
        wheel = c.WheelRef(name="x-1-py3-none-any.whl", sha256=ref.sha256, size=ref.size)
        return c.Packages(status="ready", wheels=[wheel])


def folder_only(target: Path, wheels: Sequence[Path], **_: object) -> None:
    """In place of what uv builds."""
    (target / "bin").mkdir(parents=True, exist_ok=True)
    (target / "bin" / "python").write_text("")


@pytest.fixture
def environments(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> EngineEnvironments:
    monkeypatch.setattr(engine_environments, "build_environment", folder_only)
    services = world.manager.services
    packages = OneWheelEach(services.artifacts)
    return EngineEnvironments(services.db, packages, services.artifacts, tmp_path / "made")


def new_commit(world: World, number: int) -> str:
    """A commit of the task whose next runs use it. Returns its app."""
    app = world.upload(bundle(**{"toy/__init__.py": f"number = {number}\n"})).sha256
    with world.manager.services.db.write() as session:
        row = CommitRow(
            task="mnist",
            commit=hashlib.sha1(str(number).encode()).hexdigest(),
            status=CommitStatus.SOUND,
            status_since=world.clock(),
            seen_at=world.clock(),
            bundle=app,
            requirements=[],
            changes={},
        )
        session.add(row)
    world.operator.update_task("mnist", c.TaskUpdate(bundle=app))
    return app


def built(environments: EngineEnvironments, app: str) -> Path:
    """Ask until it is there."""
    until = time.monotonic() + 5.0
    while (python := environments.of("mnist", app).python) is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return python


def test_environments_that_no_run_needs_any_more_are_removed(
    world: World, environments: EngineEnvironments, tmp_path: Path
) -> None:
    cache = tmp_path / "made" / ".cache"
    cache.mkdir(parents=True)
    world.task()
    apps = [new_commit(world, 0)]
    world.operator.start_run("mnist", c.RunStart())
    pythons = [built(environments, apps[0])]
    for number in range(1, MADE):
        apps.append(new_commit(world, number))
        pythons.append(built(environments, apps[-1]))
    there = [python.is_file() for python in pythons]
    assert there[0], "a run needs it"
    assert there[-1], "it was asked for last"
    assert sum(there) == KEPT + 2
    assert not there[1]
    assert not cache.exists(), "it holds all that was ever unpacked"
    assert built(environments, apps[1]).is_file(), "who goes back to an old one has it built again"
    environments.close()
