"""Metrics to Weights & Biases with the real library, offline: what arrives, and that the key never does."""

from __future__ import annotations

import json
import logging
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedops.client.training.wandb_reporter import Place, WandbReporter
from fedops.config.loading import parse_config
from fedops.config.schema import Config
from fedops.core.states import ProcessStatus

SECRET = "0123456789abcdef0123456789abcdef01234567"
#: Reports two rounds of one run, and an evaluation, in a process of its own as the training client does.
REPORT = """
import json, logging, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_wandb import Seen, config, report
logging.basicConfig(level=logging.DEBUG)
seen = Seen()
report(seen, config(sys.argv[2]), Path(sys.argv[1]))
print(json.dumps(seen.events))
"""


class Seen:
    """The reporter that goes on to the FedOps server."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.metrics: list[tuple[str, float, int, int]] = []

    def working(self, status: ProcessStatus, task: str, run_id: int, round_: int) -> None: ...

    def idle(self) -> None: ...

    def event(self, name: str, text: str, **data: Any) -> None:
        self.events.append(f"{name}: {text}")

    def metric(self, name: str, value: float, run_id: int, round_: int) -> None:
        self.metrics.append((name, value, run_id, round_))


def config(key: str) -> Config:
    table = {"use": True, "key": key, "account": "someone", "project": "MNIST_mine"}
    return parse_config({"wandb": table}, "test")


def report(seen: Seen, options: Config, folder: Path) -> None:
    reporter = WandbReporter(seen, options, Place("ada", "dev-1", folder))
    for round_, loss in ((1, 0.75), (2, 0.5)):
        reporter.working(ProcessStatus.TRAINING, "mnist", 7, round_)
        reporter.metric("loss", loss, 7, round_)
        reporter.metric("accuracy", 1.0 - loss, 7, round_)
        reporter.idle()
    thread = reporter._sender._thread
    reporter.close()
    if thread is not None:
        thread.join(120)
        assert not thread.is_alive()


def records(file: Path) -> Iterator[bytes]:
    """The records of an offline run's file: seven bytes, then LevelDB's log format, unbroken ones only."""
    data, at, block = file.read_bytes(), 7, 32 * 1024
    while at + 7 <= len(data):
        left = block - at % block
        size, kind = struct.unpack_from("<HB", data, at + 4)
        if left < 7 or kind == 0:
            at += left
            continue
        if kind == 1:
            yield data[at + 7 : at + 7 + size]
        at += 7 + size


def rows(file: Path) -> list[dict[str, float]]:
    """The history of an offline run, as the library wrote it."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for data in records(file):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {i.key or i.nested_key[0]: i.value_json for i in record.history.item}
            found.append({k: json.loads(v) for k, v in items.items() if not k.startswith("_")})
    return found


def test_each_rounds_metrics_arrive_and_the_key_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder, here = tmp_path / "wandb", str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", REPORT, str(folder), SECRET, here],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    (file,) = folder.rglob("run-*.wandb")
    assert rows(file) == [
        {"round": 1, "loss": 0.75, "accuracy": 0.25},
        {"round": 2, "loss": 0.5, "accuracy": 0.5},
    ]
    assert SECRET not in done.stdout + done.stderr
    for written in folder.rglob("*"):
        assert not written.is_file() or SECRET.encode() not in written.read_bytes(), written


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'wandb'"), "pip install wandb"),
        (RuntimeError(f"the key {SECRET} is refused"), "the key *** is refused"),
        (SystemExit(1), "SystemExit"),
    ],
)
def test_whatever_the_library_does_training_goes_on(
    error: BaseException,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Library:
        def __getattr__(self, name: str) -> Any:
            raise error

    monkeypatch.setitem(sys.modules, "wandb", Library())
    seen = Seen()
    with caplog.at_level(logging.INFO):
        report(seen, config(SECRET), tmp_path)
    assert seen.metrics == [
        ("loss", 0.75, 7, 1),
        ("accuracy", 0.25, 7, 1),
        ("loss", 0.5, 7, 2),
        ("accuracy", 0.5, 7, 2),
    ]
    (event,) = seen.events
    assert event.startswith("wandb_given_up: ")
    assert words in event
    assert SECRET not in event + caplog.text
