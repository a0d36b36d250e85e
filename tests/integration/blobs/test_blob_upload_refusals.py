"""Uploads that are refused or given up: too long, not as announced, of work that is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from blob_world import (
    JOB,
    OTHER_JOB,
    BlobWorld,
    blob_world,
    creation,
    location,
    metadata,
)
from upload_calls import DATA, delivered, offset_of, patch, raw, said

from fedops.storage.folder_blobs import FolderBlobs


def test_another_content_than_announced(world: BlobWorld) -> None:
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    with world.client() as client:
        said(client.post("", headers=creation(DATA), content=wrong), 460, "was announced")
        assert world.incoming() == {}
        assert client.post("", headers=creation(DATA), content=DATA).status_code == 201
    delivered(world)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(world: BlobWorld) -> None:
    with world.client() as client:
        said(client.post("", headers=creation(DATA), content=DATA + b"x"), 413, "2,500,001 bytes")
        made = client.post("", headers=creation(DATA), content=DATA[:1_000])
        url = location(world, made)
        said(patch(client, url, DATA, 1_000), 413, "2,499,000 are missing")
        assert offset_of(client, url) == 1_000


def _chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


def test_a_body_of_unknown_length_is_refused_at_the_first_byte_beyond(world: BlobWorld) -> None:
    with world.client() as client:
        answer = client.post("", headers=creation(DATA), content=_chunks(DATA + b"x" * 200_000))
        said(answer, 413, "none beyond was kept")
        ((name, size),) = world.incoming().items()
        assert size < len(DATA)
        url = f"{world.url}/uploads/{name}"
        assert offset_of(client, url) == size
        assert patch(client, url, _chunks(DATA[size:]), size).status_code == 204  # type: ignore[arg-type]
    delivered(world)


def test_more_than_the_bound(world: BlobWorld) -> None:
    world.access.bound = len(DATA) - 1
    with world.client() as client:
        said(client.post("", headers=creation(DATA), content=DATA), 413, "at most 2,499,999")
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
        answer = patch(client, location(world, made), DATA[1_000:], 1_000)
        assert answer.status_code == {"nobody": 401, "d2": 404, "admin": 403}[token]
        assert client.head(location(world, made)).status_code == answer.status_code
        assert client.delete(location(world, made)).status_code == answer.status_code
    assert list(world.incoming().values()) == [1_000]


def test_an_assignment_that_is_over(world: BlobWorld) -> None:
    with world.client() as client:
        url = location(world, client.post("", headers=creation(DATA), content=DATA[:1_000]))
        world.access.over[JOB] = "its deadline passed"
        said(patch(client, url, DATA[1_000:], 1_000), 410, "its deadline passed")
        assert world.incoming() == {}
        assert client.head(url).status_code == 404
        said(client.post("", headers=creation(DATA), content=DATA), 410, "its deadline passed")


def test_an_assignment_that_ends_during_its_upload(world: BlobWorld) -> None:
    headers = {**creation(DATA), "content-length": str(len(DATA))}
    sending = raw(world, "POST", "/api/v1/blobs", headers, DATA[:100_000])
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
        said(client.post("", headers=sent, content=DATA[:100]), status, text)
    assert world.incoming() == {}
