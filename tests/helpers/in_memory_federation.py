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

from fedops.config.loading import parse_config
from fedops.config.schema import Config
from fedops.core.errors import AttemptSuperseded, Unavailable
from fedops.engine.link.server_link import ServerLink
from fedops.engine.round_engine import RoundEngine
from fedops.engine.run_setup import Setup, prepare_run
from fedops.engine.scoring.scorer import ClientEvaluator, Scorer
from fedops.flower.strategies.root_training import with_root_update
from fedops.flower.strategies.strategy_adapter import RunStrategy
from fedops.flower.strategies.strategy_factory import make_strategy
from fedops.testing.in_memory_server import InMemoryServer
from fedops.testing.in_memory_work import (
    Answer,
    Assignment,
    Refused,
    Work,
    payload_of,
    trained_by,
)
from fedops.trainer.device_context import Device
from fedops.trainer.local_round import LocalTrainer


def strategy_of(config: Config) -> RunStrategy:
    chosen = config.server.strategy
    return make_strategy(chosen.target, chosen.kwargs)


class InMemoryFederation:
    """Server and clients; plays attempts."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.config = {"num_rounds": 2, "learning_rate": 0.05, **config}
        self.server = InMemoryServer(self.config, folder)
        self.memories: dict[str, StateMemory] = {}
        self.validation: tuple[Any, str] | None = None
        #: Makes who scores rounds, and who has clients evaluate for that.
        self.scoring: Callable[[Setup, ServerLink], tuple[Scorer, ClientEvaluator | None]] | None
        self.scoring = None

    def project(self, **changed: Any) -> LineProject:
        return LineProject(parse_config(self.config, "the test"), **changed)

    def client(self, device: str, **changed: Any) -> Answer:
        """The real client side, with data of its own."""
        data = {"data": examples(sum(device.encode()), 4 + len(self.server.answers)), **changed}
        memory = self.memories.setdefault(device, StateMemory())
        return trained_by(LocalTrainer(self.project(**data), Device(device, memory=memory)))

    def add(self, *devices: str, **changed: Any) -> None:
        for device in devices:
            self.server.add(device, self.client(device, **changed))

    def play(self, retry_seconds: float = 5.0) -> dict[str, float]:
        """Play an attempt to its end."""
        with ServerLink(self.server, retry_seconds) as link:
            try:
                project = self.project(validation=self.validation)
                setup = prepare_run(project, self.server.spec(), link, strategy_of)
                setup = with_root_update(setup)
                scorer, evaluator = self.scoring(setup, link) if self.scoring else (None, None)
                return RoundEngine(setup, link, None, scorer, evaluator).run()
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

    def __init__(self, federation: InMemoryFederation) -> None:
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
    "InMemoryFederation",
    "InMemoryServer",
    "LineAdapter",
    "LineProject",
    "Refused",
    "StateMemory",
    "Unavailable",
    "Work",
    "examples",
    "payload_of",
    "plain_rounds",
    "strategy_of",
]
