"""A warm node against a real SuperLink in memory. Pins the private Fleet client of flwr 1.41."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flwr
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.cli.build import build_fab_from_disk
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER

from fedops.client.identity import NodeSigner, public_openssh
from fedops.core.contracts import NodeBell, NodeHello, NodeUploaded, UploadSlot
from fedops.core.errors import Unavailable
from fedops.core.states import ProcessStatus
from fedops.flower.device import Device, NoReporter
from fedops.flower.engine import FlowerEngine
from fedops.flower.fleet import Away, Fleet, NodeUnknown
from fedops.flower.node import WarmNode
from fedops.flower.superlink import SuperLink
from fedops.scalize.base import Cancelled

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "asking"
version = "1.0.0"
description = "A ServerApp that asks what the test tells it to"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "fedops"
[tool.flwr.app.components]
serverapp = "asking.server:app"
clientapp = "asking.client:app"
[tool.flwr.app.config]
mode = "client"
"""
# Takes <n>.ask (node, round, floats) in order; writes <n>.sent (message id), then <n>.got.
SERVER = """
import json, os, time
from pathlib import Path
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
app = ServerApp()

def write(path, value):
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value))
    temporary.rename(path)

@app.main()
def main(grid: Grid, context: Context) -> None:
    waiting, n = {}, 0
    box = Path(os.environ["FEDOPS_ATTEMPTS_DIR"]) / str(context.run_id)
    box.mkdir(exist_ok=True)
    while not (box / "end").exists():
        ask = box / f"{n}.ask"
        if ask.exists():
            wanted = json.loads(ask.read_text())
            values = np.arange(wanted["floats"], dtype=np.float32)
            content = RecordDict({
                "arrays": ArrayRecord({"packed": Array(values)}),
                "config": ConfigRecord({"run-id": wanted["run"], "attempt": 1,
                    "server-round": wanted["round"], "config-json": json.dumps({"num_epochs": 9})}),
            })
            message = Message(content, int(wanted["node"]), "train")
            (sent,) = grid.push_messages([message])
            waiting[sent] = n
            write(box / f"{n}.sent", sent)
            n += 1
        for reply in grid.pull_messages(list(waiting)):
            number = waiting.pop(reply.metadata.reply_to_message_id)
            if reply.has_error():
                write(box / f"{number}.got", {"error": reply.error.reason})
                continue
            values = reply.content["arrays"]["packed"].numpy()
            write(box / f"{number}.got", {
                "id": reply.metadata.message_id, "sum": float(values.sum()), "size": values.size,
                "said": dict(reply.content["metrics"])})
        time.sleep(0.02)
"""
CLIENT = "from flwr.clientapp import ClientApp\napp = ClientApp()\n"


