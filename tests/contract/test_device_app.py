"""An app's ClientApp on a device does what it does on Flower's own runtime."""

from __future__ import annotations

import errno
import hashlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fedops.core.contracts import BlobRef, Instruction
from fedops.core.contracts.training import TrainingOrder
from fedops.flower import client_app
from fedops.flower.client_app import DeviceApp, WorkResult, node_id_of
from fedops.flower.codec.compat import APP_RAISED, LOAD_FAILED
from fedops.flower.flower_table import FlowerTable
from fedops.flower.run_config import record_of
from fedops.scalize.flow.project import Project
from fedops.storage.payloads import Payload, make_document, read_payload
from fedops.storage.tensors import Tensors, load, save
from fedops.trainer.device_context import Device, NoReporter

PYPROJECT = """
[project]
name = "ownclient"
version = "1.0.0"
[tool.fedops]
package = "ownclient"
config = "config.toml"
[tool.flwr.app.components]
clientapp = "ownclient.client:app"
[tool.flwr.app.config]
rate = 0.5
deep.key = "k"
"""
CLIENT = """
import time
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from fedops.scalize.adapter.protocol import Cancelled

def doubled(message, context, call_next):
    reply = call_next(message, context)
    if reply.has_content():
        reply.content["mod"] = MetricRecord({"seen": 1})
    return reply

app = ClientApp(mods=[doubled])

@app.train()
def train(message, context):
    arrays = message.content["arrays"]
    before = context.state["count"]["n"] if "count" in context.state else 0
    context.state["count"] = MetricRecord({"n": before + 1})
    content = RecordDict({
        "arrays": ArrayRecord({name: Array(a.numpy() + 1) for name, a in arrays.items()}),
        "metrics": MetricRecord({"num-examples": 3, "n": context.state["count"]["n"]}),
    })
    return Message(content, reply_to=message)

@app.train("finetune")
def finetune(message, context):
    return Message(RecordDict({"who": ConfigRecord({"action": "finetune"})}), reply_to=message)

@app.evaluate()
def evaluate(message, context):
    loss = float(sum(a.numpy().sum() for a in message.content["arrays"].values()) - 3)
    content = RecordDict({"eval-metrics": MetricRecord({"num-examples": 2, "loss": loss})})
    return Message(content, reply_to=message)

@app.query()
def query(message, context):
    told = {"node": context.node_id, "run": context.run_id, "rate": context.run_config["rate"],
            "deep": context.run_config["deep.key"], "group": message.metadata.group_id,
            "device": context.node_config["device"], "secret": message.content["config"]["secret"]}
    return Message(RecordDict({"told": ConfigRecord(told)}), reply_to=message)

@app.query("node")
def node(message, context):
    told = {"records": sorted(message.content.config_records), "rate": context.run_config["rate"],
            "path": context.node_config["data-path"]}
    return Message(RecordDict({"told": ConfigRecord(told)}), reply_to=message)

@app.query("part")
def part(message, context):
    told = {"part": context.node_config["partition-id"]}
    return Message(RecordDict({"told": ConfigRecord(told)}), reply_to=message)

@app.query("fail")
def fail(message, context):
    raise RuntimeError("the sensor is\\n   unplugged")

@app.query("leave")
def leave(message, context):
    raise SystemExit(3)

@app.query("error")
def error(message, context):
    return Message(Error(6, "a mod was not happy"), reply_to=message)

@app.query("refuse")
def refuse(message, context):
    return Message(RecordDict({"reply": ConfigRecord({"refused": "no consent"})}), reply_to=message)

@app.query("stop")
def stop(message, context):
    raise Cancelled
"""
MODEL: Tensors = {"w": np.arange(4, dtype=np.float32), "a": np.ones((2, 2), np.float64)}


class Ear(NoReporter):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def working(self, *told: Any) -> None:
        self.heard.append(tuple(str(word) for word in told))

    def event(self, name: str, text: str, **data: Any) -> None:
        self.heard.append((name, text))


class Bench:
    """A device with an app, and a server that asks it."""

    def __init__(self, folder: Path, client: str = CLIENT, device: Device | None = None) -> None:
        self.folder = folder
        package = folder / "app" / "ownclient"
        package.mkdir(parents=True)
        (folder / "app" / "pyproject.toml").write_text(PYPROJECT)
        (folder / "app" / "config.toml").write_text("num_epochs = 1\n")
        (package / "__init__.py").write_text("")
        (package / "client.py").write_text(client)
        self.ear = Ear()
        self.device = device or Device("pi-1", report=self.ear)
        self.app = self.open()
        self.asked = 0

    def open(self) -> DeviceApp:
        project = Project.open(self.folder / "app")
        return DeviceApp(project, self.device, states=self.folder / "states")

    def ask(
        self, kind: str, work_key: str = "", model: Tensors | None = None, **config: Any
    ) -> WorkResult:
        self.asked += 1
        return self.app.handle(*self.order(kind, work_key, model, **config))

    def order(
        self, kind: str, work_key: str = "", model: Tensors | None = None, **config: Any
    ) -> tuple[Instruction, dict[str, Path], Path]:
        tensors = MODEL if model is None else model
        file = self.folder / "model.safetensors"
        blob = BlobRef(sha256=save(tensors, file), size=file.stat().st_size)
        payload = Payload(configs={"config": config or {"secret": b"\x00\x01"}})
        instruction = Instruction(
            id=hashlib.sha256(str(self.asked).encode()).hexdigest()[:32],
            kind=kind,
            task="t",
            run_id=7,
            round=3,
            group_id="3",
            work_key=work_key,
            content=make_document(payload, {"arrays": (blob, list(tensors))}),
            seconds_left=60.0,
        )
        return instruction, {blob.sha256: file}, self.out

    @property
    def out(self) -> Path:
        return self.folder / f"result-{self.asked}.safetensors"

    @property
    def reply(self) -> Payload:
        return read_payload(self.out)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    path = list(sys.path)
    yield Bench(tmp_path)
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("ownclient")]:
        del sys.modules[name]


