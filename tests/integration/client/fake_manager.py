"""What a fake Server Manager knows and says: its work, its uploads, and what it does wrong when told to."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zstandard

from fedops.core.contracts import BENCH, WATCH, BlobRef, Instruction, ParameterContract
from fedops.core.contracts.devices import BENCH_MODEL
from fedops.core.contracts.schedules import WATCH_MODEL
from fedops.storage.payloads import Payload, make_document, unpack_payload
from fedops.storage.tensors import Tensors, pack

MODEL: Tensors = {"packed": np.arange(1000, dtype=np.float32)}


def eventually(check: Callable[[], Any], seconds: float = 20.0, what: Any = "") -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        told = what() if callable(what) else what
        assert time.monotonic() < deadline, told or "it did not come about"
        time.sleep(0.02)
    return found


@dataclass
class Work:
    """One assignment as the server knows it."""

    id: str
    instruction: dict[str, Any]
    status: str = "offered"
    #: The delivered payload, decoded.
    data: bytes | None = None
    end: dict[str, Any] | None = None
    cancel: dict[str, Any] | None = None
    encoding: str = ""

    @property
    def open(self) -> bool:
        return self.status in ("offered", "accepted", "working")

    @property
    def payload(self) -> Payload:
        assert self.data is not None
        return unpack_payload(self.data)

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.payload.metrics["metrics"])


@dataclass
class Upload:
    work: Work
    length: int
    head: dict[str, str]
    data: bytearray = field(default_factory=bytearray)


class FakeServer:
    """What it was told and what it says. Change it, then ``bump``."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        #: What ``/ca.pem`` holds, and what a device is answered that joined over plain HTTP; None: nothing.
        self.authorities: str | None = None
        self.upgrade: Callable[[dict[str, Any]], dict[str, Any]] | None = None
        self.wanted: dict[str, Any] = {
            "revision": 1,
            "enrolment": "approved",
            "tasks": ["mnist"],
            "runs": [],
            "poll_seconds": 1.0,
            "telemetry_seconds": 1.0,
        }
        self.ready_tasks = ["mnist"]
        #: Answer 503, or not at all.
        self.down = self.unreachable = False
        #: What it says, while it is down, of when to ask again.
        self.down_seconds: float | None = None
        self.forbidden = ""
        #: What environments are made of.
        self.packages: dict[str, Any] = {"status": "ready"}
        #: Names of other devices.
        self.taken: set[str] = set()
        #: Answer 426 with this.
        self.other_version = ""
        self.polls: list[dict[str, Any]] = []
        self.progress: list[dict[str, Any]] = []
        self.records: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.lost_answers = 0
        self.joins: list[dict[str, Any]] = []
        self.work: dict[str, Work] = {}
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, Upload] = {}
        self.calls: Counter[str] = Counter()
        #: After so many bytes of its body the next download or upload is cut.
        self.cut_downloads: list[int] = []
        self.cut_uploads: list[int] = []
        #: Spoil so many downloads.
        self.spoil_downloads = 0
        #: Lose the answer to so many deliveries that have come about.
        self.lose_deliveries = 0
        self.slots = True
        self.retry_after = 0.1
        self.encodings = ["none"]
        #: Turn so many uploads away, whose turn has passed.
        self.busy_uploads = 0
        #: Be a server of before version 1.
        self.old = False
        #: Seconds a byte, each way.
        self.slow = 0.0

    # --- for the test ------------------------------------------------------------------------------

    def bump(self, **changes: Any) -> None:
        with self.lock:
            self.wanted.update(changes)
            self.wanted["revision"] += 1
            self.lock.notify_all()

    def ask(
        self,
        run: int = 7,
        round_: int = 1,
        *,
        kind: str = "train",
        model: Tensors | None = None,
        work_key: str = "",
        seconds_left: float = 3_600.0,
        values: dict[str, Any] | None = None,
        **config: Any,
    ) -> Work:
        """Give the device a piece of work."""
        model = MODEL if model is None else model
        data = pack(model)
        blob = BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        order = {
            "run-id": run,
            "attempt": 1,
            "server-round": round_,
            "task": "mnist",
            "config-json": json.dumps(config),
            **(values or {}),
        }
        content = make_document(Payload(configs={"config": order}), {"arrays": (blob, list(model))})
        id_ = hashlib.sha256(f"{time.time_ns()} {len(self.work)}".encode()).hexdigest()[:32]
        instruction = Instruction(
            id=id_,
            kind=kind,
            task="mnist",
            run_id=run,
            attempt=1,
            round=round_,
            group_id=str(round_),
            work_key=work_key or f"run-{run}-round-{round_}-{kind}-{blob.sha256[:16]}",
            content=content,
            encodings=self.encodings,
            seconds_left=seconds_left,
        )
        with self.lock:
            self.blobs[blob.sha256] = data
            self.work[id_] = Work(id_, instruction.model_dump(mode="json"))
            self.lock.notify_all()
        return self.work[id_]

    def bench(self, newest: Tensors | None, config: dict[str, Any], *, there: bool = True) -> Work:
        """Have the device time a round on its data.

        ``newest``: the newest version of the model; ``there``: whether its file is.
        """
        told = {"config-json": json.dumps(config), "fraction": 0.01, "seconds": 60.0}
        blobs = {}
        if newest is not None:
            data = pack(newest)
            ref = BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
            if there:
                self.blobs[ref.sha256] = data
            blobs = {BENCH_MODEL: (ref, list[str]())}
        return self._outside_runs(BENCH, told, blobs)

    def look(
        self,
        config: dict[str, Any],
        model: Tensors | None = None,
        contract: ParameterContract | None = None,
    ) -> Work:
        """Have the device look at its data, and evaluate the model of this contract on it."""
        said: dict[str, Any] = {"config-json": json.dumps(config), "version": 1, "compares": True}
        if model is None or contract is None:
            return self._outside_runs(WATCH, said, {})
        said |= {"contract-json": contract.model_dump_json(), "round": 3, "run-id": 7}
        data = pack(model)
        ref = BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        self.blobs[ref.sha256] = data
        return self._outside_runs(WATCH, said, {WATCH_MODEL: (ref, list[str]())})

    def _outside_runs(
        self, kind: str, told: dict[str, Any], blobs: dict[str, tuple[BlobRef, list[str]]]
    ) -> Work:
        id_ = hashlib.sha256(f"{kind} {len(self.work)}".encode()).hexdigest()[:32]
        instruction = Instruction(
            id=id_,
            kind=kind,
            task="mnist",
            work_key=f"{kind}-{id_}",
            content=make_document(Payload(configs={"config": told}), blobs),
            seconds_left=3_600.0,
        )
        with self.lock:
            self.work[id_] = Work(id_, instruction.model_dump(mode="json"))
            self.lock.notify_all()
        return self.work[id_]

    def cancel(
        self, work: Work, reason: str = "the run was stopped", checkpoint: bool = False
    ) -> None:
        with self.lock:
            work.cancel = {"id": work.id, "reason": reason, "checkpoint": checkpoint}
            work.status = "cancelled"
            self.lock.notify_all()

    @property
    def delivered(self) -> list[Work]:
        return [work for work in self.work.values() if work.status == "uploaded"]

    @property
    def last(self) -> dict[str, Any]:
        return self.polls[-1] if self.polls else {}

    @property
    def process(self) -> dict[str, Any]:
        found: dict[str, Any] = self.last.get("process", {})
        return found

    def holds(self, work: Work) -> bool:
        return any(held["id"] == work.id for held in self.last.get("held", []))

    def stages(self) -> set[str]:
        """Every stage that was ever said of anything."""
        said = [held for poll in list(self.polls) for held in poll["held"]]
        return {held["stage"] for held in [*said, *list(self.progress)]}

    def events(self, name: str) -> list[dict[str, Any]]:
        return [r for r in self.records.values() if r["kind"] == "event" and r["name"] == name]

    # --- the long poll -----------------------------------------------------------------------------

    def poll(self, body: dict[str, Any]) -> dict[str, Any]:
        self.polls.append(body)
        with self.lock:
            self.lock.wait_for(
                lambda: self._has_news(body) or self.down or self.unreachable,
                min(body["wait"], self.wanted["poll_seconds"]),
            )
            if self.down:
                raise Refused(503, "unavailable", "away")
            return {**self.wanted, **self._news(body)}

    def _has_news(self, body: dict[str, Any]) -> bool:
        return body["after"] != self.wanted["revision"] or any(self._news(body).values())

    def _news(self, body: dict[str, Any]) -> dict[str, Any]:
        held = {item["id"] for item in body["held"]}
        cancel = [w.cancel for w in self.work.values() if w.cancel and w.id in held]
        named = {item["id"] for item in cancel if item}
        over = [id_ for id_ in held if id_ not in self.work or not self.work[id_].open]
        offers = [
            {
                key: w.instruction[key]
                for key in ("id", "kind", "task", "run_id", "round", "seconds_left")
            }
            for w in self.work.values()
            if w.open and w.id not in held
        ]
        return {
            "offers": offers,
            "cancel": cancel,
            "forget": [id_ for id_ in over if id_ not in named],
        }

    # --- files -------------------------------------------------------------------------------------

    def finish(self, id_: str) -> tuple[int, str]:
        """All bytes of an upload are there: the status to answer with."""
        upload = self.uploads[id_]
        if hashlib.sha256(upload.data).hexdigest() != upload.head["sha256"]:
            del self.uploads[id_]
            return 460, "the digest is wrong"
        data = bytes(upload.data)
        upload.work.encoding = upload.head.get("encoding", "none")
        if upload.work.encoding == "zstd":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
            assert hashlib.sha256(data).hexdigest() == upload.head["decoded_sha256"]
            assert str(len(data)) == upload.head["decoded_size"]
        self.deliver(upload.work, data)
        return 0, ""

    def deliver(self, work: Work, data: bytes) -> None:
        with self.lock:
            work.data, work.status = data, "uploaded"
            self.lock.notify_all()


class Refused(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        self.status, self.kind, self.message = status, kind, message
