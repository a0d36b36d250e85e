"""From the promotion on a server to the file in the owner's folder, over a Client Manager that dies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from managing import World, managing

from fedops.client.device.enrolment import join
from fedops.core import contracts as c
from fedops.core.states import DeploymentHealth
from fedops.storage.atomic_files import sha256_of
from fedops.waiting import wait_until

PROGRAM = Path(__file__).parents[1] / "client" / "client_process.py"
Manager = subprocess.Popen[bytes]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server with V0, V1 and V2 of the task mnist."""
    with managing(tmp_path, now=1_000_000.0) as made:
        made.task(overrides=["num_rounds=1"])
        made.ready_devices("trainer", "other")
        for value in (1.0, 2.0):
            _, engine = made.running()
            made.do_round(engine, 1, "trainer", "other", value=value)
            engine.finish(c.EngineFinish(outcome="completed"))
        yield made


@pytest.fixture
def start(world: World, tmp_path: Path) -> Iterator[Callable[[], Manager]]:
    """Starts the Client Manager of a device that wants the model."""
    home, app, started = tmp_path / "home", tmp_path / "app", list[Manager]()
    app.mkdir()
    join(world.url, world.join_token(), "pi", home)
    text = f"[serving]\nfolder = {json.dumps(str(tmp_path / 'srv'))}\n"
    (home / "device.toml").write_text(text)

    def begin() -> Manager:
        with (tmp_path / f"manager-{len(started)}.log").open("wb") as log:
            words = [sys.executable, str(PROGRAM), str(home), str(app)]
            started.append(subprocess.Popen(words, stdout=log, stderr=log))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(15.0)


def _until(world: World, version: int, tmp_path: Path) -> c.ServingRead:
    """Wait until operators see that the device has this version, and it has."""

    def so() -> c.ServingRead | None:
        shown = world.operator.serving("mnist")
        return shown[0] if shown and shown[0].synced and shown[0].actual == version else None

    found = wait_until(so, 60.0, every=0.05)
    assert found is not None, world.operator.serving("mnist")
    file = tmp_path / "srv" / "model.safetensors"
    assert sha256_of(file) == world.operator.model("mnist", f"V{version}").sha256
    assert json.loads((file.parent / "model.json").read_text())["version"] == version
    return found


def test_devices_follow_the_alias(
    world: World, start: Callable[[], Manager], tmp_path: Path
) -> None:
    manager = start()
    world.operator.promote_model("mnist", "V1")
    assert _until(world, 1, tmp_path).health is DeploymentHealth.HEALTHY
    world.operator.promote_model("mnist", "V2")
    _until(world, 2, tmp_path)
    manager.kill()
    manager.wait()
    world.operator.rollback_alias("mnist")
    assert not world.operator.serving("mnist")[0].synced
    start()  # what it missed meanwhile, it hears now
    _until(world, 1, tmp_path)
    world.operator.quarantine_model("mnist", "V2", "a doubt")
    assert world.operator.serving("mnist")[0].health is DeploymentHealth.HEALTHY