def test_arrays_go_and_come_and_mods_are_called(bench: Bench) -> None:
    result = bench.ask("train")
    assert result.outcome == "done", result
    assert (result.sha256, result.size) == (
        hashlib.sha256(bench.out.read_bytes()).hexdigest(),
        bench.out.stat().st_size,
    )
    reply = bench.reply
    assert list(reply.arrays["arrays"]) == ["w", "a"]
    for name, array in MODEL.items():
        np.testing.assert_array_equal(reply.arrays["arrays"][name], array + 1)
    assert reply.metrics["mod"] == {"seen": 1}
    assert set(load(bench.out)) == {"w", "a"}  # any tool opens it


def test_actions_and_queries_find_their_functions(bench: Bench) -> None:
    assert bench.ask("train.finetune").outcome == "done"
    assert bench.reply.configs["who"] == {"action": "finetune"}
    assert bench.ask("query").outcome == "done"
    assert bench.reply.configs["told"] == {
        "node": node_id_of("pi-1"),
        "run": 7,
        "rate": 0.5,
        "deep": "k",
        "group": "3",
        "device": "pi-1",
        "secret": b"\x00\x01",
    }


def test_the_model_of_a_coalition_is_evaluated_as_any_other(bench: Bench) -> None:
    """An app need not know of coalitions: its plain function for ``evaluate`` is called."""
    assert bench.ask("evaluate.coalition_12").outcome == "done"
    assert bench.reply.metrics["eval-metrics"] == {"num-examples": 2, "loss": 7.0}
    assert ("evaluating", "t", "7", "3") in bench.ear.heard


def test_an_action_that_the_app_has_not_is_a_failure(bench: Bench) -> None:
    result = bench.ask("query.nobody")
    assert (result.outcome, result.code) == ("failed", APP_RAISED)
    assert "nobody" in result.reason


def test_the_state_lasts_over_restarts_and_repeated_work_does_not_count_twice(bench: Bench) -> None:
    counts = []
    for key in ("a", "b", "b", "c"):
        bench.ask("train", key)
        counts.append(bench.reply.metrics["metrics"]["n"])
        bench.app = bench.open()
    assert counts == [1, 2, 2, 3]


