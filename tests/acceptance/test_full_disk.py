"""A server whose disk is full says so, blames nobody else, and goes on when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from federating import until
from ledger import Ledger
from world import DEVICES, World, opened

from fedops.core.states import RunStatus

MB = 1 << 20
#: The disk of the server, and how much of it is left when it is full: less than an update has. Bytes.
DISK, LEFT = 24 * MB, 90_000

#: After so long a device that is not heard is taken for offline, when the disk is not full.
AWAY_SECONDS = 5.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Its server's home is a small disk of its own."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root on Linux can mount a small disk")
    home = tmp_path_factory.mktemp("full")
    disk = home / "server"
    disk.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine allows no mounts")
    try:
        with opened(home) as made:
            yield made
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


class Ballast:
    """A file that fills the disk of the server."""

    def __init__(self, home: Path) -> None:
        self._path = home / "ballast"

    def fill(self, left: int = LEFT) -> None:
        """The server may write meanwhile: then there is less to take."""
        with self._path.open("wb") as file:
            for _ in range(20):
                size = file.seek(0, os.SEEK_END) + shutil.disk_usage(self._path.parent).free - left
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, size)
                    return
        raise AssertionError("the disk cannot be filled")

    def empty(self) -> None:
        self._path.unlink()


@pytest.fixture
def ballast(world: World) -> Ballast:
    return Ballast(world.federation.server_home)


@pytest.fixture(scope="module")
def undisturbed(world: World) -> str | None:
    return completed(world, world.start_run("mean"))


def completed(world: World, run_id: int) -> str | None:
    until(world.federation, run_id, RunStatus.COMPLETED, seconds=120.0)
    account = Ledger(world.federation.server_home / "fedops.db").account(run_id)
    assert account.took_part == dict.fromkeys(range(1, account.rounds + 1), DEVICES)
    assert account.retrained == 0
    return account.final


@pytest.mark.parametrize(
    ("point", "left"),
    [
        ("manager.upload.begin", LEFT),  # the store has no room for an update
        ("manager.upload.begin", 0),  # nor has the database for a row
        ("engine.replied", LEFT),  # the engine has none for the model
    ],
)
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    world: World, undisturbed: str | None, ballast: Ballast, point: str, left: int
) -> None:
    world.board.clear()
    world.board.arm(point, "hold", 1)
    run_id = world.start_run("mean")
    world.federation.until(f"somebody at {point}", lambda: world.board.fired(point))
    ballast.fill(left)
    world.board.release(point)
    with world.federation.operator() as operator:

        def why() -> str:
            return operator.run(run_id).why

        world.federation.until("the reason", lambda: "the server's disk is full" in why(), 20.0)
        if not left:
            time.sleep(AWAY_SECONDS)
            assert "the server's disk is full" in why()
            assert "offline" not in why(), "who cannot be heard because of the disk is not blamed"
            assert all(device.online for device in operator.devices())
            health = httpx.get(f"{world.federation.url}/health", timeout=60.0).json()
            assert health == {"status": "degraded", "why": "the server's disk is full"}
        assert str(world.federation.server_home) in why()
        assert operator.run(run_id).status in (RunStatus.RUNNING, RunStatus.RESUMING)
        ballast.empty()
        assert completed(world, run_id) == undisturbed
        assert "disk" not in why()
