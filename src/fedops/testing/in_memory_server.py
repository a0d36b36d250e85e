"""A Server Manager as far as the round engine sees it: assignments, blobs and clients in one process."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedops.core import contracts as c
from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus
from fedops.results.device_history import DeviceHistories
from fedops.storage.atomic_files import sha256_of
from fedops.storage.payloads import assemble, blobs_of, check_document, pack_payload
from fedops.storage.tensors import Tensors, load
from fedops.testing.in_memory_work import (
    A,
    Answer,
    Assignment,
    Refused,
    Work,
    encoded,
    open_round_of,
    work_of,
)


class InMemoryServer:
    """Remembers what the engine tells it, and lets clients work in threads of their own."""

    def __init__(self, config: dict[str, Any], folder: Path, seed: int = 42) -> None:
        self.config = config
        self.folder = folder
        self.seed = seed
        self.answers: dict[str, Answer] = {}
        self.node_ids: dict[str, int] = {}
        self.unavailable: dict[str, str] = {}
        self.busy: dict[str, int] = {}
        #: What devices said of it.
        self.evaluates_only: dict[str, bool] = {}
        self.command: Any = "continue"
        self.attempt = 1
        self.initial: c.ModelInit | None = None
        self.commits: list[c.RoundCommit] = []
        self.scored: list[c.RoundScores] = []
        self.contribution = c.ContributionState()
        self.histories = DeviceHistories()
        self.begun: list[tuple[int, dict[str, str]]] = []
        self.batches: list[c.OfferBatch] = []
        self.assignments: list[Assignment] = []
        self.asked: list[str] = []  #: the device of each assignment that was begun
        self.cancels: list[c.CancelRequest] = []
        self.progresses: list[c.EngineProgress] = []
        self.finished: list[c.EngineFinish] = []
        #: Calls that fail before the next one works, by name.
        self.failing: dict[str, list[Exception]] = defaultdict(list)
        self.on_commit: Callable[[c.RoundCommit], None] = lambda _: None
        self.on_delivery: Callable[[c.Delivery], None] = lambda _: None
        #: A result up to this size rides in its delivery. Bytes.
        self.inline_bytes = c.INLINE_BYTES
        self.encoding = "none"
        self.stream: list[c.Delivery | c.DevicePresence] = []
        self._changed = threading.Condition()
        self._turn: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._clients: list[threading.Thread] = []
        self._closed = False

    # --- as the test sees it ---------------------------------------------------------------------

    def add(self, device: str, answer: Answer) -> None:
        self.answers[device] = answer
        self.node_ids.setdefault(device, 2**62 + len(self.node_ids))

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for client in self._clients:
            client.join(1.0)

    def gone(self, device: str, why: str | None) -> None:
        """The device went (or is back)."""
        with self._changed:
            self.stream.append(c.DevicePresence(device=device, gone=why))
            self._changed.notify_all()

    def order(self, command: str) -> None:
        """Want the run stopped or paused."""
        with self._changed:
            self.command = command
            self._changed.notify_all()

    def end_attempt(self) -> None:
        """The engine is gone; the next one is told what is open."""
        with self._changed:
            self.attempt += 1
            known = [one.delivery for one in self._open_round() if one.delivery]
            self.stream = list(known)

    def cancel_undelivered(self) -> None:
        """As a pause does."""
        with self._changed:
            for one in self.assignments:
                if one.status in ASSIGNMENT_OPEN:
                    self._end(one, A.CANCELLED, "the run is paused")

    def take_back(self, one: Assignment, reason: str) -> None:
        """As for a device that is revoked: what it delivered is not used."""
        with self._changed:
            self.unavailable[one.device] = reason
            assert one.delivery
            told = {"status": A.REJECTED, "reason": reason}
            self.stream.append(one.delivery.model_copy(update=told))
            self._changed.notify_all()

    def expire(self) -> None:
        with self._changed:
            for one in self.assignments:
                if one.status in ASSIGNMENT_OPEN:
                    one.deadline = 0.0
            self._changed.notify_all()

    def of_device(self, device: str) -> list[Assignment]:
        return [one for one in self.assignments if one.device == device]

    def spec(self) -> c.AttemptSpec:
        """What an attempt that begins now is told."""
        last = self.commits[-1] if self.commits else None
        model = last.model if last else self.initial.model if self.initial else None
        return c.AttemptSpec(
            run_id=5,
            attempt=self.attempt,
            task="lines",
            seed=self.seed,
            config=self.config,
            rounds=self.config.get("num_rounds", 1),
            next_round=last.round + 1 if last else 1,
            model=self.ref(model) if model else None,
            strategy_state=self.ref(last.strategy_state) if last and last.strategy_state else None,
            contract=self.initial.contract if self.initial else None,
            dataset=last.dataset if last else None,
            refused=dict(last.refused) if last else {},
            spool_dir=str(self.folder / f"attempt-{self.attempt}"),
            blobs_dir=str(self.folder / "blobs"),
            open_round=self._open(),
            contribution=self.contribution,
        )

    def scores(self, body: c.RoundScores) -> None:
        self._maybe_fail("scores")
        self.scored.append(body)
        known = c.KnownStandings(round=body.round, standings=body.standings)
        self.contribution = c.ContributionState(
            basis=body.basis,
            history=body.history,
            known=[*self.contribution.known, known][-3:],
        )

    def _open_round(self) -> list[Assignment]:
        next_ = self.commits[-1].round + 1 if self.commits else 1
        last = {(o.device, o.kind): o for o in self.assignments if o.round == next_}
        return [one for one in last.values() if one.status is not A.CANCELLED]

    def _open(self) -> c.OpenRound | None:
        found = self._open_round()
        if not found:
            return None
        return open_round_of(found, self.begun[-1][1])

    # --- blobs -----------------------------------------------------------------------------------

    def blob(self, sha256: str) -> Path:
        return self.folder / "blobs" / sha256[:2] / sha256[2:]

    def ref(self, sha256: str) -> c.BlobRef:
        return c.BlobRef(sha256=sha256, size=self.blob(sha256).stat().st_size)

    def store(self, data: bytes) -> c.BlobRef:
        sha256 = hashlib.sha256(data).hexdigest()
        self.blob(sha256).parent.mkdir(parents=True, exist_ok=True)
        self.blob(sha256).write_bytes(data)
        return c.BlobRef(sha256=sha256, size=len(data))

    def tensors(self, sha256: str) -> Tensors:
        return load(self.blob(sha256))

    # --- as the engine sees it -------------------------------------------------------------------

    def _maybe_fail(self, name: str) -> None:
        if self.failing[name]:
            raise self.failing[name].pop(0)

    def hello(self, body: c.EngineHello) -> c.AttemptSpec:
        self._maybe_fail("hello")
        return self.spec()

    def initial_model(self, body: c.ModelInit) -> None:
        self.initial = body

    def hand_over(self, body: c.BlobHandover) -> c.BlobRef:
        self._maybe_fail("hand_over")
        path = Path(self.spec().spool_dir) / body.name
        assert sha256_of(path) == body.sha256
        return self.store(path.read_bytes())

    def fetch_blob(self, ref: c.BlobRef, target: Path) -> Path:
        target.write_bytes(self.blob(ref.sha256).read_bytes())
        return target

    def candidates(self) -> c.Candidates:
        self._maybe_fail("candidates")
        return c.Candidates(
            command=self.command,
            candidates=[
                c.Candidate(
                    device=name,
                    node_id=str(node_id),
                    unavailable=self.unavailable.get(name),
                    evaluates_only=self.evaluates_only.get(name),
                    busy_with=self.busy.get(name),
                    **self.histories.of(name),
                )
                for name, node_id in self.node_ids.items()
            ],
        )

    def progress(self, body: c.EngineProgress) -> None:
        self._maybe_fail("progress")
        self.progresses.append(body)

    def begin_round(self, round_: int, body: c.RoundBegin) -> c.Offered:
        self._maybe_fail("begin_round")
        self.begun.append((round_, body.selected))
        chosen = {offer.device for offer in body.offers.offers} if body.offers else set()
        for one in self._open_round():
            if one.device not in chosen and one.status in ASSIGNMENT_OPEN:
                self._end(one, A.CANCELLED, "the round was begun anew without it")
        return c.Offered(assignments=self._offer(body.offers) if body.offers else {})

    def offer(self, body: c.OfferBatch) -> c.Offered:
        self._maybe_fail("offer")
        return c.Offered(assignments=self._offer(body))

    def _offer(self, body: c.OfferBatch) -> dict[str, str]:
        self.batches.append(body)
        made = {}
        with self._changed:
            for offer in body.offers:
                made[offer.device] = self._make(body, offer).id
        return made

    def _make(self, body: c.OfferBatch, offer: c.OfferRequest) -> Assignment:
        key = (offer.device, offer.kind, body.round, offer.retry)
        for known in self.assignments:
            open_ = known.status in ASSIGNMENT_OPEN and known.key[:3] == key[:3]
            stays = known.key == key and known.status is not A.CANCELLED
            if open_ or (stays and body.round is not None):
                return known
        made = Assignment(
            id=uuid.uuid4().hex,
            device=offer.device,
            kind=offer.kind,
            round=body.round,
            retry=offer.retry,
            evaluates=offer.evaluates,
            document=body.instructions[offer.instruction],
            deadline=time.monotonic() + body.deadline_seconds,
            max_bytes=body.max_bytes,
            encodings=body.encodings,
        )
        self.assignments.append(made)
        self.asked.append(offer.device)
        self._clients.append(threading.Thread(target=self._serve, args=(made,), daemon=True))
        self._clients[-1].start()
        return made

    def collect(self, body: c.CollectRequest) -> c.Collected:
        self._maybe_fail("collect")
        with self._changed:
            self._judge(body)
            until = time.monotonic() + body.wait
            while not (len(self.stream) > body.after or self._is_over(until)):
                ends = [o.deadline for o in self.assignments if o.status in ASSIGNMENT_OPEN]
                self._changed.wait(max(0.0, min([until, *ends]) - time.monotonic()))
                self._expire()
            fresh = self.stream[body.after :]
            return c.Collected(
                sequence=len(self.stream),
                deliveries=[one for one in fresh if isinstance(one, c.Delivery)],
                presence=[one for one in fresh if isinstance(one, c.DevicePresence)],
                command=self.command,
            )

    def _is_over(self, until: float) -> bool:
        return self._closed or self.command != "continue" or time.monotonic() >= until

    def _judge(self, body: c.CollectRequest) -> None:
        self._expire()
        for one in self.assignments:
            if one.id in body.checked and one.status is A.UPLOADED:
                one.status = A.CHECKED
            if one.id in body.rejected and one.status is A.UPLOADED:
                one.status = A.REJECTED
            if one.delivery:
                one.delivery = one.delivery.model_copy(update={"status": one.status})

    def cancel(self, body: c.CancelRequest) -> None:
        self.cancels.append(body)
        with self._changed:
            for one in self.assignments:
                chosen = one.id in body.ids if body.ids is not None else one.round == body.round
                if chosen and one.status in ASSIGNMENT_OPEN:
                    self._end(one, A.EXPIRED, body.reason)

    def commit(self, body: c.RoundCommit) -> c.CommitReply:
        self._maybe_fail("commit")
        assert self.blob(body.model).is_file()
        assert body.strategy_state is None or self.blob(body.strategy_state).is_file()
        self.commits.append(body)
        self.histories.note(body)
        self.on_commit(body)
        return c.CommitReply(command=self.command)

    def logs(self, body: c.EngineLogs) -> None: ...

    def finish(self, body: c.EngineFinish) -> None:
        self._maybe_fail("finish")
        self.finished.append(body)

    # --- as the clients see it -------------------------------------------------------------------

    def _expire(self) -> None:
        for one in self.assignments:
            if one.status in ASSIGNMENT_OPEN and time.monotonic() >= one.deadline:
                self._end(one, A.EXPIRED, "its deadline passed")

    def _end(self, one: Assignment, status: AssignmentStatus, reason: str) -> None:
        self._settle(one, status, reason=reason)

    def _settle(self, one: Assignment, status: AssignmentStatus, **more: Any) -> None:
        with self._changed:
            if one.status not in ASSIGNMENT_OPEN:
                return
            one.status = status
            one.delivery = one.delivered(**more)
            self.stream.append(one.delivery)
            self._changed.notify_all()
        self.on_delivery(one.delivery)

    def _serve(self, one: Assignment) -> None:
        with self._turn[one.device]:
            try:
                result = self.answers[one.device](self.work_of(one))
            except Exception as error:
                self._settle(one, A.FAILED, reason=f"{type(error).__name__}: {error}", code=1)
                return
        if isinstance(result, Refused):
            self._settle(one, A.REFUSED, reason=result.reason)
        elif result is not None:
            self.deliver(one, result if isinstance(result, bytes) else pack_payload(result))

    def work_of(self, one: Assignment) -> Work:
        document = check_document(one.document)
        files = {ref.sha256: load(self.blob(ref.sha256)) for ref in blobs_of(document).values()}
        return work_of(one, assemble(document, {}, files))

    def deliver(self, one: Assignment, data: bytes) -> None:
        """The result of an assignment is here."""
        data, more = encoded(data, self.encoding)
        if len(data) > self.inline_bytes:
            more["blob"] = self.store(data)
        else:
            more["inline"] = base64.b64encode(data).decode()
        self._settle(one, A.UPLOADED, **more)
