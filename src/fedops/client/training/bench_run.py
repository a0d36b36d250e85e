"""The training client's part of a benchmark: a process beside it measures, so that nothing here changes."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedops.client.local.messages import Finished, TrainingArgs, WorkOrder
from fedops.client.training.bench_process import BenchAnswer, BenchArgs
from fedops.client.training.side_process import SideProcess
from fedops.core.contracts import BENCH, BenchMeasured, Instruction
from fedops.core.contracts.training import CONFIG
from fedops.core.errors import FedOpsError
from fedops.storage.payloads import Payload, check_document, values_of, write_payload

logger = logging.getLogger("fedops.training")

PROGRAM = "fedops.client.training.bench_process"


def is_bench(instruction: Instruction) -> bool:
    return instruction.kind == BENCH and instruction.run_id is None


class BenchRunner:
    """Has benchmarks done, one at a time."""

    def __init__(self, args: TrainingArgs) -> None:
        self._args = args
        self._side = SideProcess(args, "a benchmark")

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
        code = self._side.run(PROGRAM, args, folder, cancelled)
        if code is None:
            return None
        try:
            return BenchAnswer.model_validate_json(args.answer.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            text = f"the process that measures ended with code {code}; see the log of this device"
            raise FedOpsError(text) from None


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
