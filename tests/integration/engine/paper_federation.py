"""A federation in one process: a Server Manager and clients as far as the round engine sees them.

Model, training, documents and checks are real; what is missing is the network and the processes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from line_model import LineAdapter, LineProject, StateMemory, examples, plain_rounds
from paper_server import PaperServer
from paper_work import Answer, Assignment, Refused, Work

from fedops.config.loading import parse_config
from fedops.config.schema import Config
from fedops.core.contracts.training import ARRAYS, EVAL_METRICS, HEADER, METRICS
from fedops.core.errors import AttemptSuperseded, Unavailable
from fedops.engine.link.server_link import ServerLink
from fedops.engine.round_engine import RoundEngine
from fedops.engine.run_setup import prepare_run
from fedops.flower.strategies.strategy_adapter import RunStrategy
from fedops.flower.strategies.strategy_factory import make_strategy
from fedops.storage.payloads import Payload
from fedops.trainer.device_context import Device
from fedops.trainer.local_round import LocalTrainer, LocalUpdate


def payload_of(update: LocalUpdate) -> Payload:
    """An update as a client delivers it."""
    measured = {METRICS: update.trained, EVAL_METRICS: update.evaluated}
    return Payload(
        arrays={} if update.tensors is None else {ARRAYS: update.tensors},
        metrics={name: m.values() for name, m in measured.items() if m is not None},
        configs={HEADER: update.header.values()},
    )


def strategy_of(config: Config) -> RunStrategy:
    chosen = config.server.strategy
    return make_strategy(chosen.target, chosen.kwargs)


class PaperFederation:
    """Server and clients; plays attempts."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.config = {"num_rounds": 2, "learning_rate": 0.05, **config}
        self.server = PaperServer(self.config, folder)
        self.memories: dict[str, StateMemory] = {}
        self.validation: tuple[Any, str] | None = None

    def project(self, **changed: Any) -> LineProject:
        return LineProject(parse_config(self.config, "the test"), **changed)

    def client(self, device: str, **changed: Any) -> Answer:
        """The real client side, with data of its own."""
        data = {"data": examples(sum(device.encode()), 4 + len(self.server.answers)), **changed}
        memory = self.memories.setdefault(device, StateMemory())
        trainer = LocalTrainer(self.project(**data), Device(device, memory=memory))

        def answer(work: Work) -> Payload | Refused:
            update = trainer(work.order, work.tensors, work.kind)
            return Refused(update.header.refused) if update.header.refused else payload_of(update)

        return answer

    def add(self, *devices: str, **changed: Any) -> None:
        for device in devices:
            self.server.add(device, self.client(device, **changed))

    def play(self, retry_seconds: float = 5.0) -> dict[str, float]:
        """Play an attempt to its end."""
        with ServerLink(self.server, retry_seconds) as link:
            try:
                project = self.project(validation=self.validation)
                setup = prepare_run(project, self.server.spec(), link, strategy_of)
                return RoundEngine(setup, link).run()
            finally:
                self.server.end_attempt()

    def play_aside(self) -> Playing:
        return Playing(self)

    def until(self, true: Callable[[], object], seconds: float = 10.0) -> None:
        """Wait for something that another thread brings about."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.01)


class Playing:
    """An attempt that plays in a thread of its own."""

    def __init__(self, federation: PaperFederation) -> None:
        self.error: Exception | None = None
        self.result: dict[str, float] | None = None

        def work() -> None:
            try:
                self.result = federation.play()
            except Exception as error:
                self.error = error

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def end(self, seconds: float = 15.0) -> Exception | None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the engine did not end"
        return self.error


__all__ = [
    "Answer",
    "Assignment",
    "AttemptSuperseded",
    "LineAdapter",
    "LineProject",
    "PaperFederation",
    "PaperServer",
    "Refused",
    "StateMemory",
    "Unavailable",
    "Work",
    "examples",
    "payload_of",
    "plain_rounds",
    "strategy_of",
]
