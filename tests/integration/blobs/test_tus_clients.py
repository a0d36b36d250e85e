"""Uploads as others do them: tuspy, a client that is not ours, and any sequence of cuts."""

from __future__ import annotations

import hashlib
import io
import os
import socket
from pathlib import Path

import httpx
import pytest
from blob_world import JOB, PROTOCOL, TUS, BlobWorld, FakeAccess, blob_world, creation
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from fedops.storage.folder_blobs import FolderBlobs

DATA = os.urandom(1_300_000)


def _tus(world: BlobWorld, token: str = "d1") -> TusClient:
    return TusClient(world.url, headers={"authorization": f"Bearer {token}", **PROTOCOL})


def _named(data: bytes) -> dict[str, str]:
    return {"assignment": JOB, "sha256": hashlib.sha256(data).hexdigest()}


def test_an_independent_client_uploads_in_chunks(world: BlobWorld) -> None:
    uploader = _tus(world).uploader(
        file_stream=io.BytesIO(DATA), chunk_size=200_000, metadata=_named(DATA)
    )
    uploader.upload()
    (head,) = world.access.delivered_heads
    assert world.store.path(head.sha256).read_bytes() == DATA


def test_an_independent_client_goes_on_after_a_restart(tmp_path: Path) -> None:
    with blob_world(tmp_path) as world:
        first = _tus(world).uploader(
            file_stream=io.BytesIO(DATA), chunk_size=400_000, metadata=_named(DATA)
        )
        first.upload_chunk()
        first.upload_chunk()
        path = httpx.URL(first.url).path
    with blob_world(tmp_path, access=world.access) as again:
        second = _tus(again).uploader(
            file_stream=io.BytesIO(DATA),
            chunk_size=400_000,
            url=f"http://127.0.0.1:{again.port}{path}",
        )
        assert second.offset == 800_000
        second.upload()
        (head,) = again.access.delivered_heads
        assert again.store.check(head.sha256) is None


def test_an_independent_client_with_a_wrong_token_leaves_nothing(world: BlobWorld) -> None:
    with pytest.raises(TusCommunicationError) as refused:
        _tus(world, "nobody").uploader(
            file_stream=io.BytesIO(DATA), chunk_size=400_000, metadata=_named(DATA)
        ).upload()
    assert refused.value.status_code == 401
    assert world.incoming() == {}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["post", "patch", "beyond", "elsewhere", "restart", "look"]),
        st.integers(0, 40_000),
        st.integers(0, 40_000),
    ),
    max_size=12,
)


def _cut(world: BlobWorld, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
    """Send a part of what was promised, and hang up."""
    sent = {"host": "x", "authorization": "Bearer d1", **PROTOCOL, **headers}
    text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in sent.items())
    with socket.create_connection(("127.0.0.1", world.port), timeout=10) as connection:
        connection.sendall(text.encode() + b"\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass


class Device:
    """Sends one result by whatever steps come, and knows what must hold after each."""

    def __init__(self, world: BlobWorld, data: bytes) -> None:
        self.world, self.data = world, data
        self.client = world.client()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def offset(self) -> int | None:
        found = self.client.post("", headers=creation(self.data))
        if found.status_code == 410:
            return None
        assert found.status_code == 201
        self.path = found.headers["location"]
        offset = int(found.headers["upload-offset"])
        assert 0 <= offset <= len(self.data)
        assert self.delivered == (offset == len(self.data)), (
            "the last byte is answered when durable"
        )
        assert self.delivered or sum(self.world.incoming().values()) == offset
        return offset

    def assert_unchanged(self, before: int) -> None:
        """It is where it was; what had arrived as a whole is over."""
        assert self.offset() == (before if before < len(self.data) else None)

    @property
    def delivered(self) -> bool:
        return bool(self.world.access.delivered_heads)

    def send(self, offset: int, promised: int, sent: int) -> None:
        headers = {**TUS, "tus-resumable": "1.0.0", "upload-offset": str(offset)}
        body = self.data[offset : offset + sent]
        _cut(self.world, "PATCH", self.path, {**headers, "content-length": str(promised)}, body)

    def step(self, kind: str, first: int, second: int) -> None:
        before = self.offset()
        if before is None:
            return
        rest = len(self.data) - before
        if kind == "patch":
            self.send(before, rest, min(first, rest))
        elif kind == "post":
            headers = {**creation(self.data), "tus-resumable": "1.0.0"}
            headers["content-length"] = str(len(self.data))
            _cut(self.world, "POST", "/api/v1/blobs", headers, self.data[:first])
        elif kind == "beyond":
            self.send(before, rest + 1 + first, rest)
            self.assert_unchanged(before)
        elif kind == "elsewhere" and second != before:
            self.send(second, len(self.data) - second if second < len(self.data) else 1, first)
            self.assert_unchanged(before)
        elif kind == "look":
            url = f"http://127.0.0.1:{self.world.port}{self.path}"
            assert self.client.head(url).headers["upload-offset"] == str(before)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(size=st.integers(0, 40_000), steps=STEPS)
@example(size=9, steps=[("patch", 9, 0), ("beyond", 0, 0)])
@example(size=0, steps=[("beyond", 0, 0), ("elsewhere", 1, 1)])
def test_whatever_is_cut_the_result_arrives_once(
    tmp_path_factory: pytest.TempPathFactory, size: int, steps: list[tuple[str, int, int]]
) -> None:
    folder, data = tmp_path_factory.mktemp("cuts"), os.urandom(size)
    access = FakeAccess(FolderBlobs(folder))
    lives: list[list[tuple[str, int, int]]] = [[]]
    for step in steps:
        if step[0] == "restart":
            lives.append([])
        lives[-1].append(step)
    for life in lives:
        with blob_world(folder, access=access) as world, Device(world, data) as device:
            for step in life:
                device.step(*step)
    with blob_world(folder, access=access) as world, Device(world, data) as device:
        offset = device.offset()
        if offset is not None and offset < size:
            url = f"http://127.0.0.1:{world.port}{device.path}"
            answer = device.client.patch(
                url, headers={**TUS, "upload-offset": str(offset)}, content=data[offset:]
            )
            assert answer.status_code == 204
        (head,) = access.delivered_heads
        assert world.store.path(head.sha256).read_bytes() == data
        assert world.incoming() == {}
