"""A training client without a framework: does what the config of each order says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedops.client.local.messages import TrainingArgs
from fedops.client.training.main import Adjust, main
from fedops.client.training.work_loop import App
from fedops.core.contracts import Instruction
from fedops.core.errors import Invalid
from fedops.core.states import ProcessStatus
from fedops.flower.client_app import WorkResult
from fedops.scalize.adapter.protocol import Cancelled, TrainingState
from fedops.storage.payloads import Payload, assemble, blobs_of, check_document, write_payload
from fedops.storage.tensors import load
from fedops.trainer.device_context import Device

EPOCH_SECONDS = 0.2


def build(args: TrainingArgs, device: Device, adjust: Adjust) -> App:
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
    return Child(args, device, adjust)


class Child:
    """Counts its trainings in the file ``trainings`` of the app's folder, a line each."""

    def __init__(self, args: TrainingArgs, device: Device, adjust: Adjust) -> None:
        self._app_dir = args.app_dir
        self._device = device
        self._adjust = adjust

    def handle(self, instruction: Instruction, files: Mapping[str, Path], out: Path) -> WorkResult:
        document = check_document(instruction.content)
        blobs = {blob.sha256: load(files[blob.sha256]) for blob in blobs_of(document).values()}
        payload = assemble(document, {}, blobs)
        record = payload.configs["config"]
        run, round_ = record["run-id"], record["server-round"]
        wanted = self._adjust(json.loads(record["config-json"]))
        device = self._device
        device.work_key = instruction.work_key
        with (self._app_dir / "trainings").open("a") as file:
            file.write(f"{run} {round_}\n")
        device.report.working(ProcessStatus.TRAINING, record["task"], run, round_)
        device.report.event("began", f"round {round_}", run_id=run, round=round_)
        try:
            self._train(wanted)
        except Cancelled:
            return WorkResult("cancelled")
        if why := wanted.get("refuse"):
            return WorkResult("refused", why)
        if why := wanted.get("fail"):
            return WorkResult("failed", why, 2)
        device.report.metric("loss", 1.0 / round_, run, round_)
        arrays = {name: np.asarray(array) + 1 for name, array in payload.arrays["arrays"].items()}
        if size := wanted.get("noise_bytes"):
            rng = np.random.default_rng(round_)
            arrays["noise"] = rng.integers(0, 256, size, dtype=np.uint8)
        device.memory.save_checkpoint("mnist", run, round_, arrays)
        kept = len(device.memory.load_checkpoint("mnist"))
        numbers = {"pid": os.getpid(), "checkpoints": kept, "epochs": wanted.get("num_epochs", 0)}
        made = Payload({"arrays": arrays}, {"metrics": numbers}, {"by": {"device": device.name}})
        written = write_payload(made, out)
        if number := wanted.get("die_after_writing"):
            os.kill(os.getpid(), number)
        return WorkResult("done", sha256=written.sha256, size=written.size)

    def _train(self, wanted: dict[str, Any]) -> None:
        if "eat_mb" in wanted:
            eaten = bytearray(int(wanted["eat_mb"]) << 20)
            eaten[::4096] = b"x" * len(eaten[::4096])
            time.sleep(30)
        if "die" in wanted:
            os.kill(os.getpid(), int(wanted["die"]))
        if "long_epochs" in wanted:
            self._epochs(int(wanted["long_epochs"]))
        deadline = time.monotonic() + wanted.get("seconds", 0.0)
        while time.monotonic() < deadline:
            time.sleep(0.01)
            if not wanted.get("deaf") and self._device.cancelled.is_set():
                raise Cancelled

    def _epochs(self, total: int) -> None:
        """Go epoch by epoch, and go on where an earlier process was."""
        checkpoints = self._device.epochs.open(self._device.work_key, "child")
        assert checkpoints is not None
        state = checkpoints.begin()
        done = state.values["done"] if state else 0
        for epoch in range(done, total):
            deadline = time.monotonic() + EPOCH_SECONDS
            while time.monotonic() < deadline:
                time.sleep(0.005)
                if self._device.cancelled.is_set():
                    raise Cancelled
                if checkpoints.wanted:
                    checkpoints.save(TrainingState({}, {"done": epoch}))
                    raise Cancelled
            with (self._app_dir / "epochs").open("a") as file:
                file.write(f"{epoch + 1}\n")
            self._device.report.epoch(epoch + 1, total)
            checkpoints.save(TrainingState({}, {"done": epoch + 1}))


if __name__ == "__main__":
    main(sys.argv[1:], build)
