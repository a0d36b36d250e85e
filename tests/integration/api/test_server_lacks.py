"""What the server lacks is said as the server's, wherever one asks, and no device is blamed for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from managing import World, bundle, idle, managing
from small_disk import read_only, small_disk

from fedops.core import contracts as c
from fedops.core.errors import Unavailable
from fedops.server.database import database
from fedops.storage.shortages import shortages

MB = 1 << 20


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Its home is a disk of 12 MB and 400 files."""
    with small_disk(tmp_path / "server", 12 * MB, 400), managing(tmp_path) as made:
        yield made


def home(world: World) -> Path:
    return world.manager.services.settings.home


def health(world: World) -> dict[str, str]:
    answer = httpx.get(f"{world.url}/health", timeout=60.0)
    assert answer.status_code == 200
    found: dict[str, str] = answer.json()
    return found


def fill(folder: Path) -> Path:
    """Leave nothing free on the disk."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4_096)):
            pass
    assert shutil.disk_usage(folder).free == 0
    return ballast


def test_a_full_disk_is_the_servers_and_devices_stay_as_last_noted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortages, "_clock", world.clock)
    world.task()
    device = world.ready_devices("pi")["pi"]
    run, _ = world.running()
    assert health(world) == {"status": "ok"}
    ballast = fill(home(world))
    for _ in range(30):
        world.clock.advance(2.0)
        with pytest.raises(Unavailable, match="disk is full"):
            device.poll(idle().model_copy(update={"spool_records": 1, "life": os.urandom(4).hex()}))
    assert health(world) == {"status": "degraded", "why": "the server's disk is full"}
    found = world.operator.device("pi")
    assert found.online
    assert found.why.endswith("; as of 58 s ago: the server's disk is full")
    assert "offline" not in found.why
    why = world.operator.run(run.id).why
    assert why.startswith(f"the server's disk is full ({home(world)}/fedops.db): free some space, ")
    assert world.operator.info().problems == [
        f"the server's disk is full ({home(world)}/fedops.db): free some space"
    ]
    ballast.unlink()
    world.clock.advance(5.0)
    assert device.poll().enrolment
    assert world.operator.device("pi").why == "online; its training client is ready"
    world.clock.advance(20.0)
    assert health(world) == {"status": "ok"}
    assert world.operator.info().problems == []


def test_a_disk_without_inodes_is_not_called_full(world: World) -> None:
    folder = home(world) / "many"
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in range(1_000):
            (folder / str(number)).touch()
    assert os.statvfs(folder).f_favail == 0
    why = "the server's disk has no inodes left for another file"
    with pytest.raises(Unavailable, match=f"{why} .*; remove some files and repeat"):
        world.upload(bundle())
    assert health(world) == {"status": "degraded", "why": why}


def test_a_folder_that_is_read_only_is_named(tmp_path: Path) -> None:
    with managing(tmp_path) as world:
        world.task()
        store = home(world) / "artifacts"
        with read_only(store), pytest.raises(Unavailable) as refused:
            world.upload(bundle(**{"more.py": "x = 1"}))
        assert refused.value.message.startswith(f"the server's disk is read-only ({store}); make")
        assert health(world)["why"] == "the server's disk is read-only"
        world.upload(bundle(**{"more.py": "x = 1"}))


def test_a_database_that_another_program_holds_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.3)
    with managing(tmp_path) as world:
        world.task()
        device = world.ready_devices("pi")["pi"]
        other = sqlite3.connect(home(world) / "fedops.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked; another program holds it"):
            device.poll(c.WorkPoll(tasks=[]))
        assert health(world)["why"] == "the server's database is locked by another program"
        (problem,) = world.operator.info().problems
        assert problem == (
            f"the server's database is locked by another program ({home(world)}/fedops.db): "
            "end what holds it (fuser or lsof name it)"
        )
        other.close()
