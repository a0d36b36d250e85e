"""Server Managers on one PostgreSQL, and a run on them."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from managing import CONTRACT, Device, Engine, World
from serving import serving

from fedops.core import contracts as c
from fedops.core.contracts import EngineTicket
from fedops.server.app import create_app, front
from fedops.server.rounds.engine_session import spool_dir
from fedops.settings import ServerSettings
from fedops.testing import FakeClock, FakeEngines

POSTGRES = os.environ.get("FEDOPS_TEST_POSTGRES")
needs_postgres = pytest.mark.skipif(POSTGRES is None, reason="FEDOPS_TEST_POSTGRES names no server")
HEARTBEAT_SECONDS = 0.5


@dataclass
class Manager(World):
    """One of the two."""

    engines: FakeEngines | None = None

    @property
    def leads(self) -> bool:
        return self.manager.services.leadership.leads

    def tickets(self) -> list[EngineTicket]:
        assert self.engines is not None
        return list(self.engines.running.values())

    def engine(self) -> Engine:
        """The FL server that this one has just started."""
        eventually(lambda: bool(self.tickets()))
        ticket = self.tickets()[-1]
        assert ticket.server_url == self.url
        spool = spool_dir(self.manager.services.settings.home, ticket.run_id, ticket.attempt)
        made = Engine(ticket.server_url, ticket.token, spool)
        self._open.append(made)
        return made

    def hears(self, device: Device) -> Device:
        """The device, as it calls this one. What it knows and holds it has in one place."""
        moved = self.again(device)
        moved.held, moved.last = device.held, device.last
        return moved


def eventually(check: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def home_of(folder: Path, name: str, files: Path | None) -> Path:
    """A home folder whose stored files are in ``files``."""
    home = folder / name
    home.mkdir()
    if files is not None:
        (home / "artifacts").symlink_to(files)
    return home


@contextmanager
def manager(
    folder: Path, name: str, database_url: str, files: Path | None, **more: Any
) -> Iterator[Manager]:
    home = home_of(folder, name, files)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = ServerSettings(
        home=home,
        port=port,
        database_url=database_url,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        **more,
    )
    engines = FakeEngines()
    app = create_app(settings, engines)
    gate = front(app)
    with serving(gate, port=port):
        (folder / "files").mkdir(exist_ok=True)
        made = Manager(
            f"http://127.0.0.1:{port}",
            app.state.manager,
            FakeClock(),
            folder / "files",
            app,
            gate,
            engines=engines,
        )
        try:
            yield made
        finally:
            made.close()


def begun(lead: Manager, *names: str, seconds: float = 60.0) -> tuple[Engine, dict[str, str]]:
    """A run whose FL server has begun its first round with these devices."""
    lead.operator.start_run("mnist", c.RunStart())
    engine = lead.engine()
    engine.hello(c.EngineHello(pid=4711))
    model = engine.upload(lead.model(0.0)).sha256
    engine.initial_model(c.ModelInit(model=model, contract=CONTRACT))
    batch = {"model": model, "deadline_seconds": seconds}
    return engine, lead.begin(engine, 1, *names, **batch)


def deliveries(engine: Engine, seen: int = 0) -> list[c.Delivery]:
    """What an engine collects, beyond so many deliveries, as soon as there is any."""
    found: list[c.Delivery] = []
    after, deadline = 0, time.monotonic() + 20.0
    while len(found) <= seen:
        assert time.monotonic() < deadline, "nothing was delivered"
        page = engine.collect(c.CollectRequest(after=after, wait=5.0))
        after, found = page.sequence, found + page.deliveries
    return found[seen:]


def other_as_operator(lead: Manager, other: Manager) -> Manager:
    """The one that leads, with an operator who calls the other."""
    lead.operator = other.operator
    return lead


def upload_headers(assignment: str, data: bytes, token: str) -> dict[str, str]:
    said = {"assignment": assignment, "sha256": hashlib.sha256(data).hexdigest()}
    words = [f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items()]
    return {
        "tus-resumable": "1.0.0",
        "upload-length": str(len(data)),
        "upload-metadata": ",".join(words),
        "authorization": f"Bearer {token}",
        "fedops-protocol": "1",
    }
