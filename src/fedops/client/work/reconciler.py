"""Hands work to the training client, whichever of its lives it is in, and takes it away again.

Work that is not wanted any more is stopped: first by asking, then by ending the process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from fedops.client.local.http import LocalClient
from fedops.client.local.messages import Finished, StopRequest, TaskConfigs, WorkOrder
from fedops.client.supervision.supervisor import Supervisor
from fedops.client.work.held_assignments import Held, found_result
from fedops.client.work.reachability import Over
from fedops.core.contracts import ProcessReport, Stage
from fedops.core.errors import FedOpsError, Unavailable
from fedops.core.states import ProcessStatus

logger = logging.getLogger("fedops.client")

#: How long the training client may take to stop before its process is ended, in seconds; and to keep how
#: far it is.
STOP_SECONDS = 1.5
CHECKPOINT_SECONDS = 3.0
#: Beyond its deadline a training is taken for hung: the server wants it no more, whatever comes of it.
SLACK_SECONDS = 60.0
_RETRY_SECONDS = 0.3
_WORKING = frozenset({ProcessStatus.TRAINING, ProcessStatus.EVALUATING})
_ALIVE = frozenset({ProcessStatus.STARTING, ProcessStatus.IDLE}) | _WORKING
#: Flower's code for an app whose process died.
_CRASHED = 8


class Reconciler:
    """The training client as who has work for it sees it: one piece at a time, done or not."""

    def __init__(self, supervisor: Supervisor, token: str, stopped: Callable[[], bool]) -> None:
        self._supervisor = supervisor
        self._token = token
        self._stopped = stopped
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._client: LocalClient | None = None
        self._life = 0
        self._in_hand: Held | None = None
        self._finished: Finished | None = None

    # --- what is heard of the training client ------------------------------------------------------

    def ready(self, port: int) -> None:
        """A training client listens on this port."""
        with self._changed:
            self._client = LocalClient(f"http://127.0.0.1:{port}", self._token)
            self._life += 1
            self._changed.notify_all()

    def changed(self, report: ProcessReport) -> None:
        """The training client is in another state."""
        with self._changed:
            if report.status not in _ALIVE and self._client is not None:
                self._client.close()
                self._client = None
            held = self._in_hand
            if held is not None and report.status in _WORKING:
                evaluates = report.status is ProcessStatus.EVALUATING
                held.tell(Stage.EVALUATING if evaluates else Stage.TRAINING, held.done, held.total)
            self._changed.notify_all()

    def epoch(self, work: str, done: int, total: int) -> None:
        """So many local epochs of the work in hand are done."""
        held = self._in_hand
        if held is not None and held.id == work:
            held.tell(Stage.TRAINING, done, total)

    def finished(self, result: Finished) -> None:
        """The training client is done with its work."""
        with self._changed:
            if self._in_hand is not None and self._in_hand.id == result.id:
                self._finished = result
            self._changed.notify_all()

    def wake(self) -> None:
        """Let who waits look whether it is over."""
        with self._changed:
            self._changed.notify_all()

    def tell(self, configs: TaskConfigs) -> None:
        """What the training client is to be ready for.

        Raises:
            Unavailable: there is none that listens.
        """
        client = self._client
        if client is None:
            raise Unavailable("no training client listens")
        client.post("/configs", configs)

    @property
    def training_url(self) -> str | None:
        client = self._client
        return client.url if client else None

    # --- work --------------------------------------------------------------------------------------

    def do(self, held: Held, order: WorkOrder) -> Finished:
        """Have it done; returns how it ended. Waits its turn, and over deaths of the training client.

        Raises:
            Over: it is not wanted any more, and surely not worked on any more.
        """
        held.tell(Stage.WAITING)
        while not self._turn.acquire(timeout=_RETRY_SECONDS):
            self._check(held)
        try:
            return self._do(held, order)
        finally:
            with self._changed:
                self._in_hand = self._finished = None
            self._turn.release()

    def _do(self, held: Held, order: WorkOrder) -> Finished:
        while True:
            held.tell(Stage.PREPARING)
            if (result := found_result(held)) is not None:
                return result  # an earlier life wrote it and could not say so
            ready = self._await_client(held)
            if isinstance(ready, Finished):
                return ready
            client, life = ready
            if not self._hand_over(held, order, client):
                continue
            result = self._await_result(held, life)
            if result is not None and result.outcome != "cancelled":
                return result

    def _await_client(self, held: Held) -> tuple[LocalClient, int] | Finished:
        """The training client, once it can take work; or how the work ended without it."""
        with self._changed:
            while True:
                self._check(held)
                if (late := self._said_late(held)) is not None:
                    return late
                report = self._supervisor.report()
                if report.status is ProcessStatus.FATAL:
                    return self._given_up(held)
                if self._client is not None and report.status is ProcessStatus.IDLE:
                    self._in_hand, self._finished = held, None
                    return self._client, self._life
                self._changed.wait(_RETRY_SECONDS)

    def _said_late(self, held: Held) -> Finished | None:
        """How work ended that was taken after all, when we had given up waiting for that."""
        said = self._finished if self._in_hand is held else None
        return said if said is not None and said.outcome != "cancelled" else None

    def _hand_over(self, held: Held, order: WorkOrder, client: LocalClient) -> bool:
        self._supervisor.work_seconds = held.seconds_left + SLACK_SECONDS
        try:
            client.post("/work", order)
            return True
        except FedOpsError as error:
            logger.debug("the training client did not take the work: %s", error.message)
            time.sleep(_RETRY_SECONDS)
            return False

    def _await_result(self, held: Held, life: int) -> Finished | None:
        """How the work ended; None when the training client died over it."""
        with self._changed:
            while self._finished is None:
                if held.over.is_set() or self._stopped():
                    break
                if self._client is None or self._life != life:
                    return None
                self._changed.wait()
            else:
                return self._finished
        if not self._stopped():
            self._stop(held)
        raise Over

    def _given_up(self, held: Held) -> Finished:
        reason = self._supervisor.report().reason or "it ended again and again"
        text = f"the training client is given up: {reason}"
        return Finished(id=held.id, outcome="failed", reason=text[:2_000], code=_CRASHED)

    # --- stopping ----------------------------------------------------------------------------------

    def _stop(self, held: Held) -> None:
        """Returns when the training client does not work on it any more."""
        client, life = self._client, self._life
        if client is None:
            return
        try:
            client.post("/stop", StopRequest(id=held.id, checkpoint=held.checkpoint))
        except FedOpsError as error:
            logger.debug("the training client does not listen: %s", error.message)
        seconds = CHECKPOINT_SECONDS if held.checkpoint else STOP_SECONDS
        with self._changed:
            if self._changed.wait_for(lambda: self._is_quiet(life), seconds):
                return
        reason = f"it went on {seconds:.1f} s after its work was stopped"
        logger.warning("the training client is ended: %s", reason)
        self._supervisor.replace(reason)
        with self._changed:
            self._changed.wait_for(lambda: self._is_quiet(life), 10.0)

    def _is_quiet(self, life: int) -> bool:
        return self._finished is not None or self._client is None or self._life != life

    def _check(self, held: Held) -> None:
        if held.over.is_set() or self._stopped():
            raise Over
