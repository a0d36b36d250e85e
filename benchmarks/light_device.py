"""Devices that speak the protocol of work and files with real bytes and do not train: many in a process.

Each has one connection for its long poll and one for everything else. As a program it reads its devices
from stdin (one JSON document), then commands, one a line, and answers each with one line of JSON.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import random
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import uvloop
from light_model import Model, Shelf, document_of, payload_of
from light_tally import Tally
from light_wire import Answer, Line, Refused

from fedops.core.contracts.assignments import INLINE_BYTES
from fedops.core.contracts.training import (
    ARRAYS,
    CONFIG,
)
from fedops.storage.payloads import Payload, pack_payload, values_of
from fedops.testing.light_deployments import LightDeployment

TUS = "1.0.0"
#: They stand for a thousand other machines, and must not take the server's cores from it.
NICE = 10
#: What a long poll waits at most; the server may answer sooner. Seconds.
WAIT_SECONDS = 25.0
_BACKOFF_SECONDS = (0.2, 5.0)
#: The server has more, or less, than was thought, or is still reading what came before the cut.
_OTHER_OFFSET = (409, 423)


class LightDevice:
    """One device: polls for as long as it lives, does what it is offered, one thing after the other."""

    def __init__(self, name: str, token: str, spec: Mapping[str, Any], shelf: Shelf, tally: Tally):
        self.name, self._tally, self._shelf = name, tally, shelf
        #: It fell silent, as a machine without power: what it had open stays so.
        self.is_gone = False
        self._tasks, self._seconds = spec["tasks"], spec.get("train_seconds", 0.0)
        self._poll_line = Line(spec["url"], token, tally, spec["authorities"])
        self._line = Line(spec["url"], token, tally, spec["authorities"])
        self._held: dict[str, asyncio.Task[None]] = {}
        self._has: list[str] = []  # digests of models, the newest last
        self._turn = asyncio.Lock()
        self._random = random.Random(name)
        self._deploying = _deploying(spec)
        #: Which commit it fetches next, and when (``time.monotonic``).
        self._fetches: tuple[tuple[str, int], float] | None = None
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
        if self._deploying is not None:
            body["deployments"] = [self._deploying.report]
            if self._fetches is not None:
                body["wait"] = min(max(self._fetches[1] - time.monotonic(), 0.0), WAIT_SECONDS)
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
        if self._deploying is not None:
            await self._deploy(self._deploying, work.get("deployments", ()))
        return int(work["revision"])

    async def _deploy(self, mine: LightDeployment, wanted: Sequence[Mapping[str, Any]]) -> None:
        """Fetch a commit when it is time to, and try it: nothing is built."""
        if not mine.is_new(wanted):
            mine.hear(wanted)
            return
        one = next(one for one in wanted if one["task"] == mine.task)
        key = (one["commit"], one["attempt"])
        if self._fetches is None or self._fetches[0] != key:
            self._fetches = (key, time.monotonic() + one["after_seconds"])
        if time.monotonic() < self._fetches[1] or one["hold"]:
            return
        answer = await self._steadily("GET", f"/blobs/{one['bundle']['sha256']}", keep=False)
        if answer.size != one["bundle"]["size"]:
            raise Refused(0, f"{answer.size} bytes of a bundle of {one['bundle']['size']}")
        self._tally.bytes_down += answer.size
        self._fetches = None
        mine.hear(wanted)
        self._tally.deployed[f"{key[0][:7]} {mine.report['status']}"] += 1

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
            said = document_of(self._payload(order, trained=True), model)
            parts: Sequence[bytes] = model.update(said)
        else:
            parts = [pack_payload(self._payload(order, trained=False))]
        calls += await self._deliver(assignment, parts)
        self._tally.updates += 1
        if self._tally.cuts == before:
            self._tally.calls_per_update[calls] += 1

    def _payload(self, order: Mapping[str, Any], *, trained: bool) -> Payload:
        """What it says of what it did."""
        return payload_of(self.name, order, trained=trained)

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


def _deploying(spec: Mapping[str, Any]) -> LightDeployment | None:
    """None: it was given its folder, and asks for no commit."""
    if "deploys" not in spec:
        return None
    bad = spec["deploys"]["bad"]
    return LightDeployment(spec["tasks"][0], lambda commit: "bad" if commit in bad else "good")


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
    os.nice(NICE)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    spec = json.loads(sys.stdin.readline())
    uvloop.run(serve(spec))


if __name__ == "__main__":
    main()
