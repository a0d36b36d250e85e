"""A joined device, its Client Manager and training client as real processes, against a fake server."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from fake_manager import FakeServer, Work, eventually
from fake_manager_server import fake_server

from fedops.client.device.enrolment import join

PROGRAM = Path(__file__).with_name("client_process.py")


@dataclass
class Running:
    """One Client Manager process."""

    home: Path
    process: subprocess.Popen[str]
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait(self, seconds: float = 10.0) -> int:
        return self.process.wait(seconds)


@dataclass
class Device:
    """A joined device and the Client Managers that were started on it."""

    server: FakeServer
    url: str
    home: Path
    app: Path
    started: list[Running] = field(default_factory=list)

    def start(self, *options: str, **env: str) -> Running:
        log = self.home.parent / f"manager-{len(self.started)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(self.home), str(self.app), *options],
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **env},
            )
        self.started.append(Running(self.home, process, log))
        return self.started[-1]

    def until(self, status: str, seconds: float = 20.0) -> dict[str, Any]:
        """Wait until the server was told that the training client is in this state."""
        eventually(
            lambda: self.server.process.get("status") == status,
            seconds,
            f"not {status}: {self.server.process}\n{self.started[-1].text}",
        )
        return self.server.process

    def child(self) -> int:
        return int((self.home / "training-client.pid").read_text().split()[0])

    def deliver(self, work: Work, seconds: float = 20.0) -> Work:
        """Wait until the server has the result."""
        eventually(lambda: work.status == "uploaded", seconds, lambda: self.started[-1].text)
        return work

    def trainings(self) -> int:
        """How often the training client has begun to train."""
        path = self.app / "trainings"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def epochs(self) -> list[int]:
        path = self.app / "epochs"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def mode(self, mode: str) -> None:
        (self.app / "mode").write_text(mode)


@contextmanager
def joined_device(
    folder: Path,
    prefix: str = "",
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    ca_file: Path | None = None,
) -> Iterator[Device]:
    """A device of a server of its own. Its Client Managers end with it."""
    with fake_server(prefix, host, tls) as (server, url):
        home, app = folder / "home", folder / "app"
        app.mkdir()
        join(url, "good", "pi-1", home, ca_file=ca_file)
        device = Device(server, url, home, app)
        try:
            yield device
        finally:
            for running in device.started:
                if running.process.poll() is None:
                    running.process.terminate()
                    running.process.wait(15)


def gone(pid: int, seconds: float) -> bool:
    """Whether a process ends in time; one that nobody has reaped yet has ended."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return not gone(pid, 0.0)
