"""A federation to do harm to: who runs where, how to kill, freeze or cut off each, who starts it again."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from board import Board
from shaper import Shaper

from fedops.client.device.enrolment import join
from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.core.states import RUN_TERMINAL
from fedops.demo.federation import Federation
from fedops.failpoints import VARIABLE

HERE = Path(__file__).resolve().parent
APP = HERE / "app"
DEVICES = ("ada", "bob")
#: Task -> its strategy and the size of its model. FedAdam's momenta are state that must survive; the update
#: of the larger model is uploaded as a file, that of the smaller one rides in its delivery.
TASKS = {"mean": ("FedAvg", 20_000), "adam": ("FedAdam", 2_000)}
#: How long a killed server or Client Manager stays away: what a service manager waits. Seconds.
RESTART_SECONDS = 0.5
RUN_SECONDS = 240.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Setup:
    """Who is in a world, and what is learned there."""

    app: Path = APP
    #: Task -> what of the app's config is another.
    tasks: Mapping[str, Sequence[str]] = field(default_factory=lambda: _chaos_tasks())
    devices: tuple[str, ...] = DEVICES
    #: What the networks of some devices are like: arguments of their ``Shaper``.
    links: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: How far the clocks of some devices are off. Seconds.
    clocks: Mapping[str, float] = field(default_factory=dict)
    #: For every process.
    env: Mapping[str, str] = field(default_factory=dict)


def _chaos_tasks() -> dict[str, list[str]]:
    strategies = "server.strategy._target_=flwr.serverapp.strategy"
    return {
        task: [f"{strategies}.{strategy}", f"model.size={size}"]
        for task, (strategy, size) in TASKS.items()
    }


class World:
    """A Server Manager and its devices, each device behind a network of its own."""

    def __init__(self, home: Path, setup: Setup | None = None) -> None:
        self.home = home
        self.setup = setup or Setup()
        self.board = Board(home / "failpoints")
        env = {**_environment(home, self.board.folder), **self.setup.env}
        self.federation = Federation(home, env)
        self.networks: dict[str, Shaper] = {}
        self._threads: list[threading.Thread] = []

    # --- its life ----------------------------------------------------------------------------

    def open(self) -> None:
        federation = self.federation
        federation.start_server()
        for task, overrides in self.setup.tasks.items():
            federation.create_task(task, self.setup.app, overrides)
        for name in self.setup.devices:
            network = self.networks[name] = Shaper(
                federation.port, **self.setup.links.get(name, {})
            )
            with federation.operator() as operator:
                token = operator.create_token(c.TokenCreate(uses=1, note=name)).token
            url = f"http://127.0.0.1:{network.port}"
            join(url, str(token), name, federation.device_home(name))
            self.start_manager(name)
        federation.until_ready(self.setup.devices, seconds=120.0)

    def close(self) -> None:
        for process in self._everybody():
            with contextlib.suppress(psutil.Error):
                process.resume()
        self.federation.close()
        for network in self.networks.values():
            network.close()

    def start_manager(self, name: str) -> None:
        """Start a device."""
        index, of = self.setup.devices.index(name), len(self.setup.devices)
        overrides = [f"dataset.partition.index={index}", f"dataset.partition.of={of}"]
        env = self._shifted(self.setup.clocks[name]) if name in self.setup.clocks else {}
        self.federation.start_client(
            name, self.setup.app, *self.setup.tasks, overrides=overrides, **env
        )

    def _shifted(self, seconds: float) -> dict[str, str]:
        path = os.pathsep.join([str(HERE.parent / "clock"), self.federation.env["PYTHONPATH"]])
        return {"CLOCK_SHIFT": str(seconds), "PYTHONPATH": path}

    def restart_the_dead(self) -> None:
        """What an operator's service manager does: start what has ended."""
        for name, part in list(self.federation.parts.items()):
            if not part.running:
                time.sleep(RESTART_SECONDS)
                self.federation.stop(name)
                if name == "server":
                    self.federation.launch_server()
                else:
                    self.start_manager(name)

    # --- who is who --------------------------------------------------------------------------

    def processes(self, role: str, near: int | None = None) -> list[psutil.Process]:
        """The processes of a role; of a device's roles, preferably the device that ``near`` is of."""
        if role == "server":
            return _present([self._root("server")])
        if role == "manager":
            return _present([self._root(self.device_of(near))])
        if role == "client":
            home = self.federation.device_home(self.device_of(near))
            return _noted(home / "training-client.pid")
        below = [p for root in _present([self._root("server")]) for p in _children(root)]
        return [p for p in below if any("fedops.flower.server_app" in w for w in _command(p)[:4])]

    def device_of(self, pid: int | None) -> str:
        """The device that a process belongs to; the first one when it is the server's."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            words = " ".join(
                _command(process) + [w for p in process.parents() for w in _command(p)]
            )
            for name in self.setup.devices:
                if str(self.federation.device_home(name)) in words:
                    return name
        return self.setup.devices[0]

    def _root(self, name: str) -> psutil.Process | None:
        part = self.federation.parts.get(name)
        return part.root() if part else None

    def _everybody(self) -> Iterator[psutil.Process]:
        for part in self.federation.parts.values():
            with contextlib.suppress(psutil.Error):
                yield from psutil.Process(part.process.pid).children(recursive=True)

    # --- doing harm --------------------------------------------------------------------------

    def kill(self, role: str, near: int | None) -> bool:
        """SIGKILL. False when there was nobody to kill."""
        found = self.processes(role, near)
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return bool(found)

    def freeze(self, role: str, near: int | None, seconds: float) -> bool:
        """SIGSTOP, and SIGCONT after a while."""
        found = self.processes(role, near)
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.suspend()
        self._later(seconds, lambda: [_resume(process) for process in found])
        return bool(found)

    def cut(self, near: int | None, seconds: float) -> bool:
        """Take a device's network away for a while."""
        network = self.networks[self.device_of(near)]
        network.cut()
        self._later(seconds, network.mend)
        return True

    def cut_upload(self, near: int | None, after: int) -> bool:
        """Cut a device's connection after so many bytes from now, which are of an upload mostly."""
        self.networks[self.device_of(near)].cut_after(after)
        return True

    def damage(self, sha256: str | None) -> bool:
        """Change a byte in the middle of a blob on the server. False when there is no such file."""
        path = self.blob(sha256 or "")
        if not path.is_file():
            return False
        with path.open("rb+") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0x10]))
        return True

    def blob(self, sha256: str) -> Path:
        """Where the server keeps a blob."""
        return self.federation.server_home / "artifacts" / sha256[:2] / sha256[2:]

    def _later(self, seconds: float, what: object) -> None:
        timer = threading.Timer(seconds, what)  # type: ignore[arg-type]
        timer.daemon = True
        timer.start()
        self._threads.append(timer)

    def calm(self) -> None:
        """Wait until no harm is under way."""
        while self._threads:
            self._threads.pop().join()

    # --- runs --------------------------------------------------------------------------------

    def start_run(self, task: str, *overrides: str) -> int:
        """A run from the task's first version, so that all runs of a task can be compared."""
        with self.federation.operator() as operator:
            versions = operator.models(task)
            first = 0 if versions else None
            start = c.RunStart(from_version=first, overrides=list(overrides))
            return operator.start_run(task, start).id

    def run(self, run_id: int) -> c.RunRead | None:
        """The run, as far as the server can be asked."""
        try:
            with self.federation.operator() as operator:
                return operator.run(run_id)
        except FedOpsError:
            return None

    def is_over(self, run_id: int) -> bool:
        run = self.run(run_id)
        return run is not None and run.status in RUN_TERMINAL

    def give_up(self, run_id: int) -> None:
        """End a run that did not end by itself: it is lost, and the next one needs its devices."""
        self.restart_the_dead()
        self.federation.until("the server to answer", lambda: self.run(run_id) is not None, 60.0)
        if not self.is_over(run_id):
            with self.federation.operator() as operator:
                operator.stop_run(run_id)
            self.federation.until("the lost run to stop", lambda: self.is_over(run_id), 60.0)

    def until_quiet(self, seconds: float = 90.0) -> None:
        """Wait until all devices are idle again and have handed in all they had to say."""

        def quiet() -> bool:
            self.restart_the_dead()
            try:
                with self.federation.operator() as operator:
                    devices = [operator.device(name) for name in self.setup.devices]
            except FedOpsError:
                return False
            return all(d.online and d.process.status == "idle" for d in devices)

        self.federation.until("the devices to be idle", quiet, seconds, pause=0.3)


@contextmanager
def opened(home: Path, setup: Setup | None = None) -> Iterator[World]:
    world = World(home, setup)
    try:
        world.open()
        yield world
    finally:
        world.close()


def _environment(home: Path, failpoints: Path) -> Mapping[str, str]:
    """What every process of the federation is given: the failpoints, and the adapter as if installed."""
    plugin = home / "plugin"
    info = plugin / "chaosadapter-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chaosadapter\nVersion: 1.0\n")
    entry = "[fedops.adapters]\nchaos = chaosadapter:ChaosAdapter\n"
    (info / "entry_points.txt").write_text(entry)
    path = [str(plugin), str(HERE / "adapter")]
    sys.path.extend(p for p in path if p not in sys.path)
    return {
        VARIABLE: str(failpoints),
        "PYTHONPATH": os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "FEDOPS_SERVER_HEARTBEAT_SECONDS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _present(found: list[psutil.Process | None]) -> list[psutil.Process]:
    return [process for process in found if process is not None]


def _noted(pid_file: Path) -> list[psutil.Process]:
    try:
        return [psutil.Process(int(pid_file.read_text().split()[0]))]
    except (OSError, ValueError, IndexError, psutil.Error):
        return []


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _resume(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGCONT)
