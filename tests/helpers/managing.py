"""A Server Manager on a free port with a fake engine and clock, and hands to work it with."""

from __future__ import annotations

import functools
import io
import itertools
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from serving import serving

from fedops.api_client import DeviceClient, EngineClient, JoinClient, OperatorClient, WorkClient
from fedops.api_client.transport import Unreachable
from fedops.client.device.enrolment import join_request
from fedops.core import contracts as c
from fedops.core.states import Enrolment, ParticipationStatus, ProcessStatus
from fedops.server.app import ServerManager, create_app, front
from fedops.server.database.database import Database
from fedops.server.edge.gate import Gate
from fedops.server.rounds.engine_session import spool_dir
from fedops.server.runs import attempts
from fedops.settings import ServerSettings
from fedops.storage import tensors
from fedops.storage.atomic_files import sha256_of
from fedops.testing import FakeClock, FakeEngines

PYPROJECT = """
[project]
name = "toy"
version = "1.2.3"
[tool.fedops]
package = "toy"
config = "toy/conf/config.toml"
"""
CONFIG = """
random_seed = 7
num_rounds = 3
clients_per_round = 2
[wandb]
use = false
key = "a secret of mine"
"""
CONTRACT = c.ParameterContract(
    parameters=(c.ParameterSpec(name="w", shape=(2,), dtype="float32", rule=c.ExchangeRule.MEAN),)
)


#: The size of each ``World.model``.
MODEL_BYTES = len(tensors.pack({"w": np.zeros(2, dtype=np.float32)}))


def bundle(**files: str | None) -> bytes:
    """An app bundle; ``files`` replace, add or (None) leave out entries."""
    entries: dict[str, str | None] = {
        "pyproject.toml": PYPROJECT,
        "toy/__init__.py": "",
        "toy/conf/config.toml": CONFIG,
    }
    entries |= files
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in entries.items():
            if text is not None:
                archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def node_key() -> ec.EllipticCurvePrivateKey:
    """A fresh node key."""
    return ec.generate_private_key(ec.SECP384R1())