def eventually(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return found


@dataclass
class FakeNodeApi:
    """The Server Manager's side of the doorbell, in memory."""

    bells: threading.Condition = field(default_factory=threading.Condition)
    count: int = 0
    hellos: list[str] = field(default_factory=list)
    uploads: list[NodeUploaded] = field(default_factory=list)
    refusals: int = 0
    broken: bool = False

    def ring(self) -> None:
        with self.bells:
            self.count += 1
            self.bells.notify_all()

    def bell(self, epoch: str, after: int, wait: float = 5.0) -> NodeBell:
        with self.bells:
            self.bells.wait_for(lambda: epoch != "e" or self.count > after, timeout=wait)
            return NodeBell(epoch="e", count=self.count)

    def hello(self, body: NodeHello) -> NodeBell:
        if self.broken:
            raise Unavailable("the server is away")
        self.hellos.append(body.node_id)
        return NodeBell(epoch="e", count=self.count)

    def upload_slot(self, flower_run_id: str, wait: float = 10.0) -> UploadSlot:
        self.refusals -= 1
        return UploadSlot(granted=self.refusals < 0)

    def uploaded(self, body: NodeUploaded) -> None:
        self.uploads.append(body)


class Notes(NoReporter):
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.idles = 0

    def event(self, name: str, text: str, **data: Any) -> None:
        self.events.append((name, text))

    def idle(self) -> None:
        self.idles += 1


class Trainer:
    """Doubles what it gets; blocks, fails or gives up when told to."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.calls: list[tuple[int, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: BaseException | None = None

    def __call__(self, message: Message, context: Context) -> Message:
        config = message.content["config"]
        self.calls.append((int(config["server-round"]), str(config["config-json"])))
        self.device.report.working(ProcessStatus.TRAINING, "t", 1, 1)
        while not self.gate.wait(0.01):
            if self.device.cancelled.is_set():
                raise Cancelled
        if self.failure is not None:
            raise self.failure
        values = message.content["arrays"]["packed"].numpy()
        content = RecordDict(
            {
                "arrays": ArrayRecord({"packed": Array(values * 2)}),
                "metrics": MetricRecord({"calls": len(self.calls)}),
                "reply": ConfigRecord({"device": str(context.node_config["device"])}),
            }
        )
        return Message(content, reply_to=message)


class Bench:
    """A run of the asking app and a warm node, on a SuperLink that other tests use too."""

    def __init__(self, engine: FlowerEngine, attempts: Path, bundle: bytes) -> None:
        self.engine = engine
        self.attempts = attempts
        self.bundle = bundle
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.api = FakeNodeApi()
        self.notes = Notes()
        self.device = Device("pi-1", report=self.notes)
        self.trainer = Trainer(self.device)
        self.runs: list[str] = []
        assert engine.fleet_url
        self.fleet = Fleet(engine.fleet_url, NodeSigner(self.key, time.time))
        self.node = WarmNode(
            self.fleet,
            self.api,  # type: ignore[arg-type]
            self.trainer,
            self.device,
            adjust=lambda config: {**config, "num_epochs": min(config["num_epochs"], 3)},
            poll_seconds=60.0,
        )
        self.thread = threading.Thread(target=self.node.run, daemon=True)
        self.thread.start()

    def start_run(self) -> str:
        self.runs.append(self.engine.start_run(self.bundle))
        self.box = self.attempts / self.runs[-1]
        self.asked = 0
        eventually(self.box.exists)
        return self.runs[-1]

    def register(self) -> str:
        self.node_id = self.engine.register_node(public_openssh(self.key).encode())
        return self.node_id

    def enlist(self, runs: list[int] | None) -> None:
        """Register the node and wait until it is there: Flower refuses replies of absent nodes."""
        self.node.assign(self.register(), runs)
        eventually(lambda: self.node._online == int(self.node_id))

    def ask(self, round_: int, run: int = 1, floats: int = 1000, ring: bool = True) -> int:
        number = self.asked
        self.asked += 1
        wanted = {"node": self.node_id, "round": round_, "run": run, "floats": floats}
        temporary = self.box / "ask.tmp"
        temporary.write_text(json.dumps(wanted))
        temporary.rename(self.box / f"{number}.ask")
        eventually((self.box / f"{number}.sent").exists)
        if ring:
            self.api.ring()
        return number

    def answer(self, number: int) -> dict[str, Any]:
        path = self.box / f"{number}.got"
        eventually(path.exists)
        answer: dict[str, Any] = json.loads(path.read_text())
        return answer

    def close(self) -> None:
        self.trainer.gate.set()
        self.node.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.fleet.close()
        for run in self.runs:
            self.engine.stop_run(run)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    app = tmp_path_factory.mktemp("app")
    (app / "asking").mkdir()
    (app / "pyproject.toml").write_text(PYPROJECT)
    for name, text in {"__init__": "", "server": SERVER, "client": CLIENT}.items():
        (app / "asking" / f"{name}.py").write_text(text)
    return build_fab_from_disk(app)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowerEngine]:
    home = tmp_path_factory.mktemp("server")
    (home / "attempts").mkdir()
    engine = FlowerEngine(SuperLink(home / "engine", home / "attempts"))
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def bench(engine: FlowerEngine, bundle: bytes) -> Iterator[Bench]:
    bench = Bench(engine, engine._superlink.home.parent / "attempts", bundle)
    yield bench
    bench.close()


def test_the_private_client_is_pinned_to_this_flower() -> None:
    assert flwr.__version__.startswith("1.41.")
    headers = NodeSigner(ec.generate_private_key(ec.SECP384R1()), time.time)()
    assert set(headers) == {
        FLEET_HTTP_PUBLIC_KEY_HEADER,
        TIMESTAMP_HEADER,
        FLEET_HTTP_SIGNATURE_HEADER,
    }


def test_rounds_are_answered_and_announced(bench: Bench) -> None:
    run = bench.start_run()
    bench.enlist([1])
    eventually(lambda: bench.api.hellos == [bench.node_id])
    bench.api.refusals = 2
    for round_ in (1, 2, 3):
        begin = time.monotonic()
        number = bench.ask(round_, floats=450_000)
        answer = bench.answer(number)
        assert answer["size"] == 450_000
        assert answer["sum"] == float((np.arange(450_000, dtype=np.float32) * 2).sum())
        assert answer["said"] == {"calls": round_}
        eventually(lambda n=round_: len(bench.api.uploads) == n)
        uploaded = bench.api.uploads[-1]
        assert uploaded.message_id == answer["id"]
        assert uploaded.reply_to == json.loads((bench.box / f"{number}.sent").read_text())
        assert (uploaded.node_id, uploaded.flower_run_id) == (bench.node_id, run)
        assert time.monotonic() - begin < 10
    assert [call[0] for call in bench.trainer.calls] == [1, 2, 3]
    assert json.loads(bench.trainer.calls[0][1]) == {"num_epochs": 3}  # the owner's limit
    eventually(lambda: bench.notes.idles == 3)
    assert bench.notes.events == []


def test_a_wrong_clock_does_no_harm(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # Three days ahead, as Flower in this process sees it; signer and replies go by the server's time.
    def later() -> datetime:
        return datetime.fromtimestamp(time.time() + 3 * 86_400, UTC)

    bench.start_run()
    bench.enlist(None)
    monkeypatch.setattr("flwr.app.message.message.now", later)
    assert bench.answer(bench.ask(1))["said"] == {"calls": 1}


def test_what_the_handler_raises_is_told_to_the_server(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.start_run()
    bench.enlist([1])
    for failure in (ValueError("bad data\nin line 3"), SystemExit(4), MemoryError()):
        bench.trainer.failure = failure
        answer = bench.answer(bench.ask(len(bench.trainer.calls) + 1))
        assert answer["error"].startswith(type(failure).__name__)
    assert bench.notes.events[0] == ("training_failed", "ValueError: bad data in line 3")
    assert "Traceback" in capfd.readouterr().err
    bench.trainer.failure = None
    assert bench.answer(bench.ask(9))["said"] == {"calls": 4}


def test_stopped_work_is_abandoned_and_the_next_is_done(bench: Bench) -> None:
    bench.start_run()
    bench.enlist([1, 2])
    bench.trainer.gate.clear()
    first = bench.ask(1, run=1)
    eventually(lambda: bench.trainer.calls)
    bench.node.abandon(2)  # another run: nothing happens
    bench.node.assign(bench.node_id, [2])
    eventually(lambda: bench.notes.events)
    assert bench.notes.events[0][0] == "run_over"
    bench.trainer.gate.set()
    second = bench.ask(1, run=2)
    assert bench.answer(second)["said"] == {"calls": 2}
    assert not (bench.box / f"{first}.got").exists()
    assert len(bench.api.uploads) == 1


def test_a_message_waits_for_word_that_its_run_may_be_worked_for(bench: Bench) -> None:
    bench.start_run()
    bench.enlist([])
    number = bench.ask(1, run=7)
    eventually(lambda: bench.node._in_hand and bench.node._in_hand.run_id == 7)
    assert not bench.trainer.calls
    bench.node.assign(bench.node_id, [3])
    bench.node.assign(bench.node_id, [7])
    assert bench.answer(number)["said"] == {"calls": 1}


def test_the_same_asked_twice_at_once_is_done_once(bench: Bench) -> None:
    bench.start_run()
    bench.enlist([1])
    eventually(lambda: bench.api.hellos)
    bench.ask(1, ring=False)
    bench.ask(1)
    bench.answer(0)
    assert bench.answer(bench.ask(2))["said"] == {"calls": 2}
    assert not (bench.box / "1.got").exists()
    time.sleep(1.1)
    assert bench.answer(bench.ask(2))["said"] == {"calls": 3}  # asked again, knowingly


def test_a_dead_run_and_a_new_superlink_are_outlived(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.start_run()
    bench.enlist([1])
    bench.trainer.gate.clear()
    bench.ask(1)
    eventually(lambda: bench.trainer.calls)
    bench.engine.stop_run(run)
    bench.trainer.gate.set()
    eventually(lambda: bench.notes.events)
    assert bench.notes.events[0][0] == "run_over"

    old, port = bench.node_id, bench.engine._superlink.port
    # Restarted on the same address: to the node, which sees only the gateway, it always is.
    monkeypatch.setattr("fedops.flower.superlink._free_port", lambda: port)
    bench.engine.start()
    with pytest.raises(NodeUnknown):
        bench.fleet.pull(int(old))
    bench.runs.clear()
    bench.start_run()
    bench.enlist([1])
    assert bench.node_id != old
    assert bench.answer(bench.ask(2))["said"] == {"calls": 2}


def test_work_for_a_superlink_that_is_gone_is_dropped_for_its_successors(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start_run()
    bench.enlist([1])
    bench.trainer.gate.clear()
    bench.ask(1)
    eventually(lambda: bench.trainer.calls)
    port = bench.engine._superlink.port
    monkeypatch.setattr("fedops.flower.superlink._free_port", lambda: port)
    bench.engine.start()
    bench.runs.clear()
    bench.start_run()
    bench.enlist([1])  # the run goes on, and so does the permission to work for it
    assert "restarted" in bench.notes.events[0][1]
    bench.trainer.gate.set()
    assert bench.answer(bench.ask(1))["said"] == {"calls": 2}


def test_a_silent_server_is_tried_again_and_hello_is_said_once_it_is_back(bench: Bench) -> None:
    bench.api.broken = True
    bench.start_run()
    bench.enlist([1])
    number = bench.ask(1)
    time.sleep(0.5)
    assert not bench.trainer.calls
    bench.api.broken = False
    assert bench.answer(number)["said"] == {"calls": 1}
    assert bench.api.hellos == [bench.node_id]


def test_nobody_there_is_away() -> None:
    fleet = Fleet("http://127.0.0.1:9", lambda: {}, timeout=2.0)
    with pytest.raises(Away):
        fleet.pull(1)
    fleet.close()
