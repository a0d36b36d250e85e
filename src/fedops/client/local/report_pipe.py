"""How the training client tells its Client Manager: JSON lines on a pipe of their own, never blocking."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Mapping, Sequence
from typing import Any

from fedops.client.local.messages import Finished, TrainingClientStatus
from fedops.core.states import ProcessStatus
from fedops.processes.json_lines import write_line
from fedops.processes.threads import in_thread

_QUEUED = 10_000
_FLUSH_SECONDS = 1.0


class ReportPipe:
    """A ``trainer.device_context.Reporter`` on a file descriptor.

    A thread writes; when the other side does not read, reports pile up and at last are lost, but who
    trains never waits.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(_QUEUED)
        self._thread = in_thread(self._write, name="reports")
        self._now = TrainingClientStatus(status=ProcessStatus.STARTING, pid=os.getpid())
        self._work = ""

    @property
    def now(self) -> TrainingClientStatus:
        """What was last said of the state."""
        return self._now

    # --- Reporter ----------------------------------------------------------------------------------

    def working(self, status: ProcessStatus, task: str, run_id: int, round_: int) -> None:
        self._state(status, task, run_id, round_)

    def idle(self) -> None:
        self._state(ProcessStatus.IDLE)

    def epoch(self, done: int, total: int) -> None:
        self._now = self._now.model_copy(update={"epoch": done, "epochs": total})
        self._put({"kind": "epoch", "id": self._work, "done": done, "total": total})

    def event(self, name: str, text: str, **data: Any) -> None:
        self._put({"kind": "event", "name": name, "text": text, "data": data})

    def describe(self, **facts: Any) -> None:
        self._put({"kind": "facts", "facts": facts})

    def metric(self, name: str, value: float, run_id: int, round_: int) -> None:
        self._put(
            {"kind": "metric", "name": name, "value": value, "run_id": run_id, "round": round_}
        )

    # --- and more ----------------------------------------------------------------------------------

    def ready(self, port: int) -> None:
        """The local API listens."""
        self._put({"kind": "ready", "port": port})

    def begin(self, work: str) -> None:
        """This piece of work is in hand from now on."""
        self._work = work

    def finished(self, result: Finished) -> None:
        """How a piece of work ended."""
        self._put({"kind": "finished", **result.model_dump()})

    def benching(self, task: str) -> None:
        """A benchmark for a task is in hand: training that is of no run."""
        self._state(ProcessStatus.TRAINING, task)

    def readiness(
        self, tasks: Sequence[Mapping[str, Any]], basis: str, fingerprint: str = ""
    ) -> None:
        """How the trial of each task went, what that was found on, and the contract of the app's model."""
        told = {"tasks": list(tasks), "basis": basis, "fingerprint": fingerprint}
        self._put({"kind": "readiness", **told})

    def looking(self, task: str) -> None:
        """A look at the data of a task is in hand, which is of no run."""
        self._state(ProcessStatus.EVALUATING, task)

    def renew(self, text: str) -> None:
        """A fresh process may be able to do what this one cannot."""
        self._put({"kind": "renew", "text": text})

    def fatal(self, text: str) -> None:
        """It cannot work, and trying again would not help."""
        self._put({"kind": "fatal", "text": text})

    def close(self) -> None:
        """Write what is left, for a short while."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=_FLUSH_SECONDS)
        self._thread.join(_FLUSH_SECONDS)

    def _state(
        self,
        status: ProcessStatus,
        task: str | None = None,
        run_id: int | None = None,
        round_: int | None = None,
    ) -> None:
        work = None if status is ProcessStatus.IDLE else self._work or None
        self._now = TrainingClientStatus(
            status=status, task=task, run_id=run_id, round=round_, work=work, pid=os.getpid()
        )
        self._put(
            {
                "kind": "state",
                "status": str(status),
                "task": task,
                "run_id": run_id,
                "round": round_,
            }
        )

    def _put(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(message)

    def _write(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                write_line(self._descriptor, message)
            except OSError:
                return  # the Client Manager is gone; so will we be
