"""The training client's one piece of work at a time, in its main thread: taken, stopped, reported."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fedops.client.device.epoch_checkpoints import EpochFiles
from fedops.client.local.messages import Finished, StopRequest, WorkOrder
from fedops.client.local.report_pipe import ReportPipe
from fedops.client.training.bench_run import BenchRunner, is_bench
from fedops.client.training.readiness_watch import ReadinessWatch
from fedops.client.training.watch_run import WatchRunner, is_watch
from fedops.core.contracts import Instruction
from fedops.core.errors import Conflict
from fedops.failpoints import reached
from fedops.trainer.device_context import Device

if TYPE_CHECKING:
    from fedops.flower.client_app import WorkResult

logger = logging.getLogger("fedops.training")


class App(Protocol):
    """What does the work: ``flower.client_app.DeviceApp``."""

    def handle(
        self, instruction: Instruction, files: Mapping[str, Path], out: Path
    ) -> WorkResult: ...


class WorkLoop:
    """Does what it is given, one piece after the other."""

    def __init__(
        self,
        app: App,
        device: Device,
        epochs: EpochFiles,
        report: ReportPipe,
        watch: ReadinessWatch | None = None,
        benches: BenchRunner | None = None,
        looks: WatchRunner | None = None,
    ) -> None:
        self._app = app
        self._device = device
        self._epochs = epochs
        self._report = report
        self._watch = watch
        self._benches = benches
        self._looks = looks
        self._changed = threading.Condition()
        self._order: WorkOrder | None = None
        self._stopped = False

    def give(self, order: WorkOrder) -> None:
        """Work on this, from now on. Giving it again changes nothing.

        Raises:
            Conflict: other work is in hand.
        """
        with self._changed:
            if self._order is not None:
                if self._order.instruction.id == order.instruction.id:
                    return
                raise Conflict(f"the training client works on {self._order.instruction.id}")
            self._device.cancelled = threading.Event()
            self._order = order
            self._changed.notify_all()

    def stop_work(self, order: StopRequest) -> None:
        """Abandon the work in hand, if it is this."""
        with self._changed:
            if self._order is None or order.id not in (None, self._order.instruction.id):
                return
            if not (order.checkpoint and self._epochs.ask_to_save()):
                self._device.cancelled.set()

    def run(self) -> None:
        """Work until ``stop``."""
        while (order := self._next()) is not None:
            finished = self._work(order)
            if self._watch is not None and not _is_of_no_round(order.instruction):
                self._watch.after(finished.outcome)
            with self._changed:
                self._order = None
            self._report.finished(finished)
            reached("client.finished")
            self._device.report.idle()  # not when the process is being ended: that is no idleness
            self._device.explanations.idle()

    def stop(self) -> None:
        """Make ``run`` return once the work in hand is done with."""
        with self._changed:
            self._stopped = True
            self._device.cancelled.set()
            self._changed.notify_all()

    def _next(self) -> WorkOrder | None:
        """Wait for the next piece of work, and meanwhile look whether it could be done."""
        if self._watch is None:
            return self._wait(None)
        while (order := self._wait(self._watch.pause)) is None and not self._stopped:
            self._watch.look()
        return order

    def _wait(self, seconds: float | None) -> WorkOrder | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._order is not None, seconds)
            return None if self._stopped else self._order

    def _work(self, order: WorkOrder) -> Finished:
        id_ = order.instruction.id
        self._report.begin(id_)
        reached("client.received")
        if self._benches is not None and is_bench(order.instruction):
            self._report.benching(order.instruction.task)
            return self._benches.run(order, self._device.cancelled)
        if self._looks is not None and is_watch(order.instruction):
            self._report.looking(order.instruction.task)
            return self._looks.run(order, self._device.cancelled)
        try:
            result = self._app.handle(order.instruction, order.files, order.out)
        finally:
            self._epochs.close()
        return Finished(id=id_, **asdict(result))


def _is_of_no_round(instruction: Instruction) -> bool:
    """It says nothing of whether the device can do a round."""
    return is_bench(instruction) or is_watch(instruction)