class Device(DeviceClient, WorkClient):
    """A device by hand: it remembers what it holds, and what it was last told."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url, token=token)
        self.token = token
        self.held: list[str] = []
        self.last = c.Work(revision=-1, enrolment=Enrolment.APPROVED)
        self._said = c.WorkPoll()

    def poll(self, body: c.WorkPoll | None = None, wait: float = 0.0, **changed: object) -> c.Work:
        """Say how it is (by default as the last time), and hear what is wanted."""
        self._said = body or self._said
        held = [c.HeldAssignment(id=id_) for id_ in self.held]
        news = {"held": held, "after": self.last.revision, "wait": wait, **changed}
        self.last = self.work(self._said.model_copy(update=news))
        return self.last

    def take(self, wait: float = 5.0) -> c.Instruction:
        """The next assignment it is offered, accepted."""
        offers = self.poll(wait=wait).offers
        while not offers:
            offers = self.poll(wait=wait).offers
        instruction = self.instruction(offers[0].id)
        self.held.append(instruction.id)
        return instruction

    def drop(self, id_: str) -> c.Work:
        """Let go of an assignment, and say so."""
        self.held.remove(id_)
        return self.poll()


class Engine(EngineClient):
    """An engine by hand: a file of its own becomes a blob by way of its spool folder."""

    def __init__(self, url: str, token: str, spool: Path) -> None:
        super().__init__(url, token=token)
        self._spool = spool

    def upload(self, file: Path) -> c.BlobRef:
        self._spool.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, self._spool / file.name)
        return self.hand_over(c.BlobHandover(name=file.name, sha256=sha256_of(file)))


@dataclass
class World:
    """One server, and who talks to it."""

    url: str
    manager: ServerManager
    clock: FakeClock
    folder: Path
    app: FastAPI
    gate: Gate
    _counter: Iterator[int] = field(default_factory=itertools.count)
    _open: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.operator = OperatorClient(self.url, token=self.operator_token())
        self._open.append(self.operator)

    def operator_token(self) -> str:
        """What the file of the admin token holds."""
        return self.manager.services.settings.admin_token_file.read_text().strip()

    def close(self) -> None:
        for client in self._open:
            client.close()  # type: ignore[attr-defined]

    @property
    def engines(self) -> FakeEngines:
        """The FL servers, which are none."""
        found = self.manager.services.engines
        assert isinstance(found, FakeEngines)
        return found

    def with_token(self, token: str | None) -> OperatorClient:
        client = OperatorClient(self.url, token=token)
        self._open.append(client)
        return client

    def join_token(self, uses: int = 1, expires: float = 60.0) -> str:
        body = c.TokenCreate(uses=uses, expires_in_seconds=expires)
        token = self.operator.create_token(body).token
        assert token
        return token

    def join(
        self, name: str, key: ec.EllipticCurvePrivateKey | None = None, token: str | None = None
    ) -> tuple[c.JoinReply, Device]:
        """Enrol a device."""
        info = c.DeviceInfo(hostname=f"host-of-{name}")
        body = join_request(token or self.join_token(), name, key or node_key(), info)
        with JoinClient(self.url) as client:
            reply = client.join(body)
        device = Device(self.url, reply.device_token)
        self._open.append(device)
        return reply, device

    def task(self, name: str = "mnist", overrides: list[str] | None = None) -> c.TaskRead:
        """A task made of the toy bundle."""
        ref = self.upload(bundle())
        body = c.TaskCreate(name=name, bundle=ref.sha256, overrides=overrides or [])
        return self.operator.create_task(body)

    def upload(self, data: bytes) -> c.BlobRef:
        return self.operator.upload_bundle(self.file(data))

    def file(self, data: bytes) -> Path:
        path = self.folder / f"file-{next(self._counter)}"
        path.write_bytes(data)
        return path

    def model(self, value: float) -> Path:
        """A model file whose content depends on ``value``."""
        return self.file(tensors.pack({"w": np.full(2, value, dtype=np.float32)}))

    def ready_devices(self, *names: str, task: str = "mnist") -> dict[str, Device]:
        """Devices that are members of the task, online, and have an idle client."""
        found = {}
        for name in names:
            _, device = self.join(name)
            device.poll(idle(task))
            found[name] = device
        return found

    def begin(self, engine: Engine, number: int, *devices: str, **batch: object) -> dict[str, str]:
        """Begin a round of these devices, from the model that the run has. Returns their assignments."""
        offers = self.batch(engine, *devices, **batch)
        selected = dict.fromkeys(devices, "all of them")
        return engine.begin_round(
            number, c.RoundBegin(selected=selected, offers=offers)
        ).assignments

    def ask(self, engine: Engine, *devices: str) -> None:
        """Have these devices take part in the engine's run."""
        engine.offer(self.batch(engine, *devices, kind="evaluate"))

    def batch(self, engine: Engine, *devices: str, **values: object) -> c.OfferBatch:
        """Offers of training from a model to these devices."""
        model = values.pop("model", None) or engine.upload(self.model(0.0)).sha256
        kind = values.pop("kind", "train")
        retry = values.pop("retry", 0)
        offers = [
            c.OfferRequest.model_validate(
                {"device": name, "kind": kind, "instruction": 0, "retry": retry}
            )
            for name in devices
        ]
        given = {"instructions": [document(str(model))], "offers": offers, "model": model}
        return c.OfferBatch.model_validate({**given, "deadline_seconds": 60.0, **values})

    def again(self, device: Device) -> Device:
        """A device of an earlier life of the server, as it calls this one."""
        moved = Device(self.url, device.token)
        moved.held, moved._said = list(device.held), device._said
        self._open.append(moved)
        return moved

    def step(self) -> None:
        """Let the server look at the clock. That a test was held up is no absence of the server."""
        self.manager.maintenance._step_at = time.monotonic()
        self.manager.maintenance.step()

    def open_attempt(self, run_id: int) -> tuple[int, Engine]:
        """What the scheduler does: submit the run's next attempt."""
        with self.manager.services.db.write() as session:
            made = attempts.open_attempt(session, run_id, self.clock())
        with self.manager.services.db.write() as session:
            attempts.mark_started(session, made.attempt_id, 4711)
        home = self.manager.services.settings.home
        engine = Engine(self.url, made.token, spool_dir(home, made.run_id, made.number))
        self._open.append(engine)
        return made.attempt_id, engine

    def running(self, task: str = "mnist", *overrides: str) -> tuple[c.RunRead, Engine]:
        """A run whose engine said hello and that has an initial model."""
        run = self.operator.start_run(task, c.RunStart(overrides=list(overrides)))
        _, engine = self.open_attempt(run.id)
        spec = engine.hello(c.EngineHello(pid=4711))
        if spec.model is None:
            ref = engine.upload(self.model(0.0))
            engine.initial_model(c.ModelInit(model=ref.sha256, contract=CONTRACT))
        return self.operator.run(run.id), engine

    def do_round(
        self, engine: Engine, number: int, *devices: str, value: float | None = None
    ) -> c.RoundCommit:
        """Begin and commit a round of these devices."""
        engine.begin_round(number, c.RoundBegin(selected=dict.fromkeys(devices, "all of them")))
        commit = self.commit(engine, number, *devices, value=value)
        engine.commit(commit)
        return commit

    def commit(
        self, engine: Engine, number: int, *devices: str, value: float | None = None
    ) -> c.RoundCommit:
        ref = engine.upload(self.model(float(number) if value is None else value))
        return c.RoundCommit(
            round=number,
            model=ref.sha256,
            strategy_state=None,
            metrics={"accuracy": number / 10},
            client_metrics={"loss": 1 / number},
            train_metrics={"loss": 0.5},
            participations=[replied(name) for name in devices],
            seconds=1.0,
            overhead_seconds=0.1,
            timing={"training": 0.8},
            dataset="MNIST",
        )


