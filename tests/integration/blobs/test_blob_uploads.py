"""Uploads by tus: in one call, in parts, and what is said of them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import httpx
from blob_world import (
    TUS,
    BlobWorld,
    FakeAccess,
    blob_world,
    creation,
    location,
)
from upload_calls import DATA, delivered, patch, said

from fedops.storage.folder_blobs import FolderBlobs


def test_one_call_is_enough(world: BlobWorld) -> None:
    with world.client() as client:
        answer = client.post("", headers=creation(DATA), content=DATA)
        assert answer.status_code == 201
        assert answer.headers["upload-offset"] == str(len(DATA))
        assert answer.headers["location"].startswith("/api/v1/blobs/uploads/")
        delivered(world)
        found = client.head(location(world, answer))
        assert (found.status_code, found.headers["upload-offset"]) == (200, str(len(DATA)))
        again = client.post("", headers=creation(DATA), content=DATA)
        said(again, 410, "it was delivered")


def test_in_parts(world: BlobWorld) -> None:
    with world.client() as client:
        made = client.post("", headers={**creation(DATA), "content-type": ""})
        url = location(world, made)
        assert made.headers["upload-offset"] == "0"
        assert "upload-expires" in made.headers
        for start in range(0, len(DATA), 700_000):
            part = patch(client, url, DATA[start : start + 700_000], start)
            assert part.status_code == 204
        assert part.headers["upload-offset"] == str(len(DATA))
        assert patch(client, url, b"", len(DATA)).status_code == 204
    delivered(world)


def test_an_empty_result(world: BlobWorld) -> None:
    with world.client() as client:
        assert client.post("", headers=creation(b"")).headers["upload-offset"] == "0"
    delivered(world, b"")


def test_who_asks_again_finds_the_upload(world: BlobWorld) -> None:
    with world.client() as client:
        first = client.post("", headers=creation(DATA), content=DATA[:1_000])
        again = client.post("", headers=creation(DATA), content=DATA[:1_000])
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["upload-offset"] == "1000"
        assert patch(client, location(world, first), DATA[1_000:], 1_000).status_code == 204
    delivered(world)


def test_another_result_of_the_same_assignment_takes_its_place(world: BlobWorld) -> None:
    other = DATA[::-1]
    with world.client() as client:
        first = client.post("", headers=creation(other), content=other[:1_000])
        second = client.post("", headers=creation(DATA), content=DATA[:2_000])
        assert list(world.incoming().values()) == [2_000]
        said(patch(client, location(world, first), other[1_000:], 1_000), 404)
        assert patch(client, location(world, second), DATA[2_000:], 2_000).status_code == 204
    delivered(world)


def test_what_is_kept_beside_the_bytes_may_be_damaged(tmp_path: Path) -> None:
    with blob_world(tmp_path) as world, world.client() as client:
        client.post("", headers=creation(DATA), content=DATA[:1_000])
        (name,) = world.incoming()
    (tmp_path / "incoming" / f"{name}.note").write_bytes(b"")
    with blob_world(tmp_path) as world, world.client() as client:
        assert client.head(f"/uploads/{name}").status_code == 404
        assert client.post("", headers=creation(DATA), content=DATA).status_code == 201
        delivered(world)


def test_what_the_server_says_it_can(world: BlobWorld) -> None:
    answer = httpx.options(world.url, trust_env=False)
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert "creation-with-upload" in answer.headers["tus-extension"]
    with world.client() as client:
        refused = client.put("", content=b"x")
        said(refused, 405, "takes POST, OPTIONS, not PUT")
        assert refused.headers["allow"] == "POST, OPTIONS"
        said(client.get("/nothing"), 404, "there is nothing at /api/v1/blobs/nothing")


def test_where_only_post_comes_through(world: BlobWorld) -> None:
    with world.client() as client:
        url = location(world, client.post("", headers=creation(DATA)))
        headers = {**TUS, "upload-offset": "0", "x-http-method-override": "PATCH"}
        assert client.post(url, headers=headers, content=DATA).status_code == 204
    delivered(world)


def test_a_full_disk_is_said_and_the_upload_goes_on_when_there_is_room(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with blob_world(tmp_path) as world, world.client() as client:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))
        try:
            answer = client.post("", headers=creation(DATA), content=DATA)
            said(answer, 503, "the server's disk is full")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        found = client.post("", headers=creation(DATA))
        offset = int(found.headers["upload-offset"])
        assert 0 < offset <= 1_500_000
        answer = patch(client, location(world, found), DATA[offset:], offset)
        assert answer.status_code == 204
        delivered(world)


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
