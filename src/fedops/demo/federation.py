"""A whole federation on this machine, each part a process of its own, started by the command a user types.

The demo, the acceptance tests and the benchmarks stand on it. Every child is tethered: it ends with us,
however we end.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

from fedops.api_client import OperatorClient, trust_pem
from fedops.client.device.enrolment import join as enrol
from fedops.core import contracts as c
from fedops.core.errors import FedOpsError, Unavailable, from_reply
from fedops.core.reasons.readiness import checking_tasks
from fedops.core.states import ProcessStatus
from fedops.processes.spawn import clean_env, let_go, spawn, tethered
from fedops.waiting import Timeout, wait_until

T = TypeVar("T")

#: The ``fedops`` of this very interpreter.
FEDOPS = (sys.executable, "-m", "fedops.cli")
START_SECONDS = 60.0
#: The server is on this machine and answered: who cannot reach it is being taken down.
JOIN_SECONDS = 5.0
#: From SIGTERM to SIGKILL of a whole tree, when all is taken down.
GRACE_SECONDS = 8.0


@dataclass
class Part:
    """A long-running command of the federation."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def root(self) -> psutil.Process | None:
        """The command itself, below its tether."""
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.Error:
            return None
        return children[0] if children else None

    def stop(self) -> None:
        """Ask it to end; ``join`` waits for it."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)

    def join(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:  # closing its stdin makes the tether kill the tree
            self.process.kill()
        let_go(self.process)
        self.process.wait()

    def last_words(self, lines: int = 15) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


@dataclass
class Federation:
    """A Server Manager and its devices under one directory, on free ports of loopback."""

    home: Path
    #: Set for every child, beside our own environment.
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=lambda: free_port())
    #: Whether its server speaks TLS, with an authority of its own.
    tls: bool = False
    parts: dict[str, Part] = field(default_factory=dict)
    _commands: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _closed: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    @property
    def authorities(self) -> str:
        """What its devices pin, as PEM; "" without TLS."""
        return (self.server_home / "tls" / "ca.pem").read_text() if self.tls else ""

    @property
    def join_url(self) -> str:
        """What devices are given to join."""
        if not self.tls:
            return self.url
        with self.operator() as operator:
            return operator.info().join_url

    @property
    def server_home(self) -> Path:
        return self.home / "server"

    def device_home(self, name: str) -> Path:
        return self.home / name

    # --- the server -------------------------------------------------------------------------

    def server_command(self, *options: str) -> list[str]:
        """What starts the Server Manager, as a user types it."""
        place = ["--home", str(self.server_home), "--port", str(self.port)]
        return [*FEDOPS, "server", *place, *(["--tls"] if self.tls else []), *options]

    def start_server(self, *options: str) -> None:
        """Start the Server Manager; returns when it answers."""
        part = self.launch_server(*options)
        self.until("the Server Manager to answer", lambda: self._server_answers(part))

    def launch_server(self, *options: str) -> Part:
        """Begin to start the Server Manager; returns at once."""
        return self._start("server", self.server_command(*options))

    def _server_answers(self, part: Part) -> bool:
        if not part.running:
            raise Unavailable(f"the Server Manager did not start:\n{part.last_words()}")
        try:
            with self.operator() as client:
                client.info()
        except (FedOpsError, OSError):  # it has not written all of its files yet
            return False
        return True

    def keep_server(self) -> int:
        """Start the Server Manager so that it outlives us; returns its process id when it answers."""
        with (self.home / "logs" / "server.log").open("ab") as out:
            process = subprocess.Popen(
                self.server_command(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env({}),
                start_new_session=True,
            )
        part = Part("server", process, self.home / "logs" / "server.log")
        self.until("the Server Manager to answer", lambda: self._server_answers(part))
        return process.pid

    @property
    def admin_token_file(self) -> Path:
        return self.server_home / "admin-token"

    @property
    def admin_token(self) -> str:
        """The admin token that the server wrote at its first start."""
        try:
            return self.admin_token_file.read_text().strip()
        except OSError:
            raise Unavailable("the Server Manager has not written its admin token yet") from None

    def operator(self) -> OperatorClient:
        """A client of the server with its admin token."""
        verify = trust_pem(self.authorities) if self.tls else True
        return OperatorClient(self.url, token=self.admin_token, verify=verify)

    def create_task(self, name: str, app: Path, overrides: Sequence[str] = ()) -> None:
        """Make a task of an app's folder."""
        self.admin("task", "create", name, "--app", str(app), *set_options(overrides))

    # --- devices ----------------------------------------------------------------------------

    def join(self, name: str, token: str | None = None) -> None:
        """Enrol a device, with a token made for it if none is given."""
        self._require_open()
        if token is None:
            with self.operator() as client:
                token = client.create_token(c.TokenCreate(uses=1, note=name)).token
        # What 'fedops join' does, without a process for each of maybe fifty devices.
        enrol(self.join_url, str(token), name, self.device_home(name), patience=JOIN_SECONDS)

    def client_command(
        self, name: str, app: Path, tasks: Sequence[str], overrides: Sequence[str] = ()
    ) -> list[str]:
        """What starts a device's Client Manager, as a user types it."""
        options = ["--app", str(app), "--home", str(self.device_home(name))]
        options += [word for task in tasks for word in ("--task", task)]
        return [*FEDOPS, "client", "run", *options, *set_options(overrides)]

    def start_client(
        self, name: str, app: Path, *tasks: str, overrides: Sequence[str] = (), **env: str
    ) -> None:
        """Start a device's Client Manager; returns at once."""
        self._start(name, self.client_command(name, app, tasks, overrides), env)

    def until_ready(self, names: Sequence[str], seconds: float = START_SECONDS) -> None:
        """Wait until the server sees the devices, their training clients idle, and model and data tried."""
        with self.operator() as client:
            self.until(
                f"{', '.join(names)} to be ready",
                lambda: all(self._ready(client, name) for name in names),
                seconds,
            )

    def _ready(self, client: OperatorClient, name: str) -> bool:
        part = self.parts.get(name)
        if part is not None and not part.running:
            raise Unavailable(f"the client of {name} ended:\n{part.last_words()}")
        device = client.device(name)
        idle = device.process.status is ProcessStatus.IDLE
        return device.online and idle and not checking_tasks(device.process)

    # --- commands and parts -----------------------------------------------------------------

    def admin(self, *words: str) -> Any:
        """Run an operator's ``fedops`` command against this server; returns its JSON."""
        return self.command(*words, "--server", self.join_url, FEDOPS_TOKEN=self.admin_token)

    def command(self, *words: str, **env: str) -> Any:
        """Run a ``fedops`` command to its end; its failure is raised as the error it reports."""
        code, out, err = self._run([*FEDOPS, *words, "--json"], env)
        try:
            document = json.loads(out)
        except ValueError:
            document = {}
        if code != 0:
            message = document.get("message") or err.strip() or f"exit {code}"
            raise from_reply(document.get("kind", "error"), document.get("error", ""), message)
        return document

    def _run(self, command: list[str], env: Mapping[str, str]) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command that ends with us, should we end first."""
        self._require_open()
        process = spawn(
            tethered(command, grace=1.0),
            env=self._env(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        tie, process.stdin = process.stdin, None  # communicate would cut it
        self._commands.add(process)
        try:
            out, err = process.communicate()
        finally:
            self._commands.discard(process)
            if tie is not None:
                tie.close()
        return process.returncode, out.decode(), err.decode()

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("the federation is being taken down")

    def check_parts(self) -> None:
        """Raise ``Unavailable`` when a part ended by itself."""
        for part in self.parts.values():
            if not part.running:
                raise Unavailable(f"{part.name} ended unexpectedly:\n{part.last_words()}")

    def _env(self, extra: Mapping[str, str]) -> dict[str, str]:
        return clean_env({**self.env, **extra})

    def _start(self, name: str, command: list[str], env: Mapping[str, str] | None = None) -> Part:
        self._require_open()
        log = self.home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            process = spawn(
                tethered(command, grace=GRACE_SECONDS - 3.0),
                env=self._env(env or {}),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        part = self.parts[name] = Part(name, process, log)
        return part

    def stop(self, name: str) -> None:
        """End a part and everything it started."""
        part = self.parts.pop(name)
        part.stop()
        part.join(GRACE_SECONDS)

    def close(self) -> None:
        """End everything, for good."""
        self._closed = True
        for command in list(self._commands):
            command.terminate()
        parts, self.parts = list(self.parts.values()), {}
        for part in parts:
            part.stop()
        timeout = Timeout(GRACE_SECONDS)
        for part in parts:
            part.join(max(timeout.seconds_left, 0.1))

    def until(
        self,
        what: str,
        condition: Callable[[], T | None],
        seconds: float = START_SECONDS,
        *,
        pause: float = 0.1,
    ) -> T:
        """The first true value of ``condition``; ``Unavailable`` when none came in time."""
        if value := wait_until(condition, seconds, every=pause):
            return value
        raise Unavailable(f"waited {seconds:.0f} s in vain for {what}; logs: {self.home / 'logs'}")


def set_options(overrides: Sequence[str]) -> list[str]:
    """``--set a=1 --set b=2``."""
    return [word for override in overrides for word in ("--set", override)]


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
