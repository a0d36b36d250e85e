"""Devices that speak the protocol of work and files with real bytes and do not train: many in a process.

Each has one connection for its long poll and one for everything else. As a program it reads its devices
from stdin (one JSON document), then commands, one a line, and answers each with one line of JSON.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import random
import resource
import struct
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
import uvloop

from fedops.core.contracts.assignments import INLINE_BYTES, PROTOCOL, PROTOCOL_HEADER
from fedops.core.contracts.parameters import ParameterContract
from fedops.core.contracts.training import (
    ARRAYS,
    CONFIG,
    EVAL_METRICS,
    EXAMPLES,
    HEADER,
    METRICS,
    UpdateHeader,
)
from fedops.storage.payloads import METADATA_KEY, Payload, make_document, pack_payload, values_of

PREFIX = "/api/v1"
TUS = "1.0.0"
#: What a long poll waits at most; the server may answer sooner. Seconds.
WAIT_SECONDS = 25.0
ANSWER_SECONDS = 60.0
_SLICE = 1 << 18
_BACKOFF_SECONDS = (0.2, 5.0)
#: The server has more, or less, than was thought, or is still reading what came before the cut.
_OTHER_OFFSET = (409, 423)


class Cut(ConnectionError):
    """The connection ended before the answer was complete."""


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


@dataclass
class Answer:
    """A response. ``body`` is empty when it was not kept."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    size: int = 0

    def json(self) -> Any:
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """HTTP/1.1, one request at a time. A body that is not kept is only counted."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport
        self._head = bytearray()
        self._answer: Answer | None = None
        self._left = 0
        self._keep: bytearray | None = None
        self._done: asyncio.Future[Answer] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._keeps_body = self._has_body = True

    async def ask(self, head: bytes, body: Sequence[bytes | memoryview], keep: bool) -> Answer:
        """Send a request; ``Cut`` when the connection ends before the answer is there."""
        done = self._done = asyncio.get_running_loop().create_future()
        self._keeps_body, self._has_body = keep, not head.startswith(b"HEAD ")
        self._transport.write(head)
        for block in body:
            view = memoryview(block)
            for start in range(0, len(view), _SLICE):
                await self._may_write.wait()
                if done.done() or not self.is_open:
                    self.close()  # answered before the end: the rest is not wanted
                    return await done
                self._transport.write(view[start : start + _SLICE])
        return await done

    def close(self) -> None:
        if self.is_open:
            self._transport.abort()

    # --- asyncio -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = cast(asyncio.Transport, transport), True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._may_write.set()
        if self._done is not None and not self._done.done():
            self._done.set_exception(Cut(str(error or "closed by the server")))

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            data = bytes(self._head[end + 4 :])
            self._begin(bytes(self._head[:end]))
            self._head.clear()
        self._take(data)

    def _begin(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self._answer = Answer(int(first.split(" ", 2)[1]), headers)
        self._left = int(headers.get("content-length", 0)) if self._has_body else 0
        if (
            "transfer-encoding" in headers
        ):  # of no use to a device that wants to know how much comes
            self._left, self._answer.status = 0, 599
            self.close()
        keep = self._keeps_body or self._answer.status >= 400
        self._keep = bytearray() if keep else None

    def _take(self, data: bytes) -> None:
        answer = self._answer
        assert answer is not None
        self._left -= len(data)
        answer.size += len(data)
        if self._keep is not None:
            self._keep += data
        if self._left <= 0:
            answer.body = bytes(self._keep or b"")
            self._answer = self._keep = None
            if answer.headers.get("connection", "").lower() == "close":
                self.close()
            if self._done is not None and not self._done.done():
                self._done.set_result(answer)


class Line:
    """A device's way to the server: a connection that is made again when it ended."""

    def __init__(self, url: str, token: str, tally: Tally) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._base = parts.path.rstrip("/") + PREFIX
        self._common = (
            f"host: {parts.netloc}\r\nauthorization: Bearer {token}\r\n"
            f"{PROTOCOL_HEADER}: {PROTOCOL}\r\n"
        )
        self._connection: Connection | None = None
        self._tally = tally

    async def call(
        self,
        method: str,
        path: str,
        body: Sequence[bytes | memoryview] = (),
        *,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
        keep: bool = True,
        seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """One request. ``Refused``: an error status; ``ConnectionError``: no answer, or not all of it."""
        target = path if path.startswith(self._base) else self._base + path
        length = sum(len(block) for block in body)
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        if body or method in ("POST", "PATCH"):
            lines += f"content-type: {kind}\r\ncontent-length: {length}\r\n"
        head = f"{method} {target} HTTP/1.1\r\n{self._common}{lines}\r\n".encode()
        answer = await self._ask(head, body, keep, seconds)
        self._tally.calls += 1
        if answer.status >= 400:
            raise Refused(answer.status, answer.body[:300].decode(errors="replace"))
        return answer

    async def _ask(
        self, head: bytes, body: Sequence[bytes | memoryview], keep: bool, seconds: float
    ) -> Answer:
        used = self._connection
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connect()
                try:
                    return await connection.ask(head, body, keep)
                except Cut:
                    if connection is not used:
                        raise
                    # It was idle, and the server had closed it meanwhile.
                    return await (await self._connect()).ask(head, body, keep)
        except (TimeoutError, asyncio.CancelledError) as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise Cut(f"no answer in {seconds:.0f} s") from None
            raise

    async def _connect(self) -> Connection:
        if self._connection is None or not self._connection.is_open:
            loop = asyncio.get_running_loop()
            _, made = await loop.create_connection(Connection, self._host, self._port)
            self._connection = made
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class Tally:
    """What the devices of a process did."""

    calls: int = 0
    polls: int = 0
    updates: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    cuts: int = 0
    models: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    #: Calls beside polls that one update took: number of calls -> how often.
    calls_per_update: Counter[int] = field(default_factory=Counter)
    download_seconds: list[float] = field(default_factory=list)
    upload_seconds: list[float] = field(default_factory=list)
    slot_seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    #: Devices that have had an answer to a poll.
    present: set[str] = field(default_factory=set)

    def note(self, text: str) -> None:
        if len(self.problems) < 20:
            self.problems.append(text)

    def report(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**found, "present": len(self.present)}


@dataclass
class Model:
    """A model's file in memory, and what an update of it looks like."""

    data: bytes
    header: dict[str, Any]
    changed: bytes

    @classmethod
    def of(cls, data: bytes) -> Model:
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + size])
        header.pop("__metadata__", None)
        body = data[8 + size :]
        if all(entry["dtype"] == "F32" for entry in header.values()):
            body = (np.frombuffer(body, dtype=np.float32) + np.float32(1e-3)).tobytes()
        return cls(data, header, body)

    def update(self, document: dict[str, Any]) -> tuple[bytes, bytes]:
        """The beginning and the tensors of a safetensors file with this document."""
        metadata = json.dumps(document, sort_keys=True, separators=(",", ":"))
        text = json.dumps({"__metadata__": {METADATA_KEY: metadata}, **self.header})
        head = text.encode()
        head += b" " * (-len(head) % 8)
        return struct.pack("<Q", len(head)) + head, self.changed


