"""Results that are not as they should be: each gets a clear answer, and the right one is taken after it."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx
import pytest
from managing import Device, Engine, World

from fedops.core import contracts as c
from fedops.core.states import ASSIGNMENT_OPEN
from fedops.core.states import AssignmentStatus as A
from fedops.server.database.tables import AssignmentRow

DATA = bytes(range(256)) * 400
LIMIT = 200_000


@dataclass
class Sender:
    """A device with one assignment, and what it says of its result."""

    world: World
    device: Device
    engine: Engine
    id: str
    others: dict[str, Device]

    def upload(self, data: bytes = DATA, body: bytes | None = None, **said: str) -> httpx.Response:
        """In one call. ``body``: what is sent instead; ``said``: what is said instead."""
        fields = {"assignment": self.id, "sha256": hashlib.sha256(data).hexdigest(), **said}
        coded = (f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in fields.items())
        headers = {
            "authorization": f"Bearer {self.device.token}",
            "fedops-protocol": "1",
            "tus-resumable": "1.0.0",
            "content-type": "application/offset+octet-stream",
            "upload-length": str(len(data)),
            "upload-metadata": ",".join(coded),
        }
        url = f"{self.world.url}/api/v1/blobs"
        content = data if body is None else body
        return httpx.post(url, headers=headers, content=content, timeout=60)

    @property
    def status(self) -> A:
        with self.world.manager.services.db.read() as session:
            return session.get_one(AssignmentRow, self.id).status

    def kept(self) -> list[str]:
        """What lies unfinished on the server."""
        return self.world.manager.services.artifacts.unfinished()


@pytest.fixture
def sender(world: World) -> Sender:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running()
    made = world.begin(engine, 1, "a", "b", max_bytes=LIMIT, encodings=["none", "zstd"])
    for device in devices.values():
        device.take()
    return Sender(world, devices["a"], engine, made["a"], devices)


BAD: dict[str, tuple[Callable[[Sender], httpx.Response], int, str]] = {
    "another content than announced": (
        lambda s: s.upload(body=DATA[:-1] + b"x"),
        460,
        "it was damaged on its way, or is another file; it was not kept",
    ),
    "longer than announced": (
        lambda s: s.upload(body=DATA + b"x"),
        413,
        "the body has 102,401 bytes, and 102,400 are missing of the upload",
    ),
    "larger than the run takes": (
        lambda s: s.upload(bytes(LIMIT + 1)),
        413,
        "the upload has 200,001 bytes, and at most 200,000 are taken",
    ),
    "an unknown encoding": (
        lambda s: s.upload(encoding="topk"),
        422,
        "the encoding 'topk' is not taken; it may be: none, zstd",
    ),
    "an encoding without what is in it": (
        lambda s: s.upload(encoding="zstd"),
        422,
        "an encoded result says the sha256 and the size of what is in it",
    ),
    "more in it than the run takes": (
        lambda s: s.upload(encoding="zstd", decoded_sha256="0" * 64, decoded_size=str(LIMIT + 1)),
        422,
        "the result has 200,001 bytes, at most 200,000 are taken",
    ),
    "no digest": (lambda s: s.upload(sha256="abc"), 400, "sha256"),
    "no assignment": (lambda s: s.upload(assignment="0" * 32), 404, "no assignment"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_wrong_is_said_and_the_right_result_is_taken_after_it(
    sender: Sender, bad: str
) -> None:
    send, status, message = BAD[bad]
    answer = send(sender)
    assert (answer.status_code, message in answer.json()["message"]) == (status, True), answer.text
    assert sender.kept() == []
    assert sender.status in ASSIGNMENT_OPEN
    assert sender.upload().status_code == 201
    assert sender.status is A.UPLOADED


def test_a_truncated_result_is_gone_on_with(sender: Sender) -> None:
    answer = sender.upload(body=DATA[:60_000])
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "60000")
    assert sender.status in ASSIGNMENT_OPEN
    found = sender.upload(body=b"")
    assert found.headers["upload-offset"] == "60000"
    assert len(sender.kept()) == 1


def test_a_repeated_result_counts_once(sender: Sender) -> None:
    assert sender.upload().status_code == 201
    again = sender.upload()
    assert again.status_code == 410
    assert "the assignment is uploaded" in again.json()["message"]
    first = sender.engine.collect(c.CollectRequest(after=0, wait=5.0))
    assert [d.device for d in first.deliveries] == ["a"]
    assert sender.engine.collect(c.CollectRequest(after=first.sequence, wait=0.2)).deliveries == []


def test_another_result_after_the_first_is_not_taken(sender: Sender) -> None:
    assert sender.upload().status_code == 201
    assert sender.upload(DATA[::-1]).status_code == 410
    (delivery,) = sender.engine.collect(c.CollectRequest(after=0, wait=5.0)).deliveries
    assert delivery.blob is not None
    assert delivery.blob.sha256 == hashlib.sha256(DATA).hexdigest()


def test_the_result_of_another_device_is_refused(sender: Sender) -> None:
    other = replace(sender, device=sender.others["b"])
    assert other.upload().status_code == 404
    assert sender.status in ASSIGNMENT_OPEN
    assert sender.upload().status_code == 201


def test_a_result_that_comes_too_late(sender: Sender, world: World) -> None:
    sender.upload(body=DATA[:10])
    world.clock.advance(100_000)
    world.step()
    answer = sender.upload()
    assert (answer.status_code, "its deadline passed" in answer.text) == (410, True)
    deadline = time.monotonic() + 5.0
    while sender.kept() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sender.kept() == []


def test_a_result_for_an_attempt_that_began_the_round_anew(sender: Sender, world: World) -> None:
    sender.engine.cancel(c.CancelRequest(ids=[sender.id], reason="the round began anew"))
    answer = sender.upload()
    assert (answer.status_code, "the round began anew" in answer.text) == (410, True)
    assert sender.kept() == []
