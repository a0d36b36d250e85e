"""What the tests of rounds on a real Server Manager share: clients that really train, and an attempt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from in_memory_federation import payload_of, strategy_of
from line_model import LineProject, StateMemory, examples
from managing import Device, World

from fedops.api_client import EngineClient
from fedops.config.loading import parse_config
from fedops.core import contracts as c
from fedops.core.contracts.training import ARRAYS, CONFIG, TrainingOrder, message_type_of
from fedops.core.errors import FedOpsError
from fedops.engine import attempt
from fedops.engine.link.server_link import ServerLink
from fedops.engine.run_setup import Setup, prepare_run
from fedops.engine.scoring.scorer import ClientEvaluator, Scorer
from fedops.flower.codec.compat import take_task_identity
from fedops.storage.payloads import assemble, blobs_of, check_document, pack_payload
from fedops.storage.tensors import load
from fedops.trainer import device_context
from fedops.trainer.local_round import LocalTrainer

ROUNDS = 3
NAMES = ["pi-1", "pi-2", "pi-3"]
SETTINGS: dict[str, Any] = {"num_rounds": ROUNDS, "clients_per_round": 3, "learning_rate": 0.05}


class Client:
    """Trains what its device is offered, in a thread of its own."""

    def __init__(self, device: Device, name: str, examples_: int, folder: Path) -> None:
        """``examples_``: how many it trains on; 0: it has validation data only."""
        self.trained: list[tuple[str, int]] = []
        self._device = device
        self._folder = folder / name
        self._folder.mkdir()
        data = examples(sum(name.encode()), examples_) if examples_ else None
        project = LineProject(parse_config(SETTINGS, "the test"), data=data)
        memory = StateMemory()
        self._trainer = LocalTrainer(project, device_context.Device(name, memory=memory))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End with the next answer."""
        self._over.set()

    def join(self) -> None:
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                for offer in self._device.poll(wait=1.0).offers:
                    self._work(offer.id)
            except FedOpsError:
                if not self._over.is_set():
                    raise

    def _work(self, id_: str) -> None:
        instruction = self._device.instruction(id_)
        document = check_document(instruction.content)
        files = {ref.sha256: self._blob(ref) for ref in blobs_of(document).values()}
        payload = assemble(document, {}, files)
        order = TrainingOrder.from_values(payload.configs[CONFIG])
        self.trained.append((instruction.kind, order.round))
        update = self._trainer(
            order, dict(payload.arrays[ARRAYS]), message_type_of(instruction.kind)
        )
        self._device.deliver(id_, pack_payload(payload_of(update)))

    def _blob(self, ref: c.BlobRef) -> Any:
        path = self._folder / ref.sha256
        return load(self._device._download(f"/blobs/{ref.sha256}", path))


@contextmanager
def training(world: World, *names: str) -> Iterator[list[Client]]:
    """Devices of the task that train what they are offered, until the block ends."""
    devices = world.ready_devices(*names)
    made = [Client(devices[name], name, 4 + i, world.folder) for i, name in enumerate(names)]
    try:
        yield made
    finally:
        for client in made:
            client.end()
        world.manager.services.let_go()
        for client in made:
            client.join()


def play(
    world: World,
    run_id: int,
    prepared: Callable[[EngineClient], None] = lambda _: None,
    scorer: Scorer | None = None,
    scoring: Callable[[Setup, ServerLink], tuple[Scorer, ClientEvaluator]] | None = None,
    **settings: Any,
) -> c.AttemptSpec:
    """What the process of an attempt does."""
    _, api = world.open_attempt(run_id)
    with ServerLink(api, 5.0) as link:
        spec = link.ask(lambda each: each.hello(c.EngineHello(pid=1)))
        take_task_identity(spec.run_id, 1)
        project = LineProject(parse_config({**SETTINGS, **settings}, "the test"))
        setup = prepare_run(project, spec, link, strategy_of)
        prepared(api)
        found = scoring(setup, link) if scoring else (scorer, None)
        attempt.play(spec, link, lambda: attempt.run_rounds(setup, link, *found))
    return spec
