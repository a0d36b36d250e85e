"""What the training client says of its readiness, and the last work it could not do, until that is gone.

The latter lies in the data dir: it outlives the Client Manager.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fedops.client.local.messages import Finished
from fedops.client.supervision.process_run import Message
from fedops.client.work.held_assignments import Held
from fedops.core.contracts import ProcessReport, Readiness, Refusal
from fedops.core.states import PROCESS_READY, ProcessStatus, ReadinessStatus
from fedops.storage.atomic_files import write_atomic

logger = logging.getLogger("fedops.client")
_REASON = 2_000


@dataclass(frozen=True)
class _Refused:
    """Work that could not be done."""

    task: str
    run_id: int | None
    round: int | None
    reason: str
    at: float  #: POSIX seconds by this device's clock
    #: What must change before it may be thought to be done the next time (see ``ReadinessWatch``).
    basis: str


class ReadinessBook:
    """May be used by any thread. ``changed`` is called when the server should hear of it."""

    def __init__(self, file: Path, changed: Callable[[], None]) -> None:
        self._file = file
        self._changed = changed
        self._lock = threading.Lock()
        #: Each with the moment since when, by the monotonic clock.
        self._tasks: dict[str | None, tuple[Readiness, float]] = {}
        self._basis = ""
        self._refused = _read(file)

    @property
    def refuses(self) -> bool:
        """Whether there is something that the device is not ready for."""
        with self._lock:
            found = [entry for entry, _ in self._tasks.values()]
        return any(entry.status is ReadinessStatus.REFUSED for entry in found)

    # --- what is heard -----------------------------------------------------------------------------

    def take(self, message: Message) -> None:
        """What the training client found out."""
        entries = [_entry(said) for said in message.get("tasks") or ()]
        basis = str(message.get("basis", ""))
        with self._lock:
            before, now = self._tasks, time.monotonic()
            self._tasks = {entry.task: (entry, _since(before, entry, now)) for entry in entries}
            forgiven = self._judge(entries, basis)
            news = forgiven or _entries(before) != entries
        for entry in entries:
            if entry.status is ReadinessStatus.REFUSED and entry not in _entries(before):
                logger.warning("not ready for %s: %s", entry.task or "any task", entry.reason)
        if news:
            self._changed()

    def _judge(self, entries: list[Readiness], basis: str) -> bool:
        """Whether the last refusal is gone: all is ready, and something was changed since."""
        refused, self._basis = self._refused, basis or self._basis
        if refused is None or not basis:
            return False
        if any(entry.status is not ReadinessStatus.READY for entry in entries):
            self._keep(replace(refused, basis=basis))
        elif basis != refused.basis:
            self._keep(None)
            return True
        return False

    def ended(self, held: Held, finished: Finished) -> None:
        """How a piece of work ended."""
        with self._lock:
            if finished.outcome in ("refused", "failed"):
                reason = finished.reason[:_REASON]
                place = (held.task, held.run_id, held.round)
                self._keep(_Refused(*place, reason, time.time(), self._basis))
            elif finished.outcome == "done" and _task_of(self._refused) == held.task:
                self._keep(None)

    def process(self, status: ProcessStatus) -> None:
        """The training client is in another state: what one that is gone said does not count."""
        if status not in PROCESS_READY:
            with self._lock:
                self._tasks = {}

    # --- what is said ------------------------------------------------------------------------------

    def report(self, process: ProcessReport) -> ProcessReport:
        """The training client with what is known of its readiness."""
        with self._lock:
            tasks, refused, now = list(self._tasks.values()), self._refused, time.monotonic()
        ready = [
            entry.model_copy(update={"seconds": round(now - since, 3)}) for entry, since in tasks
        ]
        return process.model_copy(
            update={"readiness": ready, "refusal": _as_refusal(refused) if refused else None}
        )

    def _keep(self, refused: _Refused | None) -> None:
        if refused == self._refused:
            return
        self._refused = refused
        with contextlib.suppress(OSError):  # then the next Client Manager does not know of it
            if refused is None:
                self._file.unlink(missing_ok=True)
            else:
                write_atomic(self._file, json.dumps(asdict(refused)).encode(), 0o600, durable=False)


def _entry(said: Mapping[str, Any]) -> Readiness:
    return Readiness.model_validate({**said, "reason": str(said.get("reason", ""))[:_REASON]})


def _entries(tasks: Mapping[str | None, tuple[Readiness, float]]) -> list[Readiness]:
    return [entry for entry, _ in tasks.values()]


def _since(
    before: Mapping[str | None, tuple[Readiness, float]], entry: Readiness, now: float
) -> float:
    """Since when it is so: what is said again began when it was said first."""
    known = before.get(entry.task)
    return known[1] if known is not None and known[0].status is entry.status else now


def _as_refusal(refused: _Refused) -> Refusal:
    return Refusal(
        task=refused.task,
        run_id=refused.run_id,
        round=refused.round,
        reason=refused.reason,
        seconds=max(time.time() - refused.at, 0.0),
    )


def _task_of(refused: _Refused | None) -> str | None:
    return refused.task if refused else None


def _read(file: Path) -> _Refused | None:
    try:
        return _Refused(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
