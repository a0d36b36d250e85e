"""The implementations of the round engine's port, each with three clients that answer as a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from managing import Device, World, managing
from node_grid import Asked, NodesInProcess

from fedops.core import contracts as c
from fedops.core.contracts.training import ARRAYS, CONFIG, TrainingOrder
from fedops.core.errors import FedOpsError
from fedops.engine.link.server_link import EngineApi
from fedops.flower.grid.node_server import NodeServer
from fedops.storage.payloads import Payload, assemble, blobs_of, check_document, pack_payload
from fedops.storage.tensors import load
from fedops.testing import InMemoryServer

#: As the nodes of a grid are called, in the order in which they came.
NAMES = ["node-00000", "node-00001", "node-00002"]


#: What a client makes of it. It fails by raising.
Answer = Callable[[Asked], Payload]


@dataclass
class Port:
    """One implementation at work."""

    api: EngineApi
    spec: c.AttemptSpec
    answers: dict[str, Answer]
    #: Let so many seconds pass.
    pass_time: Callable[[float], None]
    #: What was asked, in the order in which it came.
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Payload:
        self.asked.append(asked)
        return self.answers[asked.device](asked)


class Make(Protocol):
    def __call__(self, folder: Path, config: dict[str, Any]) -> Any: ...


# --- a server in memory ------------------------------------------------------------------------


@contextmanager
def in_memory(folder: Path, config: dict[str, Any]) -> Iterator[Port]:
    server = InMemoryServer(config, folder)
    port = Port(server, server.spec(), {}, time.sleep)
    for name in NAMES:
        server.add(
            name, lambda w: port.answer(Asked(w.assignment.device, w.kind, w.order, w.tensors))
        )
    yield port
    server.close()


# --- Flower's nodes ----------------------------------------------------------------------------


@contextmanager
def on_nodes(folder: Path, config: dict[str, Any]) -> Iterator[Port]:
    spec = InMemoryServer(config, folder).spec()
    clients: dict[int, tuple[str, Callable[[Asked], Payload]]] = {}
    server = NodeServer(NodesInProcess(clients), spec)
    port = Port(server, spec, {}, time.sleep)
    clients.update({id_: (name, port.answer) for id_, name in enumerate(NAMES, start=1)})
    yield port


# --- a Server Manager over HTTP ----------------------------------------------------------------


@contextmanager
def over_http(folder: Path, config: dict[str, Any]) -> Iterator[Port]:
    with managing(folder) as world:
        world.task(overrides=[f"num_rounds={config['num_rounds']}", "clients_per_round=3"])
        run = world.operator.start_run("mnist", c.RunStart())
        devices = world.ready_devices(*NAMES)
        _, api = world.open_attempt(run.id)
        spec = api.hello(c.EngineHello(pid=1))

        def pass_time(seconds: float) -> None:
            world.clock.advance(seconds)
            world.step()

        port = Port(api, spec, {}, pass_time)
        over = threading.Event()
        threads = [
            threading.Thread(target=_work, args=(port, world, name, device, over), daemon=True)
            for name, device in devices.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield port
        finally:
            over.set()
            for thread in threads:
                thread.join(10.0)


def _work(port: Port, world: World, name: str, device: Device, over: threading.Event) -> None:
    """Do what the device is offered until it is ``over``."""
    while not over.is_set():
        try:
            for offer in device.poll(wait=0.5).offers:
                _do(port, world, name, device, offer.id)
        except FedOpsError:
            if not over.is_set():
                continue


def _do(port: Port, world: World, name: str, device: Device, id_: str) -> None:
    instruction = device.instruction(id_)
    device.held.append(id_)
    document = check_document(instruction.content)
    files = {}
    for ref in blobs_of(document).values():
        path = world.folder / f"{name}-{ref.sha256}"
        files[ref.sha256] = load(device._download(f"/blobs/{ref.sha256}", path))
    payload = assemble(document, {}, files)
    order = TrainingOrder.from_values(payload.configs[CONFIG])
    asked = Asked(name, instruction.kind, order, dict(payload.arrays[ARRAYS]))  # type: ignore[arg-type]
    try:
        result = pack_payload(port.answer(asked))
    except Exception as error:
        device.end(
            id_, c.WorkEnd(outcome="failed", reason=f"{type(error).__name__}: {error}", code=1)
        )
    else:
        device.deliver(id_, result)
    finally:
        device.held.remove(id_)


IMPLEMENTATIONS: dict[str, Make] = {
    "in memory": in_memory,
    "flower nodes": on_nodes,
    "server manager": over_http,
}
