"""A training client without a framework: does what the config of each message says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from fedops.flower.device import Device
from fedops.flower.node import Handler
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict

from fedops.client.orders import TrainingArgs
from fedops.client.training import main
from fedops.core.errors import Invalid
from fedops.core.states import ProcessStatus
from fedops.scalize.base import Cancelled


def build(args: TrainingArgs, device: Device) -> Handler:
    mode = (args.app_dir / "mode").read_text() if (args.app_dir / "mode").exists() else ""
    if mode == "crash":
        print("importing the app", flush=True)
        raise ModuleNotFoundError("No module named 'torchh'")
    if mode == "invalid":
        raise Invalid("config.toml: learning_rat: unknown key")
    if mode == "silent":
        time.sleep(60)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("token" if any("fo_" in v for v in os.environ.values()) else "clean", flush=True)

    def handle(message: Message, context: Context) -> Message:
        record = message.content["config"]
        run, round_ = int(record["run-id"]), int(record["server-round"])
        wanted = json.loads(str(record["config-json"]))
        device.report.working(ProcessStatus.TRAINING, str(record["task"]), run, round_)
        device.report.event("began", f"round {round_}", run_id=run, round=round_)
        work(device, wanted)
        device.report.metric("loss", 1.0 / round_, run, round_)
        tensors = message.content["arrays"]["packed"].numpy()
        device.memory.save_checkpoint("mnist", run, round_, {"w": tensors})
        kept = len(device.memory.load_checkpoint("mnist"))
        arrays = ArrayRecord({"packed": Array(tensors + 1)})
        numbers = MetricRecord(
            {"pid": os.getpid(), "checkpoints": kept, "epochs": wanted.get("num_epochs", 0)}
        )
        return Message(RecordDict({"arrays": arrays, "metrics": numbers}), reply_to=message)

    return handle


def work(device: Device, wanted: dict[str, float]) -> None:
    """Train for a while, in one of the ways that trainings have."""
    if "eat_mb" in wanted:
        eaten = bytearray(int(wanted["eat_mb"]) << 20)
        eaten[::4096] = b"x" * len(eaten[::4096])
        time.sleep(30)
    if "die" in wanted:
        os.kill(os.getpid(), int(wanted["die"]))
    deadline = time.monotonic() + wanted.get("seconds", 0.0)
    while time.monotonic() < deadline:
        time.sleep(0.01)
        if not wanted.get("deaf") and device.cancelled.is_set():
            raise Cancelled


if __name__ == "__main__":
    main(sys.argv[1:], build)
