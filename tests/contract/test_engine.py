"""What every ``RunEngine`` promises: the same suite for the fake and for a real SuperLink.

It also pins the parts of Flower's Control API that ``fedops.flower.engine`` stands on.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.cli.build import build_fab_from_disk

from fedops.core.engine import RunEngine
from fedops.core.errors import Invalid, Unavailable
from fedops.flower.engine import FlowerEngine
from fedops.flower.superlink import SuperLink
from fedops.processes import TREE_VARIABLE
from fedops.testing import FakeEngine

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "trivial"
version = "1.0.0"
description = "An app that does what its bundle says"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "fedops"
[tool.flwr.app.components]
serverapp = "trivial.server:app"
clientapp = "trivial.client:app"
[tool.flwr.app.config]
mode = "client"
"""
SERVER = """
import os, time
from pathlib import Path
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
app = ServerApp()
@app.main()
def main(grid: Grid, context: Context) -> None:
    notes = Path(os.environ["FEDOPS_ATTEMPTS_DIR"])
    (notes / f"{context.run_id}.main").write_text(f"{os.getpid()} {context.run_config['mode']}")
    print("the trivial app is running", flush=True)
    while (notes / "hold").exists():
        time.sleep(0.05)
    if (notes / "fail").exists():
        raise RuntimeError("the trivial app failed")
"""
CLIENT = "from flwr.clientapp import ClientApp\napp = ClientApp()\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    app = tmp_path_factory.mktemp("app")
    (app / "trivial").mkdir()
    (app / "pyproject.toml").write_text(PYPROJECT)
    for name, text in {"__init__": "", "server": SERVER, "client": CLIENT}.items():
        (app / "trivial" / f"{name}.py").write_text(text)
    return build_fab_from_disk(app)


def openssh_key() -> bytes:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def eventually(check: Callable[[], object], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


@pytest.fixture(params=["fake", "flower"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunEngine]:
    made: RunEngine = FakeEngine() if request.param == "fake" else flower(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[FlowerEngine]:
    engine = flower(tmp_path)
    engine.start()
    yield engine
    engine.stop()


def flower(home: Path) -> FlowerEngine:
    (home / "attempts").mkdir()
    return FlowerEngine(SuperLink(home / "engine", home / "attempts"))


# --- both ------------------------------------------------------------------------------------


def test_one_life(engine: RunEngine, bundle: bytes) -> None:
    assert engine.ensure_healthy()
    assert engine.generation == 1
    assert engine.fleet_url is not None
    key = openssh_key()
    node = engine.register_node(key)
    assert int(node) > 0
    assert engine.register_node(key) == node
    assert engine.register_node(openssh_key()) != node
    with pytest.raises(Invalid, match="OpenSSH"):
        engine.register_node(b"nonsense")
    with pytest.raises(Invalid, match="bundle"):
        engine.start_run(b"nonsense")
    run = engine.start_run(bundle)
    assert engine.run_ended(run) is None
    engine.stop_run(run)
    engine.stop_run(run)
    assert engine.run_ended(run) == "finished:stopped"
    assert engine.run_ended("1") is not None
    engine.stop_run("1")
    assert not engine.process_alive(os.getpid())
    engine.kill_process(os.getpid())  # not one of its own: nothing happens
    engine.stop()
    for refused in (lambda: engine.start_run(bundle), lambda: engine.register_node(key)):
        with pytest.raises(Unavailable):
            refused()
    assert engine.fleet_url is None
    engine.start()
    assert engine.generation == 2
    assert engine.run_ended(run) == "finished:unknown"
    assert engine.register_node(key) != node


# --- Flower ----------------------------------------------------------------------------------


def note(attempts: Path, run: str) -> tuple[int, str]:
    file = attempts / f"{run}.main"
    eventually(lambda: file.exists() and file.read_text())
    pid, mode = file.read_text().split()
    return int(pid), mode


def test_a_run_runs_in_server_mode_and_ends(
    real: FlowerEngine, bundle: bytes, tmp_path: Path
) -> None:
    run = real.start_run(bundle)
    assert note(tmp_path / "attempts", run)[1] == "server"
    eventually(lambda: real.run_ended(run) == "finished:completed")
    assert "the trivial app is running" in real.run_log(run)


def test_a_failing_app_leaves_its_last_words(
    real: FlowerEngine, bundle: bytes, tmp_path: Path
) -> None:
    (tmp_path / "attempts" / "fail").touch()
    run = real.start_run(bundle)
    eventually(lambda: real.run_ended(run) == "finished:failed")
    assert "the trivial app failed" in real.run_log(run)


def test_killing_serverapp_and_superlink(real: FlowerEngine, bundle: bytes, tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"
    (attempts / "hold").touch()
    first, _ = note(attempts, real.start_run(bundle))
    assert real.process_alive(first)
    real.kill_process(first)
    eventually(lambda: not real.process_alive(first), 10)
    assert real.ensure_healthy()  # a dead ServerApp is no sickness of the engine

    second, _ = note(attempts, real.start_run(bundle))
    generation = real.generation
    program("flower-superlink", real).kill()
    eventually(lambda: not real.ensure_healthy(), 30)
    assert real.generation == generation + 1
    assert gone(second)
    assert real.ensure_healthy()
    third, _ = note(attempts, real.start_run(bundle))

    program("flower-superexec", real).send_signal(signal.SIGKILL)
    eventually(lambda: not real.ensure_healthy(), 30)
    assert gone(third)
    note(attempts, real.start_run(bundle))


def gone(pid: int) -> bool:
    """Whether a process has ended: a zombie that nobody has reaped yet has."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def program(name: str, engine: FlowerEngine) -> psutil.Process:
    """The one process of the engine's tree that runs this program."""
    found = [p for p in family(engine) if any(w.endswith(name) for w in p.cmdline()[:3])]
    assert len(found) == 1
    return found[0]


def family(engine: FlowerEngine) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            tree = process.environ().get(TREE_VARIABLE)
            if tree == engine._superlink.tree and not gone(process.pid):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def test_what_a_killed_server_left_behind_is_ended(
    real: FlowerEngine, bundle: bytes, tmp_path: Path
) -> None:
    (tmp_path / "attempts" / "hold").touch()
    left, _ = note(tmp_path / "attempts", real.start_run(bundle))
    heir = FlowerEngine(SuperLink(tmp_path / "engine", tmp_path / "attempts"))
    heir.start()
    try:
        eventually(lambda: gone(left), 10)
        assert heir.ensure_healthy()
        heir.stop()
        assert family(heir) == []
    finally:
        heir.stop()


def test_a_superlink_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FlowerEngine(SuperLink(tmp_path / "engine", tmp_path, start_seconds=0.05))
    with pytest.raises(Unavailable, match=r"did not answer within .*superlink\.log"):
        engine.start()
    assert "down" in engine.why()
    assert family(engine) == []
