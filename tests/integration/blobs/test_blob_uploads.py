"""Uploads by tus: what a device may send, in how many parts, and what is kept of it when it breaks off."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from blob_world import (
    JOB,
    OTHER_JOB,
    TUS,
    BlobWorld,
    FakeAccess,
    blob_world,
    creation,
    location,
    metadata,
)

from fedops.core.contracts import ErrorReply
from fedops.core.errors import Unavailable
from fedops.storage.folder_blobs import FolderBlobs

DATA = os.urandom(2_500_000)


def _said(answer: httpx.Response, status: int, text: str = "") -> None:
    assert answer.status_code == status, answer.text
    assert text in ErrorReply.model_validate_json(answer.content).message


def _delivered(world: BlobWorld, data: bytes = DATA) -> None:
    (head,) = world.access.delivered_heads
    assert world.store.path(head.sha256).read_bytes() == data
    assert world.store.unfinished() == []
    assert world.incoming() == {}


def _patch(client: httpx.Client, url: str, data: bytes, offset: int) -> httpx.Response:
    headers = {**TUS, "upload-offset": str(offset)}
    return client.patch(url, headers=headers, content=data)


def test_one_call_is_enough(world: BlobWorld) -> None:
    with world.client() as client:
        answer = client.post("", headers=creation(DATA), content=DATA)
        assert answer.status_code == 201
        assert answer.headers["upload-offset"] == str(len(DATA))
        assert answer.headers["location"].startswith("/api/v1/blobs/uploads/")
        _delivered(world)
        found = client.head(location(world, answer))
        assert (found.status_code, found.headers["upload-offset"]) == (200, str(len(DATA)))
        again = client.post("", headers=creation(DATA), content=DATA)
        _said(again, 410, "it was delivered")


def test_in_parts(world: BlobWorld) -> None:
    with world.client() as client:
        made = client.post("", headers={**creation(DATA), "content-type": ""})
        url = location(world, made)
        assert made.headers["upload-offset"] == "0"
        assert "upload-expires" in made.headers
        for start in range(0, len(DATA), 700_000):
            part = _patch(client, url, DATA[start : start + 700_000], start)
            assert part.status_code == 204
        assert part.headers["upload-offset"] == str(len(DATA))
        assert _patch(client, url, b"", len(DATA)).status_code == 204
    _delivered(world)


def test_an_empty_result(world: BlobWorld) -> None:
    with world.client() as client:
        assert client.post("", headers=creation(b"")).headers["upload-offset"] == "0"
    _delivered(world, b"")


def test_who_asks_again_finds_the_upload(world: BlobWorld) -> None:
    with world.client() as client:
        first = client.post("", headers=creation(DATA), content=DATA[:1_000])
        again = client.post("", headers=creation(DATA), content=DATA[:1_000])
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["upload-offset"] == "1000"
        assert _patch(client, location(world, first), DATA[1_000:], 1_000).status_code == 204
    _delivered(world)


def test_another_result_of_the_same_assignment_takes_its_place(world: BlobWorld) -> None:
    other = DATA[::-1]
    with world.client() as client:
        first = client.post("", headers=creation(other), content=other[:1_000])
        second = client.post("", headers=creation(DATA), content=DATA[:2_000])
        assert list(world.incoming().values()) == [2_000]
        _said(_patch(client, location(world, first), other[1_000:], 1_000), 404)
        assert _patch(client, location(world, second), DATA[2_000:], 2_000).status_code == 204
    _delivered(world)


def _raw(
    world: BlobWorld, method: str, path: str, headers: dict[str, str], body: bytes
) -> socket.socket:
    """Send a request whose headers promise more than ``body``."""
    sent = {"host": "x", "authorization": "Bearer d1", "fedops-protocol": "1", **headers}
    text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in sent.items())
    connection = socket.create_connection(("127.0.0.1", world.port), timeout=10)
    connection.sendall(text.encode() + b"\r\n" + body)
    return connection


def _offset(client: httpx.Client, url: str) -> int:
    return int(client.head(url).headers["upload-offset"])


def test_a_cut_keeps_what_came(world: BlobWorld) -> None:
    headers = {**creation(DATA), "content-length": str(len(DATA))}
    _raw(world, "POST", "/api/v1/blobs", headers, DATA[:1_234_567]).close()
    with world.client() as client:
        deadline = time.monotonic() + 5
        while sum(world.incoming().values()) < 1_100_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        found = client.post("", headers=creation(DATA))
        offset = int(found.headers["upload-offset"])
        assert 1_100_000 < offset <= 1_234_567
        url = location(world, found)
        assert _patch(client, url, DATA[offset:], offset).status_code == 204
    _delivered(world)


def test_a_stalled_part_is_taken_over(world: BlobWorld) -> None:
    with world.client() as client:
        url = location(world, client.post("", headers=creation(DATA)))
        path = url.partition(str(world.port))[2]
        headers = {**TUS, "upload-offset": "0", "content-length": str(len(DATA))}
        stalled = _raw(world, "PATCH", path, headers, DATA[:500_000])
        time.sleep(0.2)
        began = time.monotonic()
        offset = _offset(client, url)
        assert offset == 500_000
        assert stalled.recv(100).startswith(b"HTTP/1.1 423 ")
        assert _patch(client, url, DATA[offset:], offset).status_code == 204
        assert time.monotonic() - began < 1.0
        stalled.close()
    _delivered(world)


def test_of_two_parts_at_once_the_later_wins(world: BlobWorld) -> None:
    with world.client() as client:
        url = location(world, client.post("", headers=creation(DATA)))
        path = url.partition(str(world.port))[2]
        headers = {**TUS, "upload-offset": "0", "content-length": str(len(DATA))}
        stalled = _raw(world, "PATCH", path, headers, DATA[:500_000])
        time.sleep(0.2)
        later = _patch(client, url, DATA, 0)
        _said(later, 409, "at byte 500,000, not at 0")
        assert later.headers["upload-offset"] == "500000"
        assert _patch(client, url, DATA[500_000:], 500_000).status_code == 204
        stalled.close()
    _delivered(world)


def test_who_sends_nothing_is_cut_off(tmp_path: Path) -> None:
    with blob_world(tmp_path, stall_seconds=0.3) as world, world.client() as client:
        headers = {**creation(DATA), "content-length": str(len(DATA))}
        stalled = _raw(world, "POST", "/api/v1/blobs", headers, DATA[:100])
        assert stalled.recv(100).startswith(b"HTTP/1.1 503 ")
        stalled.close()
        assert client.post("", headers=creation(DATA)).headers["upload-offset"] == "100"


def test_a_restart_in_the_middle(tmp_path: Path) -> None:
    with blob_world(tmp_path) as world, world.client() as client:
        made = client.post("", headers=creation(DATA), content=DATA[:1_000_000])
        path = made.headers["location"]
    with blob_world(tmp_path, access=world.access) as again, again.client() as client:
        url = f"http://127.0.0.1:{again.port}{path}"
        assert _offset(client, url) == 1_000_000
        assert _patch(client, url, DATA[1_000_000:], 1_000_000).status_code == 204
        _delivered(again)


def test_a_restart_before_the_commit(tmp_path: Path) -> None:
    with blob_world(tmp_path) as world, world.client() as client:
        world.access.troubles = [Unavailable("the database is locked")]
        _said(client.post("", headers=creation(DATA), content=DATA), 503, "database is locked")
        assert not world.access.delivered_heads
    with blob_world(tmp_path, access=world.access) as again, again.client() as client:
        found = client.post("", headers=creation(DATA))
        assert found.headers["upload-offset"] == str(len(DATA))
        _delivered(again)


def test_a_commit_that_could_not_be_made_is_made_when_the_device_asks(world: BlobWorld) -> None:
    world.access.troubles = [Unavailable("full"), Unavailable("full")]
    with world.client() as client:
        first = client.post("", headers=creation(DATA), content=DATA)
        assert first.status_code == 503
        assert "retry-after" in first.headers
        (id_,) = world.store.unfinished()
        assert client.head(f"/uploads/{id_}").status_code == 503
        assert _offset(client, f"{world.url}/uploads/{id_}") == len(DATA)
    _delivered(world)


def test_a_caller_that_leaves_during_the_commit_finds_it_made(world: BlobWorld) -> None:
    world.access.commit_seconds = 0.3
    headers = {**creation(DATA), "content-length": str(len(DATA))}
    connection = _raw(world, "POST", "/api/v1/blobs", headers, DATA)
    time.sleep(0.15)
    connection.close()
    with world.client() as client:
        (id_,) = world.incoming()
        assert _offset(client, f"{world.url}/uploads/{id_}") == len(DATA)
    _delivered(world)


def test_another_content_than_announced(world: BlobWorld) -> None:
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    with world.client() as client:
        _said(client.post("", headers=creation(DATA), content=wrong), 460, "was announced")
        assert world.incoming() == {}
        assert client.post("", headers=creation(DATA), content=DATA).status_code == 201
    _delivered(world)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(world: BlobWorld) -> None:
    with world.client() as client:
        _said(client.post("", headers=creation(DATA), content=DATA + b"x"), 413, "2,500,001 bytes")
        made = client.post("", headers=creation(DATA), content=DATA[:1_000])
        url = location(world, made)
        _said(_patch(client, url, DATA, 1_000), 413, "2,499,000 are missing")
        assert _offset(client, url) == 1_000


def _chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


def test_a_body_of_unknown_length_is_refused_at_the_first_byte_beyond(world: BlobWorld) -> None:
    with world.client() as client:
        answer = client.post("", headers=creation(DATA), content=_chunks(DATA + b"x" * 200_000))
        _said(answer, 413, "none beyond was kept")
        ((name, size),) = world.incoming().items()
        assert size < len(DATA)
        url = f"{world.url}/uploads/{name}"
        assert _offset(client, url) == size
        assert _patch(client, url, _chunks(DATA[size:]), size).status_code == 204  # type: ignore[arg-type]
    _delivered(world)


def test_more_than_the_bound(world: BlobWorld) -> None:
    world.access.bound = len(DATA) - 1
    with world.client() as client:
        _said(client.post("", headers=creation(DATA), content=DATA), 413, "at most 2,499,999")
    assert world.incoming() == {}


@pytest.mark.parametrize("token", ["nobody", "d2", "admin"])
def test_who_may_not_leaves_nothing(world: BlobWorld, token: str) -> None:
    with world.client(token) as client:
        answer = client.post("", headers=creation(DATA), content=DATA)
        assert answer.status_code == {"nobody": 401, "d2": 404, "admin": 403}[token]
    assert world.incoming() == {}
    with world.client() as client:
        made = client.post("", headers=creation(DATA), content=DATA[:1_000])
    with world.client(token) as client:
        answer = _patch(client, location(world, made), DATA[1_000:], 1_000)
        assert answer.status_code == {"nobody": 401, "d2": 404, "admin": 403}[token]
        assert client.head(location(world, made)).status_code == answer.status_code
        assert client.delete(location(world, made)).status_code == answer.status_code
    assert list(world.incoming().values()) == [1_000]


def test_an_assignment_that_is_over(world: BlobWorld) -> None:
    with world.client() as client:
        url = location(world, client.post("", headers=creation(DATA), content=DATA[:1_000]))
        world.access.over[JOB] = "its deadline passed"
        _said(_patch(client, url, DATA[1_000:], 1_000), 410, "its deadline passed")
        assert world.incoming() == {}
        assert client.head(url).status_code == 404
        _said(client.post("", headers=creation(DATA), content=DATA), 410, "its deadline passed")


def test_an_assignment_that_ends_during_its_upload(world: BlobWorld) -> None:
    headers = {**creation(DATA), "content-length": str(len(DATA))}
    sending = _raw(world, "POST", "/api/v1/blobs", headers, DATA[:100_000])
    time.sleep(0.2)
    world.access.over[JOB] = "the device was revoked"
    world.app.forget(JOB, "the device was revoked")
    assert sending.recv(100).startswith(b"HTTP/1.1 410 ")
    sending.close()
    deadline = time.monotonic() + 5
    while world.incoming():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert world.store.unfinished() == []


def test_what_is_forgotten_may_lie_on_the_disk_alone(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    for job in (JOB, OTHER_JOB):
        store.begin(f"{job}-{'0' * 16}", b"{}").pause()
    with blob_world(tmp_path) as world:
        world.app.forget(JOB, "over")
        deadline = time.monotonic() + 5
        while len(store.unfinished()) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert store.unfinished() == [f"{OTHER_JOB}-{'0' * 16}"]


def test_what_cannot_be_removed_is_said(
    world: BlobWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> list[str]:
        raise OSError(5, "Input/output error")

    with world.client() as client:  # one call, and the app is in its loop
        client.get("/nothing")
    monkeypatch.setattr(world.store, "unfinished", broken)
    world.app.forget(JOB, "over")
    deadline = time.monotonic() + 5
    while "Input/output error" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert f"the unfinished upload of assignment {JOB}" in caplog.text


def test_an_upload_is_given_up(world: BlobWorld) -> None:
    with world.client() as client:
        url = location(world, client.post("", headers=creation(DATA), content=DATA[:1_000]))
        assert client.delete(url).status_code == 204
        assert client.head(url).status_code == 404
        assert world.incoming() == {}


def test_what_is_kept_beside_the_bytes_may_be_damaged(tmp_path: Path) -> None:
    with blob_world(tmp_path) as world, world.client() as client:
        client.post("", headers=creation(DATA), content=DATA[:1_000])
        (name,) = world.incoming()
    (tmp_path / "incoming" / f"{name}.note").write_bytes(b"")
    with blob_world(tmp_path) as world, world.client() as client:
        assert client.head(f"/uploads/{name}").status_code == 404
        assert client.post("", headers=creation(DATA), content=DATA).status_code == 201
        _delivered(world)


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"fedops-protocol": "2"}, 426, "is of version '2': update FedOps on the server"),
        ({"fedops-protocol": ""}, 426, "names none: update FedOps on this machine"),
        ({"tus-resumable": "0.2.2"}, 412, "send the header Tus-Resumable: 1.0.0"),
        ({"upload-length": "-1"}, 400, "upload-length must be a whole number"),
        ({"upload-length": ""}, 400, "upload-length must be a whole number"),
        ({"upload-length": "9" * 30}, 400, "upload-length must be a whole number"),
        ({"upload-defer-length": "1"}, 400, "say Upload-Length"),
        ({"upload-metadata": ""}, 400, "assignment: is missing; sha256: is missing"),
        ({"upload-metadata": "assignment !"}, 400, "'assignment' is no base64"),
        ({"upload-metadata": "x" * 3_000}, 400, "may have 2,048 bytes"),
        ({"upload-metadata": metadata(DATA, "x")}, 400, "assignment"),
        ({"content-type": "text/plain"}, 415, "not text/plain"),
    ],
)
def test_headers_that_are_wrong(
    world: BlobWorld, headers: dict[str, str], status: int, text: str
) -> None:
    with world.client() as client:
        sent = {**creation(DATA), **headers}
        _said(client.post("", headers=sent, content=DATA[:100]), status, text)
    assert world.incoming() == {}


def test_what_the_server_says_it_can(world: BlobWorld) -> None:
    answer = httpx.options(world.url, trust_env=False)
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert "creation-with-upload" in answer.headers["tus-extension"]
    with world.client() as client:
        refused = client.put("", content=b"x")
        _said(refused, 405, "takes POST, OPTIONS, not PUT")
        assert refused.headers["allow"] == "POST, OPTIONS"
        _said(client.get("/nothing"), 404, "there is nothing at /api/v1/blobs/nothing")


def test_where_only_post_comes_through(world: BlobWorld) -> None:
    with world.client() as client:
        url = location(world, client.post("", headers=creation(DATA)))
        headers = {**TUS, "upload-offset": "0", "x-http-method-override": "PATCH"}
        assert client.post(url, headers=headers, content=DATA).status_code == 204
    _delivered(world)


def test_a_full_disk_is_said_and_the_upload_goes_on_when_there_is_room(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with blob_world(tmp_path) as world, world.client() as client:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))
        try:
            answer = client.post("", headers=creation(DATA), content=DATA)
            _said(answer, 503, "the server's disk is full")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        found = client.post("", headers=creation(DATA))
        offset = int(found.headers["upload-offset"])
        assert 0 < offset <= 1_500_000
        answer = _patch(client, location(world, found), DATA[offset:], offset)
        assert answer.status_code == 204
        _delivered(world)


def test_devices_do_not_hinder_each_other(tmp_path: Path) -> None:
    jobs = {f"{number:032x}": f"d{number}" for number in range(20)}
    access = FakeAccess(FolderBlobs(tmp_path), assignments=jobs)
    with blob_world(tmp_path, access=access) as world:
        answers: list[int] = []

        def send(job: str, device: str) -> None:
            data = os.urandom(300_000)
            with world.client(device) as client:
                headers = creation(data, job)
                answers.append(client.post("", headers=headers, content=data).status_code)

        threads = [threading.Thread(target=send, args=item) for item in jobs.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [201] * 20
        assert len(world.access.delivered_heads) == 20