def replied(name: str, examples: int = 100) -> c.ParticipationReport:
    return c.ParticipationReport(
        device=name,
        status=ParticipationStatus.REPLIED,
        examples=examples,
        seconds=0.5,
        bytes_up=1000,
        metrics={"train_loss": 0.25},
    )


def document(model: str, **config: object) -> dict[str, object]:
    """An instruction: a model, and a config."""
    records = {
        "arrays": {
            "type": "array",
            "tensors": [["w", "w"]],
            "blob": {"sha256": model, "size": MODEL_BYTES},
        },
        "config": {"type": "config", "values": dict(config)},
    }
    return {"version": 1, "records": records}


def idle(task: str = "mnist") -> c.WorkPoll:
    process = c.ProcessReport(status=ProcessStatus.IDLE, pid=1, task=task)
    return c.WorkPoll(tasks=[task], process=process)


def training(run_id: int, number: int = 1, task: str = "mnist") -> c.WorkPoll:
    process = c.ProcessReport(
        status=ProcessStatus.TRAINING, pid=1, task=task, run_id=run_id, round=number
    )
    return c.WorkPoll(tasks=[task], process=process)


def said_when_out(call: Callable[[], object]) -> None:
    """A call of a device that was revoked; made again, where it was under way as its connection was cut."""
    try:
        call()
    except Unreachable:
        call()


@contextmanager
def later(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """``call`` is made after a while, in another thread, and has ended when the block has."""
    timer = threading.Timer(seconds, call)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def begin_with_tables(file: Path) -> None:
    """Spare a new server the migrations, of which there are tests enough."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(_tables())


@functools.cache
def _tables() -> bytes:
    """A SQLite database with all tables and nothing in them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fedops.db"
        made = Database(f"sqlite:///{file}")
        made.migrate()
        made.close()
        return file.read_bytes()


@contextmanager
def managing(
    folder: Path,
    database_url: str | None = None,
    now: float = 1_000_000.0,
    dashboard: bool = False,
    **settings: object,
) -> Iterator[World]:
    """A world, in a folder of its own."""
    clock = FakeClock(now)
    made = ServerSettings(home=folder / "server", database_url=database_url, **settings)  # type: ignore[arg-type]
    if database_url is None:
        begin_with_tables(made.home / "fedops.db")
    app = create_app(made, FakeEngines(), clock=clock, workers=False, dashboard=dashboard)
    (folder / "files").mkdir(exist_ok=True)
    gate = front(app)
    with serving(gate, ws="websockets-sansio" if dashboard else "none") as port:
        url = f"http://127.0.0.1:{port}"
        world = World(url, app.state.manager, clock, folder / "files", app, gate)
        try:
            yield world
        finally:
            world.close()