def test_what_the_app_raises_is_one_line(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    result = bench.ask("query.fail")
    assert result == WorkResult("failed", "RuntimeError: the sensor is unplugged", code=APP_RAISED)
    assert "Traceback" in capsys.readouterr().err  # it stays on the device
    assert ("training_failed", "RuntimeError: the sensor is unplugged") in bench.ear.heard
    assert bench.ask("query.leave").reason == "SystemExit: 3"
    assert bench.ask("query").outcome == "done"


def test_errors_refusals_and_cancellations_are_outcomes(bench: Bench) -> None:
    assert bench.ask("query.error") == WorkResult("failed", "a mod was not happy", code=6)
    assert bench.ask("query.refuse") == WorkResult("refused", "no consent")
    assert bench.ask("query.stop") == WorkResult("cancelled")
    assert not bench.out.exists()


def test_what_ends_while_it_is_cancelled_is_cancelled(bench: Bench) -> None:
    bench.device.cancelled.set()
    assert bench.ask("query.fail").outcome == "cancelled"
    assert bench.ask("train").outcome == "cancelled"
    bench.device.cancelled = threading.Event()
    assert bench.ask("train").outcome == "done"


def test_the_device_says_what_it_works_for(bench: Bench) -> None:
    bench.ask("evaluate")
    bench.ask("train")
    assert bench.ear.heard[0] == ("evaluating", "t", "7", "3")
    assert bench.ear.heard[-1] == ("training", "t", "7", "3")


def test_short_floats_reach_the_app_as_they_are(tmp_path: Path) -> None:
    client = (
        "from flwr.app import Message\nfrom flwr.clientapp import ClientApp\napp = ClientApp()\n"
        "@app.train()\ndef train(message, context):\n"
        "    assert message.content['arrays']['h'].dtype == 'bfloat16'\n"
        "    return Message(message.content, reply_to=message)\n"
    )
    bench = Bench(tmp_path, client)
    model = {"h": np.array([1.5, -2.0]).astype(ml_dtypes.bfloat16)}
    try:
        assert bench.ask("train", model=model).outcome == "done"
        assert bench.reply.arrays["arrays"]["h"].dtype == ml_dtypes.bfloat16
    finally:
        sys.modules.pop("ownclient.client", None)
        sys.modules.pop("ownclient", None)
        sys.path.remove(str(tmp_path / "app"))


@pytest.mark.parametrize(
    ("client", "why"),
    [
        ("import torchh\n", "client.py, line 1)"),
        ("app = 3\n", "is a int, and must be a flwr.clientapp.ClientApp"),
        ("", "no attribute 'app'"),
    ],
)
def test_an_app_that_cannot_be_loaded_says_why(tmp_path: Path, client: str, why: str) -> None:
    bench = Bench(tmp_path, client)
    try:
        result = bench.ask("train")
        assert (result.outcome, result.code) == ("failed", LOAD_FAILED)
        assert 'clientapp = "ownclient.client:app"' in result.reason
        assert why in result.reason
    finally:
        sys.modules.pop("ownclient.client", None)
        sys.modules.pop("ownclient", None)
        sys.path.remove(str(tmp_path / "app"))


def test_an_instruction_that_cannot_be_read_is_a_failure(bench: Bench) -> None:
    instruction, files, out = bench.order("train")
    broken = instruction.model_copy(update={"content": {"version": 9}})
    result = bench.app.handle(broken, files, out)
    assert result.outcome == "failed"
    assert "payload document" in result.reason


# --- FedOps' own rounds --------------------------------------------------------------------------

APP = Path(__file__).parents[2] / "apps" / "mnist-xai"


def test_a_fedops_app_finds_the_warm_model_of_this_process(tmp_path: Path) -> None:
    overrides = ("dataset.name=digits", "dataset.partition.of=8", "dataset.partition.index=0")
    project = Project.open(APP, overrides)
    ear = Ear()
    lowered: list[int] = []

    def adjust(config: dict[str, Any]) -> dict[str, Any]:
        lowered.append(config["num_epochs"])
        return {**config, "num_epochs": 1}

    app = DeviceApp(project, Device("pi-1", report=ear), states=tmp_path / "states", adjust=adjust)
    app.warm_up()
    adapter = project.make_adapter(42)
    config = {**project.config.model_dump(mode="json", by_alias=True), "num_epochs": 2}
    order = TrainingOrder(1, 7, 1, "mnist", 42, config, adapter.contract)
    file = tmp_path / "model.safetensors"
    tensors = adapter.get_tensors()
    blob = BlobRef(sha256=save(tensors, file), size=file.stat().st_size)
    instruction = Instruction(
        id="0" * 32,
        kind="train",
        task="mnist",
        run_id=7,
        round=1,
        content=make_document(
            Payload(configs={"config": order.values()}), {"arrays": (blob, list(tensors))}
        ),
        seconds_left=60.0,
    )
    out = tmp_path / "out.safetensors"
    result = app.handle(instruction, {blob.sha256: file}, out)
    assert result.outcome == "done", result
    reply = read_payload(out)
    assert reply.configs["reply"]["device"] == "pi-1"
    assert reply.configs["reply"]["fingerprint"] == adapter.contract.fingerprint
    assert reply.metrics["metrics"]["num-examples"] > 0
    assert list(reply.arrays["arrays"]) == [spec.name for spec in adapter.contract.federated]
    assert lowered == [2]
    assert list((tmp_path / "states").glob("*")) == []


def test_what_the_device_lacks_is_no_mistake_of_the_app(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/home/pi/result")

    monkeypatch.setattr(client_app, "write_payload", full)
    reason = bench.ask("query").reason
    assert reason.startswith("the device's disk is full (/home/pi/result): free some space (OSErr")


def test_its_owner_gives_node_config_and_a_run_changes_its_run_config(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.app = DeviceApp(
        Project.open(tmp_path / "app"), bench.device, node_config={"data-path": "/srv/data"}
    )
    instruction, files, out = bench.order("query.node")
    records = instruction.content["records"]
    own = FlowerTable.of(tmp_path / "app").config["rate"]
    along = make_document(Payload(configs=record_of({"rate": own + 1})))
    changed = {**instruction.content, "records": {**records, **along["records"]}}
    done = bench.app.handle(instruction.model_copy(update={"content": changed}), files, out)
    assert done.outcome == "done", done.reason
    told = bench.reply.configs["told"]
    assert (told["rate"], told["path"]) == (own + 1, "/srv/data")
    assert list(told["records"]) == ["config"]


def test_an_app_that_asks_for_its_part_says_what_its_owner_has_to_do(bench: Bench) -> None:
    found = bench.ask("query.part")
    assert found.outcome == "failed"
    assert "--set dataset.partition.index=0 --set dataset.partition.of=2" in found.reason
