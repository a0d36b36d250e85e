"""A federation in one process: a Server Manager, a grid and clients as far as the round engine sees them.

Model, training, messages and client handler are real; what is missing is the network and the processes.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from fedops.algorithms.aggregation import elementwise_max, weighted_mean
from fedops.config import Config, parse_config
from fedops.core import contracts as c
from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.core.errors import Conflict, Invalid, Unavailable
from fedops.core.policies import client_seed
from fedops.flower.device import Device, NoMemory
from fedops.flower.handler import ClientHandler
from fedops.flower.lines import Lines
from fedops.flower.rounds import RoundEngine
from fedops.flower.run_setup import prepare
from fedops.scalize.base import EvalResult, TrainContext, TrainResult
from fedops.scalize.data import DataSplit
from fedops.storage.atomic_files import sha256_of
from fedops.storage.tensors import Tensors, load

# --- a model -----------------------------------------------------------------------------------


class LineAdapter:
    """Fits y = w x + b by noisy steps; counts its steps; keeps a scale to itself."""

    def __init__(self, seed: int, size: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.tensors: Tensors = {
            "w": rng.normal(size=size).astype(np.float32),
            "b": np.zeros((), np.float32),
            "steps": np.zeros((), np.int64),
            "own": np.ones(2, np.float32),
        }

    @property
    def contract(self) -> ParameterContract:
        rules = {"steps": ExchangeRule.MAX, "own": ExchangeRule.LOCAL}
        return ParameterContract(
            parameters=tuple(
                ParameterSpec(
                    name=name,
                    shape=array.shape,
                    dtype=array.dtype.name,
                    rule=rules.get(name, ExchangeRule.MEAN),
                )
                for name, array in self.tensors.items()
            )
        )

    def get_tensors(self) -> Tensors:
        return {name: array.copy() for name, array in self.tensors.items()}

    def set_tensors(self, tensors: Tensors) -> None:
        for name, array in tensors.items():
            if (array.shape, array.dtype) != (self.tensors[name].shape, self.tensors[name].dtype):
                raise Invalid(f"'{name}' does not fit")
            self.tensors[name] = array.copy()

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        rng = np.random.default_rng(context.seed)
        for x, y in data:
            context.check()
            error = np.float32(float(self.tensors["w"] @ x) + float(self.tensors["b"]) - y)
            noise = rng.normal(size=x.size).astype(np.float32) * np.float32(0.01)
            step = np.float32(context.learning_rate) * self.tensors["own"][0]
            self.tensors["w"] -= step * error * x + noise
            self.tensors["b"] = np.asarray(self.tensors["b"] - step * error, np.float32)
            self.tensors["steps"] = np.asarray(self.tensors["steps"] + 1)
        self.tensors["own"] = self.tensors["own"] * np.float32(0.5)
        return TrainResult(len(data), {"loss": self._loss(data)})

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        return EvalResult(len(data), {"loss": self._loss(data)})

    def _loss(self, data: Any) -> float:
        w, b = self.tensors["w"], float(self.tensors["b"])
        return float(np.mean([(float(w @ x) + b - y) ** 2 for x, y in data]))


def examples(seed: int, count: int) -> list[tuple[Any, float]]:
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=(count, 3)).astype(np.float32)
    return [(x, float(x.sum() + 1)) for x in xs]


@dataclass(frozen=True)
class LineProject:
    """A project whose steps are here."""

    config: Config
    data: list[tuple[Any, float]] = field(default_factory=lambda: examples(0, 4))
    dataset: str = "lines"
    validation: tuple[Any, str] | None = None
    size: int = 3

    def with_config(self, plain: Mapping[str, Any]) -> Self:
        return replace(self, config=parse_config(plain, "the run's config"))

    def make_adapter(self, seed: int) -> LineAdapter:
        return LineAdapter(seed, self.size)

    def load_data(self) -> DataSplit:
        if not self.data:
            raise Invalid("this device has no example to train on")
        return DataSplit(self.data, examples(9, 3), self.dataset, len(self.data))

    def load_validation_data(self) -> tuple[Any, str] | None:
        return self.validation


# --- a Server Manager --------------------------------------------------------------------------


class PaperServer:
    """Remembers what the engine tells it, and signals what the test or the grid wants."""

    def __init__(self, config: dict[str, Any], folder: Path, seed: int = 42) -> None:
        self.config = config
        self.folder = folder
        self.seed = seed
        self.node_ids: dict[str, int] = {}
        self.unavailable: dict[str, str] = {}
        self.held: dict[str, int] = {}
        self.idle_seconds: dict[str, float] = {}
        self.command: str = "continue"
        self.attempt = 1
        self.artifacts: dict[str, bytes] = {}
        self.initial: c.ModelInit | None = None
        self.commits: list[c.RoundCommit] = []
        self.begun: list[tuple[int, dict[str, str]]] = []
        self.progresses: list[c.EngineProgress] = []
        self.finished: list[c.EngineFinish] = []
        self.freed: list[str] = []
        self.rung: list[list[str]] = []
        #: Calls that fail before the next one works, by name.
        self.failing: dict[str, list[Exception]] = defaultdict(list)
        self.on_commit: Callable[[c.RoundCommit], None] = lambda _: None
        self._signals: list[c.Signal] = []
        self._changed = threading.Condition()
        self._closed = False

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def signal(self, kind: Any, device: str | None = None, **more: Any) -> None:
        with self._changed:
            sequence = len(self._signals) + 1
            self._signals.append(c.Signal(sequence=sequence, kind=kind, device=device, **more))
            self._changed.notify_all()

    def end_attempt(self) -> None:
        with self._changed:
            self.attempt += 1
            self._signals = []

    def order(self, command: str) -> None:
        """Want the run stopped or paused."""
        with self._changed:
            self.command = command
            self._changed.notify_all()

    def spec(self) -> c.AttemptSpec:
        """What an attempt that begins now is told."""
        last = self.commits[-1] if self.commits else None
        model = last.model if last else self.initial.model if self.initial else None
        return c.AttemptSpec(
            run_id=5,
            attempt=self.attempt,
            task="lines",
            seed=self.seed,
            config=self.config,
            rounds=self.config.get("num_rounds", 1),
            next_round=last.round + 1 if last else 1,
            model=self.ref(model) if model else None,
            strategy_state=self.ref(last.strategy_state) if last and last.strategy_state else None,
            contract=self.initial.contract if self.initial else None,
            dataset=last.dataset if last else None,
            refused=dict(last.refused) if last else {},
            spool_dir=str(self.folder / "spool"),
        )

    def ref(self, sha256: str) -> c.ArtifactRef:
        return c.ArtifactRef(sha256=sha256, size=len(self.artifacts[sha256]))

    def tensors(self, sha256: str) -> Tensors:
        path = self.folder / f"{sha256}.safetensors"
        path.write_bytes(self.artifacts[sha256])
        return load(path)

    # --- as the engine sees it -------------------------------------------------------------------

    def _maybe_fail(self, name: str) -> None:
        if self.failing[name]:
            raise self.failing[name].pop(0)

    def hello(self, body: c.EngineHello) -> c.AttemptSpec:
        self._maybe_fail("hello")
        return self.spec()

    def initial_model(self, body: c.ModelInit) -> None:
        self.initial = body

    def upload(self, file: Path) -> c.ArtifactRef:
        self._maybe_fail("upload")
        sha256 = sha256_of(file)
        self.artifacts[sha256] = file.read_bytes()
        return self.ref(sha256)

    def download(self, ref: c.ArtifactRef, target: Path) -> Path:
        target.write_bytes(self.artifacts[ref.sha256])
        return target

    def candidates(self) -> c.Candidates:
        self._maybe_fail("candidates")
        return c.Candidates(
            command=self.command,  # type: ignore[arg-type]
            candidates=[
                c.Candidate(
                    device=name,
                    node_id=str(node_id),
                    unavailable=self.unavailable.get(name),
                    held_by=self.held.get(name),
                    idle_seconds=self.idle_seconds.get(name, 0.0),
                )
                for name, node_id in self.node_ids.items()
            ],
        )

    def progress(self, body: c.EngineProgress) -> None:
        self._maybe_fail("progress")
        self.progresses.append(body)

    def begin_round(self, round_: int, body: c.RoundBegin) -> None:
        self.begun.append((round_, body.selected))

    def ring(self, body: c.Ring) -> None:
        self.rung.append(body.node_ids)

    def signals(self, after: int, wait: float = 25.0) -> c.Signals:
        self._maybe_fail("signals")
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self.command != "continue" or len(self._signals) > after,
                5.0,
            )
            fresh = [s for s in self._signals if s.sequence > after]
            return c.Signals(signals=fresh, command=self.command)  # type: ignore[arg-type]

    def pulled(self, reply_to: str) -> None:
        self.freed.append(reply_to)

    def commit(self, body: c.RoundCommit) -> c.CommitReply:
        self._maybe_fail("commit")
        assert body.model in self.artifacts
        assert body.strategy_state is None or body.strategy_state in self.artifacts
        self.commits.append(body)
        self.on_commit(body)
        return c.CommitReply(command=self.command)  # type: ignore[arg-type]

    def finish(self, body: c.EngineFinish) -> None:
        self._maybe_fail("finish")
        self.finished.append(body)


# --- a grid with clients -----------------------------------------------------------------------

Answer = Callable[[Message, Context], Message | None]


def travelled(message: Message) -> Message:
    """The message as the other side gets it."""
    contents = {key: obj.deflate() for key, obj in get_all_nested_objects(message).items()}
    copy = inflate_object_from_contents(message.object_id, contents)
    assert isinstance(copy, Message)
    copy.metadata.__dict__["_message_id"] = message.metadata.message_id
    return copy


class PaperGrid(Grid):
    """Hands each message to its node in a thread, and keeps the replies until they are pulled."""

    def __init__(self, server: PaperServer) -> None:
        self.server = server
        self.nodes: dict[int, tuple[str, Answer]] = {}
        self.dead: BaseException | None = None
        self.pushed: list[str] = []
        #: Nodes that have not come yet: their messages get an empty id, as Flower's SuperLink gives it.
        self.strangers: set[int] = set()
        self._replies: dict[str, Message] = {}
        self._count = 0
        self._turn: dict[int, threading.Lock] = defaultdict(threading.Lock)

    def add(self, device: str, answer: Answer) -> None:
        node_id = 2**63 + len(self.nodes)
        self.nodes[node_id] = (device, answer)
        self.server.node_ids[device] = node_id

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return [self._push(message) for message in messages]

    def _push(self, message: Message) -> str:
        if message.metadata.dst_node_id in self.strangers:
            return ""
        self._count += 1
        message_id = f"message-{self._count}"
        message.metadata.__dict__["_message_id"] = message_id
        device, answer = self.nodes[message.metadata.dst_node_id]
        self.pushed.append(device)
        work = (travelled(message), device, answer)
        threading.Thread(target=self._serve, args=work, daemon=True).start()
        return message_id

    def _serve(self, message: Message, device: str, answer: Answer) -> None:
        node_id, asked = message.metadata.dst_node_id, message.metadata.message_id
        context = Context(77, node_id, {}, RecordDict(), {})
        with self._turn[node_id]:
            try:
                reply = answer(message, context)
            except Exception as error:
                reply = Message(Error(1, f"{type(error).__name__}: {error}"), reply_to=message)
        if reply is not None:
            self._replies[asked] = reply
            self.server.signal("uploaded", device, message_id=f"reply-{asked}", reply_to=asked)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [travelled(self._replies.pop(i)) for i in message_ids if i in self._replies]

    def get_node_ids(self) -> Iterable[int]:
        if self.dead:
            raise self.dead
        return list(self.nodes)

    @property
    def unpulled(self) -> list[str]:
        return list(self._replies)

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def set_run(self, run: Any) -> None: ...

    def create_message(self, *args: Any, **kwargs: Any) -> Any: ...

    def send_and_receive(self, messages: Any, *, timeout: Any = None) -> Any: ...


class StateMemory(NoMemory):
    """Keeps the state of a device in memory."""

    def __init__(self) -> None:
        self.states: dict[tuple[int, int], Tensors] = {}

    def load_state(self, run_id: int, round_: int) -> Tensors | None:
        found = [r for i, r in self.states if i == run_id and r < round_]
        return self.states[run_id, max(found)] if found else None

    def save_state(self, run_id: int, round_: int, tensors: Tensors) -> None:
        self.states[run_id, round_] = {name: array.copy() for name, array in tensors.items()}


class PaperFederation:
    """Server, grid and clients; plays attempts."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.config = {"num_rounds": 2, "learning_rate": 0.05, **config}
        self.server = PaperServer(self.config, folder)
        self.grid = PaperGrid(self.server)
        self.memories: dict[str, StateMemory] = {}
        self.validation: tuple[Any, str] | None = None
        self.closed = threading.Event()

    def project(self, **changed: Any) -> LineProject:
        return LineProject(parse_config(self.config, "the test"), **changed)

    def handler(self, device: str, **changed: Any) -> ClientHandler:
        """The real client side, with data of its own."""
        data = {"data": examples(sum(device.encode()), 4 + len(self.grid.nodes)), **changed}
        memory = self.memories.setdefault(device, StateMemory())
        return ClientHandler(self.project(**data), Device(device, memory=memory))

    def add(self, *devices: str, **changed: Any) -> None:
        for device in devices:
            self.grid.add(device, self.handler(device, **changed))

    def play(self, patience: float = 5.0) -> dict[str, float]:
        """Play an attempt to its end."""
        lines = Lines.open(self.grid, self.server, patience)
        try:
            project = self.project(validation=self.validation)
            return RoundEngine(prepare(project, self.server.spec(), lines), lines).run()
        finally:
            lines.close()
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


def plain_rounds(federation: PaperFederation, devices: list[str], rounds: int) -> list[Tensors]:
    """The same federation as a loop anyone would write."""
    sizes = {name: 4 + i for i, name in enumerate(devices)}
    models = [LineAdapter(federation.server.seed).get_tensors()]
    own = {name: models[0]["own"] for name in devices}
    for round_ in range(1, rounds + 1):
        updates = {}
        for name in sorted(devices):
            adapter = LineAdapter(0)
            adapter.set_tensors({**models[-1], "own": own[name]})
            seed = client_seed(federation.server.seed, name, round_)
            adapter.train(
                examples(sum(name.encode()), sizes[name]),
                TrainContext(round_, seed, 1, 32, federation.config["learning_rate"]),
            )
            updates[name] = adapter.get_tensors()
            own[name] = updates[name]["own"]
        weights = [sizes[name] for name in updates]
        mean = weighted_mean(list(updates.values()), weights, ["w", "b"])
        steps = elementwise_max(list(updates.values()), ["steps"])
        models.append({**mean, **steps, "own": models[0]["own"]})
    return models[1:]


__all__ = ["Conflict", "PaperFederation", "Unavailable", "examples", "plain_rounds"]
