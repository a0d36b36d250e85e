"""A Server Manager as a process of its own, and a scripted app for it to run."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from flwr.cli.build import build_fab_from_disk

from fedops.api_client import OperatorClient
from fedops.core.contracts import RunRead, RunStart, TaskCreate
from fedops.core.errors import FedOpsError
from fedops.processes.process_tree import TREE_VARIABLE
from fedops.server.jobs.engine_process import tree_of

PROGRAM = """
import sys
from fedops.core.errors import FedOpsError
from fedops.server.main import run
from fedops.settings import server_settings
settings = server_settings(home=sys.argv[1], port=int(sys.argv[2]), host=sys.argv[3])
try:
    run(settings, print, (sys.executable, "-c", sys.argv[4]))
except FedOpsError as error:
    sys.exit(f"{error.kind}: {error.message}")
"""

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "scripted"
version = "1.0.0"
description = "Rounds that only take time"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "fedops"
[tool.flwr.app.components]
serverapp = "scripted.server:app"
clientapp = "scripted.client:app"
[tool.flwr.app.config]
mode = "client"
task_id = "task_id"
[tool.fedops]
package = "scripted"
config = "scripted/config.toml"
"""
#: Commits a round every 0.4 s; each round's "model" names it. ``learning_rate = 9`` makes it deaf.
ENGINE = """
import hashlib, json, os, sys, time
from pathlib import Path
from fedops.api_client import EngineClient
from fedops.core import contracts as c
from fedops.processes.spawn import die_with_parent
ticket = json.loads(sys.stdin.readline())
die_with_parent()

def hand_over(engine, folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return engine.hand_over(c.BlobHandover(name="model", sha256=digest)).sha256

def rounds(engine, spec):
    folder = Path(spec.spool_dir)
    for number in range(spec.next_round, spec.rounds + 1):
        engine.begin_round(number, c.RoundBegin(selected={}))
        time.sleep(0.4)
        model = hand_over(engine, folder, f"model of round {number}")
        reply = engine.commit(c.RoundCommit(round=number, model=model, strategy_state=None,
            participations=[], seconds=0.4, overhead_seconds=0.0))
        if reply.command != "continue":
            return c.EngineFinish(outcome="stopped")
    return c.EngineFinish(outcome="completed")

with EngineClient(ticket["server_url"], token=ticket["token"]) as engine:
    spec = engine.hello(c.EngineHello(pid=os.getpid()))
    while spec.config["learning_rate"] == 9:
        try:
            time.sleep(0.1)
        except BaseException:
            pass
    contract = c.ParameterContract(parameters=())
    first = hand_over(engine, Path(spec.spool_dir), "initial model")
    engine.initial_model(c.ModelInit(model=first, contract=contract))
    engine.finish(rounds(engine, spec))
"""


def build_scripted_app(folder: Path) -> Path:
    """The bundle of an app whose rounds do nothing, as a file."""
    package = folder / "scripted"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text("")
    (package / "server.py").write_text("app = None\n")
    (package / "client.py").write_text("from flwr.clientapp import ClientApp\napp = ClientApp()\n")
    (package / "config.toml").write_text("num_rounds = 3\n")
    file = folder / "scripted.fab"
    file.write_bytes(build_fab_from_disk(folder))
    return file


class ServerProcess:
    """One Server Manager on one home; may be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, home: Path | None = None, host: str = "127.0.0.1") -> list[str]:
        return [sys.executable, "-c", PROGRAM, str(home or self.home), str(self.port), host, ENGINE]

    def start(self) -> None:
        log = self.home.with_suffix(".log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            with self.operator() as client:
                return bool(client.info().engine)
        except (FedOpsError, OSError):
            return False

    def log(self) -> str:
        return self.home.with_suffix(".log").read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def operator(self) -> OperatorClient:
        return OperatorClient(self.url, token=(self.home / "admin-token").read_text().strip())

    def end(self, signal_number: signal.Signals = signal.SIGTERM, seconds: float = 30.0) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signal_number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the server did not end: {self.log()}") from None

    def family(self) -> list[psutil.Process]:
        """The FL servers and all they started, as far as they live."""
        tree, found = tree_of(self.home / "engine"), []
        for process in psutil.process_iter():
            try:
                carries = process.environ().get(TREE_VARIABLE) == tree
                if carries and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    # --- runs --------------------------------------------------------------------------------

    def start_run(self, bundle: Path, task: str = "digits", *overrides: str) -> int:
        with self.operator() as client:
            ref = client.upload_bundle(bundle)
            client.create_task(TaskCreate(name=task, bundle=ref.sha256))
            return client.start_run(task, RunStart(overrides=list(overrides))).id

    def run(self, run_id: int) -> RunRead:
        with self.operator() as client:
            return client.run(run_id)

    def attempt_pid(self, run_id: int, number: int) -> int:
        """The FL server's process of an attempt, as soon as it said hello."""
        eventually(lambda: self._pid(run_id, number) is not None)
        return self._pid(run_id, number) or 0

    def _pid(self, run_id: int, number: int) -> int | None:
        found = [a.pid for a in self.run(run_id).attempts if a.number == number]
        return found[0] if found else None


@contextmanager
def server_process(home: Path) -> Iterator[ServerProcess]:
    """A running server; nothing of it is left at the end."""
    server = ServerProcess(home)
    try:
        server.start()
        yield server
    finally:
        server.end()
        for process in server.family():
            process.kill()


def eventually(check: Callable[[], object], seconds: float = 100.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
