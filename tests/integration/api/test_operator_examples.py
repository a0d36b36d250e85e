"""The examples in the docstrings of the operator client are true: each runs against a server."""

from __future__ import annotations

import base64
import doctest
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commits_by_hand import sound_commit
from managing import Device, World, bundle, idle, managing

from fedops.api_client import OperatorClient
from fedops.core import contracts as c

METHODS = dict(inspect.getmembers(OperatorClient, inspect.isfunction))
PUBLIC = [name for name in METHODS if not name.startswith("_")]
#: What gives a list or a file only reads: these examples share a server.
READING = [
    name for name in PUBLIC if METHODS[name].__annotations__["return"][:4] in ("list", "Path")
]
TASKS = ["mnist", "digits"]


@contextmanager
def _names(folder: Path) -> Iterator[dict[str, Any]]:
    """What the examples may name: see the docstring of ``OperatorClient``."""
    with managing(folder) as world:
        for task in TASKS:
            world.task(task)
        devices = world.ready_devices("pi", "jetson")
        for device in devices.values():
            serving = [c.ServingReport(task="mnist")]
            device.poll(idle().model_copy(update={"tasks": TASKS, "serving": serving}))
        _, spare = world.join("spare")
        spare.poll(c.WorkPoll(info=c.DeviceInfo(fedops="1.9.0")))
        finished, stopped = _finished(world), _stopped(world)
        active, engine = world.running("digits")
        world.do_round(engine, 1, "pi", "jetson")
        _report(devices["pi"], active.id)
        sound_commit(world, "c", world.operator.task("mnist").bundle)
        (world.folder / "app.zip").write_bytes(bundle())
        yield {
            "c": c,
            "operator": world.operator,
            "url": world.url,
            "token": world.manager.services.settings.admin_token_file.read_text(),
            "folder": world.folder,
            "finished": finished,
            "stopped": stopped,
            "active": active.id,
        }


def _finished(world: World) -> int:
    world.operator.update_task("mnist", c.TaskUpdate(overrides=["num_rounds=1"]))
    run, engine = world.running()
    world.do_round(engine, 1, "pi", "jetson")
    engine.finish(c.EngineFinish(outcome="completed"))
    world.operator.update_task("mnist", c.TaskUpdate(overrides=[]))
    return run.id


def _stopped(world: World) -> int:
    run, engine = world.running()
    world.do_round(engine, 1, "pi", "jetson")
    world.operator.stop_run(run.id)
    engine.finish(c.EngineFinish(outcome="stopped"))
    return run.id


def _report(device: Device, run_id: int) -> None:
    """What a device tells of its first round, of its explanations and of itself."""
    kind, picture = c.RecordKind, {"png": base64.b64encode(b"\x89PNG\r\n\x1a\n...").decode()}
    told: list[dict[str, Any]] = [
        {"kind": kind.LOG, "name": "training_client", "text": "epoch 1 of 1"},
        {"kind": kind.METRIC, "name": "xai/local/gradcam/deletion", "value": 0.25},
        {"kind": kind.EVENT, "name": "explanation_picture", "text": "a.png", "data": picture},
        {"kind": kind.TELEMETRY, "name": "device", "data": {"cpu_percent": 40.0}},
    ]
    records = [
        c.DeviceRecord(id=f"record-{number}", run_id=run_id, round=1, **each)
        for number, each in enumerate(told)
    ]
    device.records(c.RecordBatch(records=records))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with _names(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[dict[str, Any]]:
    with _names(tmp_path) as made:
        yield made


@pytest.mark.parametrize("method", PUBLIC)
def test_the_example_is_true(method: str, request: pytest.FixtureRequest) -> None:
    names = request.getfixturevalue("shared" if method in READING else "own")
    text = inspect.getdoc(METHODS[method]) or ""
    example = doctest.DocTestParser().get_doctest(text, dict(names), method, None, None)
    assert any(f".{method}(" in step.source for step in example.examples), "there is no example"
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert result.failed == 0, "".join(said)
