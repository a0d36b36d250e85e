"""Code of an app on the server: what it looks for, and does not get."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federating import LIGHT, QUIET, TINY, WITH_LIGHT, complete, enrol, until

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError, Unavailable
from fedops.core.states import RunStatus
from fedops.demo.federation import Federation

HOSTILE = TINY.with_name("hostile")
STRATEGY = "server.strategy._target_=lightapp.spy.Spy"
PLANTED = {
    "AWS_SECRET_ACCESS_KEY": "planted-aws",
    "FEDOPS_SERVER_S3_SECRET_ACCESS_KEY": "planted-s3",
    "FEDOPS_TOKEN": "planted-token",
    "PGPASSWORD": "planted-postgres",
    "SOME_DATABASE": "postgresql://me:planted-url@h/d",
}
#: A user that every system has.
OTHER = "nobody"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs code as another user")


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """A port of this machine that is not the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def hostile_app(federation: Federation, port: int, place: Path, **more: Any) -> Path:
    """The light app with a strategy that looks around."""
    home = federation.server_home
    files = [federation.admin_token_file, home / "fedops.db", home / "server.lock"]
    found = {
        "files": [str(file) for file in files],
        "port": port,
        "secrets": [
            *PLANTED.values(),
            str(home / "fedops.db"),
            federation.admin_token,
            "fo_attempt",
        ],
        "raises": False,
        **more,
    }
    app = shutil.copytree(LIGHT, place)
    code = (HOSTILE / "spy.py").read_text().replace("@PLACES@", json.dumps(found))
    (app / "lightapp" / "spy.py").write_text(code)
    return app


def said_by_spy(federation: Federation, run_id: int) -> dict[str, Any]:
    with federation.operator() as operator:
        lines = [line.text for line in operator.run_logs(run_id).entries]
    found = [line.split("SPY ", 1)[1] for line in lines if "SPY " in line]
    assert found, lines
    said: dict[str, Any] = json.loads(found[-1])
    return said


