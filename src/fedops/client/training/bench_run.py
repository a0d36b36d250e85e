"""The training client's part of a benchmark: a process beside it measures, so that nothing here changes."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import load_device_config
from fedops.client.local.messages import Finished, TrainingArgs, WorkOrder
from fedops.client.telemetry.system_metrics import MIB, memory_of
from fedops.client.training.bench_process import BenchAnswer, BenchArgs
from fedops.core.contracts import BENCH, BenchMeasured, Instruction
from fedops.core.contracts.training import CONFIG
from fedops.core.errors import FedOpsError, Invalid
from fedops.processes.process_tree import end_named_tree
from fedops.processes.spawn import let_go, spawn
from fedops.storage.payloads import Payload, check_document, values_of, write_payload

logger = logging.getLogger("fedops.training")

PROGRAM = "fedops.client.training.bench_process"
_LOOK_SECONDS = 0.1
#: Looking at the memory takes time, which is measured.
_MEMORY_SECONDS = 0.5
#: Of the memory that the owner allows; beyond all of it the training client would be ended.
_SHARE = 0.95


def is_bench(instruction: Instruction) -> bool:
    return instruction.kind == BENCH and instruction.run_id is None


class BenchRunner:
    """Has benchmarks done, one at a time."""

    def __init__(self, args: TrainingArgs) -> None:
        self._args = args
        limits = load_device_config(DataDir(args.home).device_config).limits
        self._limit = limits.memory_mb * MIB

    def run(self, order: WorkOrder, cancelled: threading.Event) -> Finished:
        """Measure, and write the result. Raises nothing but what ends this process."""
        id_ = order.instruction.id
        try:
            document = check_document(order.instruction.content)
            told = values_of(document, CONFIG, "config") or {}
            known = values_of(document, BENCH, "metric") or {}
            with tempfile.TemporaryDirectory(prefix="bench-", dir=order.out.parent) as folder:
                answer = self._measured(told, Path(folder), cancelled)
            if cancelled.is_set() or answer is None:
                return Finished(id=id_, outcome="cancelled")
            return _finished(order, answer, known)
        except FedOpsError as error:
            return Finished(id=id_, outcome="failed", reason=error.message)
        except (OSError, ValueError) as error:
            return Finished(id=id_, outcome="failed", reason=f"{type(error).__name__}: {error}")

    def _measured(
        self, told: Mapping[str, Any], folder: Path, cancelled: threading.Event
    ) -> BenchAnswer | None:
        args = BenchArgs(
            home=self._args.home,
            device=self._args.device,
            app_dir=self._args.app_dir,
            overrides=self._args.overrides,
            config=_config_of(told),
            fraction=told.get("fraction", 0),
            seconds=told.get("seconds", 0),
            answer=folder / "answer.json",
        )
        file = folder / "args.json"
        file.touch(mode=0o600)
        file.write_text(args.model_dump_json(), encoding="utf-8")
        code = self._await(file, f"bench-{folder.name}", cancelled)
        if code is None:
            return None
        try:
            return BenchAnswer.model_validate_json(args.answer.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            text = f"the process that measures ended with code {code}; see the log of this device"
            raise FedOpsError(text) from None

    def _await(self, file: Path, tree: str, cancelled: threading.Event) -> int | None:
        """The exit code; None: it was cancelled."""
        self._check_memory(times=2)  # as much as this process has
        child = spawn([sys.executable, "-m", PROGRAM, str(file)], cwd=self._args.app_dir, tree=tree)
        looked_at = time.monotonic()
        try:
            while not cancelled.wait(_LOOK_SECONDS):
                if (code := child.poll()) is not None:
                    return code
                if time.monotonic() - looked_at >= _MEMORY_SECONDS:
                    looked_at = time.monotonic()
                    self._check_memory()
            return None
        finally:
            _end(child, tree)

    def _check_memory(self, times: int = 1) -> None:
        """``times``: so often as much as now. ``Invalid``: the owner does not allow that."""
        used = (memory_of(os.getpid()) or 0) * times if self._limit else 0
        if used > self._limit * _SHARE:
            raise Invalid(
                f"a benchmark loads the app a second time, beside the training client: that takes "
                f"{used // MIB} MB, and memory_mb in device.toml allows {self._limit // MIB}"
            )


def _end(child: subprocess.Popen[bytes], tree: str) -> None:
    end_named_tree(tree, grace=0.0)
    let_go(child)
    child.wait()


def _config_of(told: Mapping[str, Any]) -> dict[str, Any]:
    config = json.loads(str(told.get("config-json", "")))
    if not isinstance(config, dict):
        raise ValueError("the instruction has no config")
    return config


def _finished(order: WorkOrder, answer: BenchAnswer, known: Mapping[str, Any]) -> Finished:
    """``known``: what the Client Manager measured of the network."""
    id_ = order.instruction.id
    if answer.measured is None:
        outcome = "refused" if answer.refused else "failed"
        reason = answer.refused or answer.failed
        logger.warning("the benchmark was not done: %s", reason)
        return Finished.model_validate({"id": id_, "outcome": outcome, "reason": reason[:1_000]})
    measured = BenchMeasured.from_values({**answer.measured.values(), **known})
    done = "benchmark: %d of %d examples in %.2f s"
    logger.info(done, measured.chunk_examples, measured.examples, measured.chunk_seconds)
    written = write_payload(Payload(metrics={BENCH: measured.values()}), order.out, durable=False)
    return Finished(id=id_, outcome="done", sha256=written.sha256, size=written.size)