def document_of(device: str, order: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """What an update says of itself: a header, metrics, and which tensors it holds."""
    document = make_document(_payload(device, order, trained=True))
    names = [[name, name] for name in model.header]
    document["records"][ARRAYS] = {"type": "array", "tensors": names}
    return document


def _payload(device: str, order: Mapping[str, Any], *, trained: bool) -> Payload:
    head = UpdateHeader(
        device=device,
        run_id=order["run-id"],
        attempt=order["attempt"],
        round=order["server-round"],
        fingerprint=_fingerprint(order["contract-json"]),
        dataset=order["dataset"],
    )
    measured = {EXAMPLES: 10, "loss": 0.5, "accuracy": 0.5}
    metrics = {METRICS: measured} if trained else {}
    if not trained or order["evaluate"]:
        metrics[EVAL_METRICS] = measured
    return Payload(metrics=metrics, configs={HEADER: head.values()})


class Shelf:
    """The models that the devices of a process have: each downloads its own bytes, one copy is kept."""

    def __init__(self) -> None:
        self._models: dict[str, asyncio.Future[Model]] = {}

    def keeper(self, digest: str) -> asyncio.Future[Model] | None:
        """A future to fill for the first who asks; None for the others."""
        if digest in self._models:
            return None
        while len(self._models) >= 2:
            del self._models[next(iter(self._models))]
        self._models[digest] = asyncio.get_running_loop().create_future()
        return self._models[digest]

    def give_up(self, digest: str) -> None:
        future = self._models.pop(digest, None)
        if future is not None and not future.done():
            future.set_exception(Cut("the download was cut"))
            future.exception()

    async def get(self, digest: str) -> Model:
        return await self._models[digest]


class LightDevice:
    """One device: polls for as long as it lives, does what it is offered, one thing after the other."""

    def __init__(self, name: str, token: str, spec: Mapping[str, Any], shelf: Shelf, tally: Tally):
        self.name, self._tally, self._shelf = name, tally, shelf
        #: It fell silent, as a machine without power: what it had open stays so.
        self.is_gone = False
        self._tasks, self._seconds = spec["tasks"], spec.get("train_seconds", 0.0)
        self._poll_line = Line(spec["url"], token, tally)
        self._line = Line(spec["url"], token, tally)
        self._held: dict[str, asyncio.Task[None]] = {}
        self._has: list[str] = []  # digests of models, the newest last
        self._turn = asyncio.Lock()
        self._random = random.Random(name)
        self._life = hashlib.sha256(name.encode()).hexdigest()[:16]

    async def live(self, delay: float) -> None:
        """Poll until cancelled."""
        await asyncio.sleep(delay)
        revision, pause = -1, _BACKOFF_SECONDS[0]
        try:
            while True:
                try:
                    revision = await self._poll(revision)
                    pause = _BACKOFF_SECONDS[0]
                except (OSError, Refused) as error:
                    if isinstance(error, Refused) and error.status in (401, 403, 426):
                        self._tally.note(f"{self.name} gives up: {error}")
                        return
                    self._trouble(error)
                    await asyncio.sleep(pause * self._random.uniform(0.5, 1.5))
                    pause = min(2 * pause, _BACKOFF_SECONDS[1])
        finally:
            for task in self._held.values():
                task.cancel()
            if not self.is_gone:
                self._poll_line.close()
                self._line.close()

    def _trouble(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._tally.cuts += 1
        else:
            self._tally.note(f"{self.name}: {error}")

    async def _poll(self, revision: int) -> int:
        process = {"status": "training" if self._held else "idle", "seconds_in_state": 1.0}
        body = {
            "life": self._life,
            "tasks": self._tasks,
            "process": process,
            "held": [{"id": held, "stage": "training"} for held in self._held],
            "after": revision,
            "wait": WAIT_SECONDS,
        }
        answer = await self._poll_line.call("POST", "/work", [json.dumps(body).encode()])
        work = answer.json()
        self._tally.polls += 1
        self._tally.calls -= 1
        self._tally.present.add(self.name)
        for offer in work.get("offers", ()):
            if offer["id"] not in self._held:
                self._held[offer["id"]] = asyncio.create_task(self._do(offer))
        # What is to be forgotten ends by itself: the answer to its delivery is on its way.
        for one in work.get("cancel", ()):
            task = self._held.pop(one["id"], None)
            if task is not None and not task.done():
                task.cancel()
                self._tally.ended["cancelled"] += 1
        return int(work["revision"])

    # --- one assignment ----------------------------------------------------------------------

    async def _do(self, offer: Mapping[str, Any]) -> None:
        assignment = offer["id"]
        try:
            async with self._turn:
                await self._work(assignment)
        except Refused as error:
            self._tally.ended[str(error.status)] += 1
            if error.status not in (409, 410):
                self._tally.note(f"{self.name}: {error}")
        finally:
            self._held.pop(assignment, None)

    async def _work(self, assignment: str) -> None:
        before = self._tally.cuts
        instruction = (await self._steadily("GET", f"/work/{assignment}/instruction")).json()
        calls = 1
        document = instruction["content"]
        order = values_of(document, CONFIG, "config") or {}
        blob = document["records"].get(ARRAYS, {}).get("blob")
        if blob and blob["sha256"] not in self._has:
            await self._download(blob)
            calls += 1
        if self._seconds:
            await asyncio.sleep(self._seconds)
        if instruction["kind"] == "train":
            model = await self._shelf.get(blob["sha256"])
            parts: Sequence[bytes] = model.update(document_of(self.name, order, model))
        else:
            parts = [pack_payload(_payload(self.name, order, trained=False))]
        calls += await self._deliver(assignment, parts)
        self._tally.updates += 1
        if self._tally.cuts == before:
            self._tally.calls_per_update[calls] += 1

    async def _download(self, blob: Mapping[str, Any]) -> None:
        digest = blob["sha256"]
        future = self._shelf.keeper(digest)
        begin = time.monotonic()
        try:
            answer = await self._steadily(
                "GET", f"/blobs/{digest}", keep=future is not None, seconds=1_800.0
            )
        except BaseException:
            if future is not None:
                self._shelf.give_up(digest)
            raise
        self._tally.download_seconds.append(time.monotonic() - begin)
        self._tally.bytes_down += answer.size
        self._tally.models += 1
        if answer.size != blob["size"]:
            raise Refused(0, f"{answer.size} bytes of a blob of {blob['size']}")
        if future is not None:
            if hashlib.sha256(answer.body).hexdigest() != digest:
                self._tally.note(f"{self.name}: the model's digest is wrong")
            future.set_result(Model.of(answer.body))
        self._has = [*self._has[-1:], digest]

    async def _deliver(self, assignment: str, parts: Sequence[bytes]) -> int:
        """Hand in the result; how many calls it took."""
        size = sum(map(len, parts))
        self._tally.bytes_up += size
        if size <= INLINE_BYTES:
            kind = "application/octet-stream"
            await self._steadily("POST", f"/work/{assignment}/result", parts, kind=kind)
            return 1
        begin = time.monotonic()
        slots = await self._slot(assignment, size)
        middle = time.monotonic()
        await self._upload(assignment, parts, size)
        self._tally.slot_seconds.append(middle - begin)
        self._tally.upload_seconds.append(time.monotonic() - middle)
        return slots + 1

    async def _slot(self, assignment: str, size: int) -> int:
        count = 0
        while True:
            body = json.dumps({"size": size, "wait": 10.0}).encode()
            answer = (await self._steadily("POST", f"/work/{assignment}/slot", [body])).json()
            count += 1
            if answer["granted"]:
                return count
            await asyncio.sleep(answer["retry_after"])

    async def _upload(self, assignment: str, parts: Sequence[bytes], size: int) -> None:
        digest = hashlib.sha256(parts[0])
        for part in parts[1:]:
            digest.update(part)
        head = {"assignment": assignment, "sha256": digest.hexdigest(), "encoding": "none"}
        metadata = ",".join(
            f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in head.items()
        )
        create = {"tus-resumable": TUS, "upload-length": str(size), "upload-metadata": metadata}
        place, offset = "", 0
        while offset < size:
            try:
                if not place:
                    answer = await self._send("POST", "/blobs", parts, create, 0)
                    place = _path(answer.headers["location"])
                else:
                    answer = await self._send("PATCH", place, parts, {}, offset)
                offset = int(answer.headers["upload-offset"])
            except (OSError, Refused) as error:
                if isinstance(error, Refused) and error.status not in _OTHER_OFFSET:
                    raise
                self._tally.cuts += 1
                await asyncio.sleep(_BACKOFF_SECONDS[0] * self._random.uniform(0.5, 1.5))
                place, offset = await self._resume(place, create)

    async def _send(
        self,
        method: str,
        path: str,
        parts: Sequence[bytes],
        headers: Mapping[str, str],
        offset: int,
    ) -> Answer:
        sent = {"tus-resumable": TUS, "upload-offset": str(offset), **headers}
        if method == "POST":
            del sent["upload-offset"]
        kind = "application/offset+octet-stream"
        body = _from(parts, offset)
        return await self._line.call(method, path, body, kind=kind, headers=sent, seconds=1_800.0)

    async def _resume(self, place: str, create: Mapping[str, str]) -> tuple[str, int]:
        """Where the upload is and how far, after a cut."""
        if place:
            answer = await self._steadily("HEAD", place, headers={"tus-resumable": TUS})
        else:
            kind = "application/offset+octet-stream"
            answer = await self._steadily("POST", "/blobs", headers=create, kind=kind)
            place = _path(answer.headers["location"])
        return place, int(answer.headers["upload-offset"])

    async def _steadily(
        self, method: str, path: str, body: Sequence[bytes] = (), **kwargs: Any
    ) -> Answer:
        """The same call until it is answered; all of these may be repeated."""
        pause = _BACKOFF_SECONDS[0]
        while True:
            try:
                return await self._line.call(method, path, body, **kwargs)
            except (OSError, Refused) as error:
                if isinstance(error, Refused) and error.status not in (429, 502, 503, 504):
                    raise
                self._trouble(error)
                await asyncio.sleep(pause * self._random.uniform(0.5, 1.5))
                pause = min(2 * pause, _BACKOFF_SECONDS[1])


@functools.cache
def _fingerprint(contract: str) -> str:
    return ParameterContract.model_validate_json(contract).fingerprint


def _path(location: str) -> str:
    return urlsplit(location).path


def _from(parts: Sequence[bytes], offset: int) -> list[memoryview]:
    """What is left of parts that follow one another."""
    left = []
    for part in parts:
        if offset < len(part):
            left.append(memoryview(part)[offset:])
        offset = max(offset - len(part), 0)
    return left


# --- a process of them -----------------------------------------------------------------------


async def serve(spec: Mapping[str, Any]) -> None:
    """Let the devices live; obey the commands on stdin until its end."""
    tally, shelf = Tally(), Shelf()
    spread = spec.get("spread_seconds", 0.0)
    devices, living = {}, {}
    for number, (name, token) in enumerate(spec["tokens"].items()):
        devices[name] = LightDevice(name, token, spec, shelf, tally)
        delay = spread * number / max(len(spec["tokens"]), 1)
        living[name] = asyncio.create_task(devices[name].live(delay))
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    _say({"ready": True})
    while line := await commands.readline():
        for name in json.loads(line).get("silence", ()):
            if name in living:
                devices[name].is_gone = True
                living[name].cancel()
        for task in living.values():
            if task.done() and not task.cancelled() and task.exception() is not None:
                tally.note(repr(task.exception()))
        _say(tally.report())
    for task in living.values():
        task.cancel()
    await asyncio.gather(*living.values(), return_exceptions=True)


def _say(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main() -> None:
    """One process of devices."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    spec = json.loads(sys.stdin.readline())
    uvloop.run(serve(spec))


if __name__ == "__main__":
    main()
