"""The device's assignments, from the offer to the delivered result: a thread for each.

Level-triggered like all that the server says: an offer may come again, a cancellation too. What ends here
with a result on disk is delivered, however long that takes; nothing is trained twice.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fedops.api_client import DigestMismatch, WorkClient
from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import Limits
from fedops.client.device.epoch_checkpoints import forget_epochs
from fedops.client.device.training_home import TrainingHome
from fedops.client.local.messages import Finished, HeldStatus, WorkOrder
from fedops.client.work.bench_download import is_bench, with_download
from fedops.client.work.hand_over import HandOver
from fedops.client.work.held_assignments import AssignmentStore, Held
from fedops.client.work.reachability import Over, is_final
from fedops.client.work.reconciler import Reconciler
from fedops.client.work.result_metrics import Measured, metrics_of
from fedops.client.work.transfers import Transfers
from fedops.core.contracts import (
    INLINE_BYTES,
    WATCH,
    HeldAssignment,
    Instruction,
    Offer,
    Stage,
    Work,
    WorkEnd,
)
from fedops.core.errors import Conflict, FedOpsError, Invalid, NotFound
from fedops.core.reasons.stages import outside_text
from fedops.failpoints import reached
from fedops.storage.atomic_files import sha256_of
from fedops.storage.payloads import blobs_of, check_document
from fedops.storage.shortages import why_not_written

logger = logging.getLogger("fedops.client")


@dataclass(frozen=True)
class Outside:
    """Whom the desk tells."""

    #: Work is over: there is room for more, and the server may wait to hear that it is.
    news: Callable[[], None]
    #: The server wants nothing more of this device.
    refused: Callable[[FedOpsError], None]
    #: Something worth keeping happened: name, text, run, round.
    event: Callable[[str, str, int | None, int | None], None]
    #: Something was measured.
    metric: Callable[[Measured], None]
    #: A piece of work was done, or could not be.
    ended: Callable[[Held, Finished], None]


class WorkDesk:
    """Takes offers, as many as the owner allows at once, and sees them through."""

    def __init__(
        self,
        home: DataDir,
        work: WorkClient,
        transfers: Transfers,
        reconciler: Reconciler,
        outside: Outside,
        limit: int,
        training: TrainingHome | None = None,
    ) -> None:
        training = training or TrainingHome(home, Limits())
        self._epochs = training.place.epochs
        self._hand_over = HandOver(training)
        self._work = work
        self._transfers = transfers
        self._reconciler = reconciler
        self._outside = outside
        self._limit = limit
        self._store = AssignmentStore(home.work)
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}
        self._threads: list[threading.Thread] = []
        #: By how many: the code of a task and FedOps itself may want to change at the same time.
        self._reserved = 0
        self._stopped = threading.Event()

    def start(self) -> None:
        """Go on with what an earlier Client Manager has left."""
        for held in self._store.load():
            logger.info("going on with %s", _named(held))
            self._begin(held)

    def stop(self) -> None:
        """Let go of everything, as it is: the next Client Manager goes on from there."""
        self._stopped.set()
        self._wake()
        for thread in list(self._threads):
            thread.join(2.0)

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    # --- what the server wants ---------------------------------------------------------------------

    def take(self, work: Work) -> bool:
        """Make it so. False: there was nothing new in it, or nothing that can be done now."""
        cancelled = [self._end(c.id, c.reason, c.checkpoint) for c in work.cancel]
        forgotten = [
            self._end(id_, "the server has no more need of it", False, True) for id_ in work.forget
        ]
        accepted = [self._accept(offer) for offer in work.offers]
        return any([*cancelled, *forgotten, *accepted])

    def reserve(self) -> bool:
        """Take on no more work, until ``release``. False: some is in hand."""
        with self._lock:
            is_free = not any(held.at_work for held in self._held.values())
            self._reserved += is_free
            return is_free

    def release(self) -> None:
        """Take on work again: the server offers it anew."""
        with self._lock:
            self._reserved -= 1
        self._outside.news()

    def _accept(self, offer: Offer) -> bool:
        with self._lock:
            if offer.id in self._held or self._stopped.is_set() or self._reserved:
                return False
            if sum(held.at_work for held in self._held.values()) >= self._limit:
                return False
            held = self._held[offer.id] = self._store.begin(offer)  # seen by who reserves next
        self._begin(held)
        return True

    def _begin(self, held: Held) -> None:
        thread = threading.Thread(target=self._run, args=(held,), name="assignment", daemon=True)
        with self._lock:
            self._held[held.id] = held
            self._threads = [old for old in self._threads if old.is_alive()] + [thread]
        thread.start()

    def _end(self, id_: str, reason: str, checkpoint: bool, forgotten: bool = False) -> bool:
        with self._lock:
            held = self._held.get(id_)
        if held is None or held.over.is_set():
            return False
        held.reason, held.checkpoint, held.forgotten = reason, checkpoint, forgotten
        held.over.set()
        self._wake()
        return True

    def _wake(self) -> None:
        self._reconciler.wake()
        self._transfers.reach.wake()

    # --- what the device holds ---------------------------------------------------------------------

    def held(self) -> list[HeldAssignment]:
        """As the server is told."""
        with self._lock:
            return [held.report() for held in self._held.values() if not held.forgotten]

    def status(self) -> list[HeldStatus]:
        """As the owner of the device is told."""
        with self._lock:
            return [held.status() for held in self._held.values()]

    def working_for(self) -> tuple[int | None, int | None] | None:
        """The run and round of the work in hand, as far as that is one; of a benchmark, no run."""
        with self._lock:
            places = {(held.run_id, held.round) for held in self._held.values() if held.at_work}
        return places.pop() if len(places) == 1 else None

    # --- one assignment ----------------------------------------------------------------------------

    def _run(self, held: Held) -> None:
        try:
            self._see_through(held)
        except Over:
            if self._stopped.is_set() and not held.over.is_set():
                return
            logger.info("%s is over: %s", _named(held), held.reason)
        except FedOpsError as error:
            if is_final(error):
                self._outside.refused(error)
                return
            self._give_up(held, error.message, isinstance(error, Conflict | NotFound))
        except OSError as error:
            self._give_up(held, why_not_written(error, held.folder), False)
        except Exception as error:
            logger.exception("%s failed", _named(held))
            self._give_up(held, f"{type(error).__name__}: {error}", False)
        if not self._stopped.is_set() or held.over.is_set():
            self._drop(held)

    def _give_up(self, held: Held, why: str, known: bool) -> None:
        """It cannot be done. ``known``: the server said so itself."""
        text = f"{_named(held)} is dropped: {why}"
        logger.warning("%s", text)
        self._outside.event("work_dropped", text, held.run_id, held.round)
        if not known:
            held.finished = Finished(id=held.id, outcome="failed", reason=why[:2_000])
            with contextlib.suppress(Over, FedOpsError):
                self._say_end(held, held.finished)

    def _see_through(self, held: Held) -> None:
        if held.instruction is None:
            instruction = self._transfers.insist(
                held, lambda: self._work.instruction(held.id), Stage.WAITING
            )
            self._store.accept(held, instruction)
            reached("manager.work.accepted")
        while True:
            if held.finished is None:
                finished = self._result(held)
                if not _is_of_no_round(
                    held
                ):  # that says nothing of whether the device can do a round
                    self._outside.ended(held, finished)
                self._finish(held, finished)
                reached("manager.work.finished")
                self._outside.news()
            if held.finished is not None and held.finished.found:
                for measured in metrics_of(held.result, held.kind):
                    self._outside.metric(measured)
            if self._deliver(held):
                return
            logger.warning("the result of %s was damaged on this disk: once more", _named(held))
            self._store.again(held)

    def _result(self, held: Held) -> Finished:
        """Have the work done."""
        assert held.instruction is not None
        if is_bench(held):
            return self._bench(held, held.instruction)
        try:
            blobs = blobs_of(check_document(held.instruction.content)).values()
            files = {blob.sha256: self._transfers.fetch(held, blob) for blob in blobs}
        except Invalid as error:
            return Finished(id=held.id, outcome="failed", reason=error.message[:2_000])
        order = WorkOrder(instruction=held.instruction, files=files, out=held.result)
        return self._hand_over.take(order, self._reconciler.do(held, self._hand_over.lend(order)))

    def _bench(self, held: Held, instruction: Instruction) -> Finished:
        """Have a benchmark done: its model is not needed, only how long it takes to come."""
        try:
            told = with_download(held, instruction, self._transfers)
        except Invalid as error:
            return Finished(id=held.id, outcome="failed", reason=error.message[:2_000])
        order = WorkOrder(instruction=told, out=held.result)
        return self._hand_over.take(order, self._reconciler.do(held, self._hand_over.lend(order)))

    def _finish(self, held: Held, finished: Finished) -> None:
        try:
            self._store.finish(held, finished)
        except OSError as error:  # no reason not to deliver it; after a restart it is found again
            text = "how %s ended cannot be noted in %s: %s"
            logger.warning(text, _named(held), held.folder, error.strerror or error)
        # Beside the upload, not before it: a disk takes as long for it as a fast network for the result.
        threading.Thread(target=self._store.secure, args=(held,), daemon=True).start()

    def _deliver(self, held: Held) -> bool:
        """Returns once the server has the result for good. False: it is not whole on this disk."""
        finished = held.finished
        assert finished is not None
        held.tell(Stage.WAITING_TO_UPLOAD)
        if finished.outcome != "done":
            self._say_end(held, finished)
        elif not held.result.is_file() or sha256_of(held.result) != finished.sha256:
            return False
        elif finished.size <= INLINE_BYTES:
            data = held.result.read_bytes()
            self._transfers.insist(
                held, lambda: self._work.deliver(held.id, data), Stage.WAITING_TO_UPLOAD
            )
        else:
            try:
                self._transfers.upload(held)
            except DigestMismatch:
                return False
        reached("manager.work.delivered")
        return True

    def _drop(self, held: Held) -> None:
        """It is delivered, ended or not wanted: nothing of it stays, but what may be gone on with."""
        self._store.remove(held)
        if not (held.over.is_set() and held.checkpoint):
            forget_epochs(self._epochs, held.work_key)
        with self._lock:
            self._held.pop(held.id, None)
        self._outside.news()

    def _say_end(self, held: Held, finished: Finished) -> None:
        outcome: Literal["refused", "failed"] = (
            "refused" if finished.outcome == "refused" else "failed"
        )
        end = WorkEnd(outcome=outcome, reason=finished.reason[:2_000], code=finished.code)
        self._transfers.insist(held, lambda: self._work.end(held.id, end), Stage.WAITING_TO_UPLOAD)


def _is_of_no_round(held: Held) -> bool:
    return is_bench(held) or (held.kind == WATCH and held.run_id is None)


def _named(held: Held) -> str:
    if _is_of_no_round(held):
        return outside_text(held.kind, held.task)
    where = f" in round {held.round} of run {held.run_id}" if held.round is not None else ""
    return f"the assignment to {held.kind}{where}"
