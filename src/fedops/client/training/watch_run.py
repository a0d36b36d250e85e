"""The training client's part of a look at the data: a process beside it looks, and it loads what is new."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedops.client.local.messages import Finished, TrainingArgs, WorkOrder
from fedops.client.training.side_process import SideProcess
from fedops.client.training.watch_process import WatchAnswer, WatchArgs, WatchedModel
from fedops.core.contracts import WATCH, Instruction
from fedops.core.contracts.schedules import WATCH_MODEL
from fedops.core.contracts.training import CONFIG
from fedops.core.errors import FedOpsError
from fedops.storage.payloads import (
    Document,
    Payload,
    blobs_of,
    check_document,
    values_of,
    write_payload,
)

logger = logging.getLogger("fedops.training")

PROGRAM = "fedops.client.training.watch_process"
_METRICS = "metrics"


def is_watch(instruction: Instruction) -> bool:
    return instruction.kind == WATCH and instruction.run_id is None


class WatchRunner:
    """Has the data looked at. ``changed`` is called when it is not what it was."""

    def __init__(self, args: TrainingArgs, changed: Callable[[], None]) -> None:
        self._args, self._changed = args, changed
        self._side = SideProcess(args, "a look at the data")

    def run(self, order: WorkOrder, cancelled: threading.Event) -> Finished:
        """Look, and write the result. Raises nothing but what ends this process."""
        id_ = order.instruction.id
        try:
            with tempfile.TemporaryDirectory(prefix="watch-", dir=order.out.parent) as folder:
                answer = self._looked(order, Path(folder), cancelled)
            if cancelled.is_set() or answer is None:
                return Finished(id=id_, outcome="cancelled")
            return self._finished(order, answer)
        except FedOpsError as error:
            return Finished(id=id_, outcome="failed", reason=error.message)
        except (OSError, ValueError) as error:
            return Finished(id=id_, outcome="failed", reason=f"{type(error).__name__}: {error}")

    def _looked(
        self, order: WorkOrder, folder: Path, cancelled: threading.Event
    ) -> WatchAnswer | None:
        document = check_document(order.instruction.content)
        told = values_of(document, CONFIG, "config") or {}
        args = WatchArgs(
            home=self._args.home,
            device=self._args.device,
            task=order.instruction.task,
            app_dir=self._args.app_dir,
            overrides=self._args.overrides,
            config=json.loads(str(told.get("config-json", ""))),
            version=told.get("version", -1),
            compares=bool(told.get("compares", False)),
            model=_model(order, document, told),
            answer=folder / "answer.json",
        )
        code = self._side.run(PROGRAM, args, folder, cancelled)
        if code is None:
            return None
        try:
            return WatchAnswer.model_validate_json(args.answer.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            text = f"the process that looks ended with code {code}; see the log of this device"
            raise FedOpsError(text) from None

    def _finished(self, order: WorkOrder, answer: WatchAnswer) -> Finished:
        id_, report = order.instruction.id, answer.report
        if report is None:
            outcome = "refused" if answer.refused else "failed"
            reason = answer.refused or answer.failed
            logger.warning("the data was not looked at: %s", reason)
            return Finished.model_validate(
                {"id": id_, "outcome": outcome, "reason": reason[:1_000]}
            )
        if answer.changed:
            self._changed()
        payload = Payload(configs={WATCH: report.values()}, metrics={_METRICS: report.metrics})
        written = write_payload(payload, order.out, durable=False)
        return Finished(id=id_, outcome="done", sha256=written.sha256, size=written.size)


def _model(order: WorkOrder, document: Document, told: dict[str, Any]) -> WatchedModel | None:
    ref = blobs_of(document).get(WATCH_MODEL)
    if ref is None:
        return None
    return WatchedModel(
        file=order.files[ref.sha256],
        contract=json.loads(str(told.get("contract-json", ""))),
        round=told.get("round", 0),
        run_id=told.get("run-id", 0),
        dataset=told.get("dataset", ""),
    )
