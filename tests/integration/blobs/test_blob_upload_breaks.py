"""Uploads that break off: cut, stalled, taken over, interrupted by a restart; and what is kept of them."""

from __future__ import annotations

import time
from pathlib import Path

from blob_world import (
    TUS,
    BlobWorld,
    blob_world,
    creation,
    location,
)
from upload_calls import DATA, delivered, offset_of, patch, raw, said

from fedops.core.errors import Unavailable


def test_a_cut_keeps_what_came(world: BlobWorld) -> None:
    headers = {**creation(DATA), "content-length": str(len(DATA))}
    raw(world, "POST", "/api/v1/blobs", headers, DATA[:1_234_567]).close()
    with world.client() as client:
        deadline = time.monotonic() + 5
        while sum(world.incoming().values()) < 1_100_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        found = client.post("", headers=creation(DATA))
        offset = int(found.headers["upload-offset"])
        assert 1_100_000 < offset <= 1_234_567
        url = location(world, found)
        assert patch(client, url, DATA[offset:], offset).status_code == 204
    delivered(world)


def test_a_stalled_part_is_taken_over(world: BlobWorld) -> None:
    with world.client() as client:
        url = location(world, client.post("", headers=creation(DATA)))
        path = url.partition(str(world.port))[2]
        headers = {**TUS, "upload-offset": "0", "content-length": str(len(DATA))}
        stalled = raw(world, "PATCH", path, headers, DATA[:500_000])
        time.sleep(0.2)
        began = time.monotonic()
        offset = offset_of(client, url)
        assert offset == 500_000
        assert stalled.recv(100).startswith(b"HTTP/1.1 423 ")
        assert patch(client, url, DATA[offset:], offset).status_code == 204
        assert time.monotonic() - began < 1.0
        stalled.close()
    delivered(world)


def test_of_two_parts_at_once_the_later_wins(world: BlobWorld) -> None:
    with world.client() as client:
        url = location(world, client.post("", headers=creation(DATA)))
        path = url.partition(str(world.port))[2]
        headers = {**TUS, "upload-offset": "0", "content-length": str(len(DATA))}
        stalled = raw(world, "PATCH", path, headers, DATA[:500_000])
        time.sleep(0.2)
        later = patch(client, url, DATA, 0)
        said(later, 409, "at byte 500,000, not at 0")
        assert later.headers["upload-offset"] == "500000"
        assert patch(client, url, DATA[500_000:], 500_000).status_code == 204
        stalled.close()
    delivered(world)


def test_who_sends_nothing_is_cut_off(tmp_path: Path) -> None:
    with blob_world(tmp_path, stall_seconds=0.3) as world, world.client() as client:
        headers = {**creation(DATA), "content-length": str(len(DATA))}
        stalled = raw(world, "POST", "/api/v1/blobs", headers, DATA[:100])
        assert stalled.recv(100).startswith(b"HTTP/1.1 503 ")
        stalled.close()
        assert client.post("", headers=creation(DATA)).headers["upload-offset"] == "100"


def test_a_restart_in_the_middle(tmp_path: Path) -> None:
    with blob_world(tmp_path) as world, world.client() as client:
        made = client.post("", headers=creation(DATA), content=DATA[:1_000_000])
        path = made.headers["location"]
    with blob_world(tmp_path, access=world.access) as again, again.client() as client:
        url = f"http://127.0.0.1:{again.port}{path}"
        assert offset_of(client, url) == 1_000_000
        assert patch(client, url, DATA[1_000_000:], 1_000_000).status_code == 204
        delivered(again)


def test_a_restart_before_the_commit(tmp_path: Path) -> None:
    with blob_world(tmp_path) as world, world.client() as client:
        world.access.troubles = [Unavailable("the database is locked")]
        said(client.post("", headers=creation(DATA), content=DATA), 503, "database is locked")
        assert not world.access.delivered_heads
    with blob_world(tmp_path, access=world.access) as again, again.client() as client:
        found = client.post("", headers=creation(DATA))
        assert found.headers["upload-offset"] == str(len(DATA))
        delivered(again)


def test_a_commit_that_could_not_be_made_is_made_when_the_device_asks(world: BlobWorld) -> None:
    world.access.troubles = [Unavailable("full"), Unavailable("full")]
    with world.client() as client:
        first = client.post("", headers=creation(DATA), content=DATA)
        assert first.status_code == 503
        assert "retry-after" in first.headers
        (id_,) = world.store.unfinished()
        assert client.head(f"/uploads/{id_}").status_code == 503
        assert offset_of(client, f"{world.url}/uploads/{id_}") == len(DATA)
    delivered(world)


def test_a_caller_that_leaves_during_the_commit_finds_it_made(world: BlobWorld) -> None:
    world.access.commit_seconds = 0.3
    headers = {**creation(DATA), "content-length": str(len(DATA))}
    connection = raw(world, "POST", "/api/v1/blobs", headers, DATA)
    time.sleep(0.15)
    connection.close()
    with world.client() as client:
        (id_,) = world.incoming()
        assert offset_of(client, f"{world.url}/uploads/{id_}") == len(DATA)
    delivered(world)


def test_an_upload_with_bytes_of_somebody_else_begins_from_nothing_and_gets_through(
    world: BlobWorld,
) -> None:
    with world.client() as client:
        url = location(world, client.post("", headers=creation(DATA), content=DATA[:1_000_000]))
        (name,) = world.incoming()
        with (world.folder / "incoming" / name).open("ab") as somebody:
            somebody.write(DATA)
        assert offset_of(client, url) == 0
        assert patch(client, url, DATA, 0).status_code == 204
    delivered(world)