def spied(federation: Federation, port: int, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """What the strategy found in a run that it completes, and what the server said of it."""
    federation.create_task("spied", hostile_app(federation, port, tmp_path / "app"), [STRATEGY])
    enrol(federation, ["a", "b"], "spied", app=LIGHT)
    with federation.operator() as operator:
        run = operator.start_run("spied", c.RunStart(overrides=["num_rounds=1"]))
    until(federation, run.id, RunStatus.COMPLETED)
    with federation.operator() as operator:
        events = " ".join(event.text for event in operator.events(run_id=run.id))
    return said_by_spy(federation, run.id), events


def test_a_strategy_gets_nothing_of_the_server(tmp_path: Path, elsewhere: int) -> None:
    with Federation(tmp_path / "federation", {**WITH_LIGHT, **PLANTED}) as federation:
        federation.start_server()
        said, events = spied(federation, elsewhere, tmp_path)
        assert said["seen"] == {}
        assert said["carried"]["secrets"] == []
        assert said["carried"]["core"] == "0"
        assert [Path(file).suffix for file in said["carried"]["files"]] in ([".log"], [".log"] * 2)
        assert f"without network but TCP port {federation.port}" in events
        assert "without sight of FedOps' own files" in events


# --- as another user -----------------------------------------------------------------------------


class Reachable(Federation):
    """Its parts see a Python that every user may run, whoever's home it lies in."""

    def server_command(self, *options: str) -> list[str]:
        return [*let_through(Path(sys.base_prefix)), *super().server_command(*options)]

    def client_command(self, *arguments: Any) -> list[str]:
        return [*let_through(Path(sys.base_prefix)), *super().client_command(*arguments)]


def let_through(place: Path) -> list[str]:
    """A command's beginning: in mounts of its own, what closes the way to ``place`` is out of the way."""
    closed = [path for path in reversed(place.parents) if not path.stat().st_mode & 0o001]
    if not closed:
        return []
    script = (
        f"mkdir -p /run/fedops-test && mount -t tmpfs t /run/fedops-test && mkdir /run/fedops-test/p && "
        f"mount --bind {place} /run/fedops-test/p && mount -t tmpfs -o mode=755 t {closed[0]} && "
        f'(umask 022 && mkdir -p {place}) && mount --bind /run/fedops-test/p {place} && exec "$@"'
    )
    return ["unshare", "--mount", "sh", "-c", script, "sh"]


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that other users get to."""
    with tempfile.TemporaryDirectory(prefix="fedops-users-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@AS_ROOT
@pytest.mark.long
def test_as_another_user_a_strategy_gets_nothing_either(open_place: Path, elsewhere: int) -> None:
    env = {**WITH_LIGHT, **PLANTED, "FEDOPS_SERVER_ENGINE_USER": OTHER}
    with Reachable(open_place / "federation", env) as federation:
        federation.start_server()
        said, events = spied(federation, elsewhere, open_place)
        assert said["seen"] == {}
        assert said["carried"]["user"] == pwd.getpwnam(OTHER).pw_uid
        assert said["carried"]["secrets"] == []
        assert f"the app's code runs as user {OTHER}, without network" in events
        blobs = [
            path for path in (federation.server_home / "artifacts").rglob("*") if path.is_file()
        ]
        assert blobs
        assert {path.stat().st_uid for path in blobs} == {0}


@AS_ROOT
@pytest.mark.long
def test_without_landlock_another_user_is_still_kept_out(open_place: Path, elsewhere: int) -> None:
    more = {"FEDOPS_SERVER_ENGINE_USER": OTHER, "FEDOPS_SERVER_ENGINE_CONFINEMENT": "off"}
    with Reachable(open_place / "federation", {**WITH_LIGHT, **PLANTED, **more}) as federation:
        federation.start_server()
        said, events = spied(federation, elsewhere, open_place)
        assert set(said["seen"]) == {"another port", "a datagram", "to listen"}
        assert f"the app's code runs as user {OTHER}" in events


def test_an_app_that_is_tried_before_a_run_gets_nothing_either(
    tmp_path: Path, elsewhere: int
) -> None:
    with Federation(tmp_path / "federation", {**WITH_LIGHT, **PLANTED}) as federation:
        federation.start_server()
        # It says what got through by not being possible.
        app = hostile_app(federation, elsewhere, tmp_path / "app", raises=True)
        federation.create_task("spied", app, [STRATEGY])
        free = hostile_app(
            federation, elsewhere, tmp_path / "free", raises=True, files=["/etc/passwd"]
        )
        with pytest.raises(FedOpsError, match=r"got through: .*/etc/passwd"):
            federation.create_task("free", free, [STRATEGY])


def test_a_user_that_is_not_there_is_said_before_anything_begins(tmp_path: Path) -> None:
    env = {"FEDOPS_SERVER_ENGINE_USER": "no-such-user"}
    why = pytest.raises(Unavailable, match="FEDOPS_SERVER_ENGINE_USER = no-such-user: ")
    with Federation(tmp_path / "federation", env) as federation, why:
        federation.start_server()


# --- on a device -----------------------------------------------------------------------------------


def spying_app(device_home: Path, place: Path) -> Path:
    """The tiny app whose data step looks for what is the device's alone."""
    app = shutil.copytree(TINY, place)
    files = [
        device_home / name for name in ("device.json", "node-key.pem", "local-token", "spool.db")
    ]
    code = (HOSTILE / "spy.py").read_text().replace("@PLACES@", json.dumps(places(files)))
    (app / "tinyapp" / "spy.py").write_text(code)
    flow = app / "tinyapp" / "flow.py"
    flow.write_text(flow.read_text() + "\n\nfrom tinyapp.spy import tell\n\ntell()\n")
    return app


def places(files: list[Path]) -> dict[str, Any]:
    secrets = [*PLANTED.values(), "fo_device"]
    return {"files": [str(file) for file in files], "port": 1, "secrets": secrets, "raises": False}


def seen_on_device(
    federation: Federation, name: str, limits: str, place: Path
) -> tuple[dict[str, Any], str]:
    """What the app found on a device that took part in a run and was timed, and what its owner is told."""
    home = federation.device_home(name)
    app = spying_app(home, place)
    federation.create_task("tiny", TINY)
    federation.join(name)
    (home / "device.toml").write_text(f"[limits]\n{limits}\n")
    federation.start_client(name, app, "tiny")
    federation.until_ready([name])
    complete(federation, "tiny", "num_rounds=1", "clients_per_round=1")
    federation.admin("device", "bench", "tiny")
    log = (home / "logs" / "training-client.log").read_text()
    found = [line.split("SPY ", 1)[1] for line in log.splitlines() if "SPY " in line]
    status = federation.command("client", "status", "--home", str(home))
    trained, benched = map(json.loads, found)
    assert benched["carried"] == trained["carried"]
    assert beyond_parent(benched) == beyond_parent(trained), "it is held like the training client"
    return trained, status["process"]["confined"]


def beyond_parent(said: dict[str, Any]) -> set[str]:
    """What was seen, but for the process above: that of a benchmark is the training client itself."""
    return {what for what in said["seen"] if not what.startswith(("parent's", "to signal"))}


def test_a_confined_training_client_sees_nothing_of_its_manager(tmp_path: Path) -> None:
    with Federation(tmp_path / "federation", {**QUIET, **PLANTED}) as federation:
        federation.start_server()
        said, confined = seen_on_device(federation, "a", "confine = true", tmp_path / "app")
        assert set(said["seen"]) == {"a datagram", "to listen"}
        assert "fo_device" not in said["carried"]["secrets"]
        assert said["carried"]["core"] == "0"
        assert confined.endswith("without sight of FedOps' own files")


@AS_ROOT
@pytest.mark.long
def test_a_training_client_of_another_user_reads_no_token(open_place: Path) -> None:
    with Reachable(open_place / "federation", {**QUIET, **PLANTED}) as federation:
        federation.start_server()
        limits = f'user = "{OTHER}"\nmemory_mb = 4000'
        said, confined = seen_on_device(federation, "a", limits, open_place / "app")
        assert set(said["seen"]) == {"a datagram", "to listen"}
        assert said["carried"]["user"] == pwd.getpwnam(OTHER).pw_uid
        assert "fo_device" not in said["carried"]["secrets"]
        assert confined == f"the app's code runs as user {OTHER}"


@pytest.mark.long
def test_without_a_wish_the_owner_is_told_that_it_is_unconfined(tmp_path: Path) -> None:
    with Federation(tmp_path / "federation", {**QUIET, **PLANTED}) as federation:
        federation.start_server()
        said, confined = seen_on_device(federation, "a", "", tmp_path / "app")
        assert str(federation.device_home("a") / "device.json") in said["seen"]
        assert "fo_device" not in said["carried"]["secrets"]
        assert confined.startswith("the app's code is unconfined: it runs as user ")
