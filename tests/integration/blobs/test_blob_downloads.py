"""Downloads: whole, in ranges, not again, and what is said when there is nothing to give."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import httpx
import pytest
from blob_world import BlobWorld, blob_world

from fedops.core.contracts import ErrorReply
from fedops.server.blob_app.block_cache import BLOCK, RUN

DATA = os.urandom(BLOCK * RUN * 2 + 12_345)


def test_a_blob_as_a_whole(world: BlobWorld) -> None:
    sha256 = world.put(DATA)
    with world.client() as client:
        answer = client.get(f"/{sha256}")
        assert answer.content == DATA
        assert answer.status_code == 200
        assert answer.headers["etag"] == f'"{sha256}"'
        assert answer.headers["content-length"] == str(len(DATA))
        assert answer.headers["accept-ranges"] == "bytes"
        head = client.head(f"/{sha256}")
        assert (head.content, head.headers["content-length"]) == (b"", str(len(DATA)))
        assert client.get(f"/{world.put(b'')}").content == b""


LAST = len(DATA) - 1


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=1-", 1, LAST),
        (f"bytes={BLOCK - 1}-{BLOCK}", BLOCK - 1, BLOCK),
        (f"bytes={BLOCK}-{2 * BLOCK - 1}", BLOCK, 2 * BLOCK - 1),
        (f"bytes={RUN * BLOCK - 5}-", RUN * BLOCK - 5, LAST),
        ("bytes=-7", LAST - 6, LAST),
        ("bytes=5-999999999999", 5, LAST),
        ("bytes=-999999999999", 0, LAST),
    ],
)
def test_ranges(world: BlobWorld, asked: str, first: int, last: int) -> None:
    sha256 = world.put(DATA)
    with world.client() as client:
        answer = client.get(f"/{sha256}", headers={"range": asked})
        assert answer.status_code == 206
        assert answer.content == DATA[first : last + 1]
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(DATA)}"


def test_ranges_that_are_not_there(world: BlobWorld) -> None:
    sha256 = world.put(DATA)
    with world.client() as client:
        for asked in (f"bytes={len(DATA)}-", "bytes=-0"):
            answer = client.get(f"/{sha256}", headers={"range": asked})
            assert answer.status_code == 416
            assert answer.headers["content-range"] == f"bytes */{len(DATA)}"
        for asked in ("bytes=5-4", "bytes=0-1,3-4", "bytes=-", "lines=1-2", "bytes=x-"):
            answer = client.get(f"/{sha256}", headers={"range": asked})
            assert (answer.status_code, len(answer.content)) == (200, len(DATA))


def test_what_one_has_is_not_sent_again(world: BlobWorld) -> None:
    sha256 = world.put(DATA)
    tag = f'"{sha256}"'
    with world.client() as client:
        for header in (tag, f'"x", W/{tag}', "*"):
            answer = client.get(f"/{sha256}", headers={"if-none-match": header})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == tag
        assert client.get(f"/{sha256}", headers={"if-none-match": '"x"'}).status_code == 200
        part = {"range": "bytes=0-0"}
        assert client.get(f"/{sha256}", headers={**part, "if-range": tag}).status_code == 206
        assert client.get(f"/{sha256}", headers={**part, "if-range": '"x"'}).status_code == 200


def _refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status
    return ErrorReply.model_validate_json(answer.content).message


def test_what_there_is_nothing_to_give_for(world: BlobWorld) -> None:
    sha256 = world.put(b"abc")
    with world.client() as client:
        assert "there is no blob" in _refused(client.get(f"/{'0' * 64}"), 404)
        assert "nothing at" in _refused(client.get(f"/{'A' * 64}"), 404)
        world.store.remove(sha256)
        assert "there is no blob" in _refused(client.get(f"/{sha256}"), 404)
        assert "takes GET, HEAD" in _refused(client.post(f"/{sha256}"), 405)
    with world.client("nobody") as client:
        answer = client.get(f"/{sha256}")
        assert "not known here" in _refused(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    old = httpx.get(f"{world.url}/{sha256}", headers={"authorization": "Bearer d1"})
    assert "version 1 of the FedOps protocol" in _refused(old, 426)


def test_a_file_that_lost_its_end_is_not_passed_off_as_whole(world: BlobWorld) -> None:
    cut, stump = world.put(DATA), world.put(DATA[::-1])
    os.truncate(world.store.path(cut), len(DATA) - 1)
    os.truncate(world.store.path(stump), 1_000)
    with world.client() as client:
        assert "it ends at byte 1,000" in _refused(client.get(f"/{stump}"), 503)
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"/{cut}")


def test_many_at_once_read_the_disk_once(tmp_path: Path) -> None:
    with blob_world(tmp_path, cache_bytes=4 * len(DATA)) as world:
        sha256 = world.put(DATA)
        reads: list[int] = []
        read = world.store.read

        def counted(digest: str, offset: int, size: int) -> bytes:
            reads.append(offset)
            return read(digest, offset, size)

        world.store.read = counted  # type: ignore[method-assign]
        good: list[bool] = []

        def fetch() -> None:
            with world.client() as client:
                good.append(client.get(f"/{sha256}").content == DATA)

        threads = [threading.Thread(target=fetch) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert good == [True] * 20
        assert sorted(reads) == [0, RUN * BLOCK, 2 * RUN * BLOCK]


def test_who_got_damaged_bytes_gets_them_from_the_disk_again(world: BlobWorld) -> None:
    sha256 = world.put(DATA)
    path = world.store.path(sha256)
    path.write_bytes(DATA[::-1])
    with world.client() as client:
        assert client.get(f"/{sha256}").content == DATA[::-1]
        path.write_bytes(DATA)
        assert client.get(f"/{sha256}").content == DATA[::-1], "it is in memory"
        assert client.get(f"/{sha256}", headers={"cache-control": "no-cache"}).content == DATA
        assert client.get(f"/{sha256}").content == DATA


def test_more_than_fits_in_memory(tmp_path: Path) -> None:
    with blob_world(tmp_path, cache_bytes=1) as world, world.client() as client:
        blobs = {world.put(data): data for data in (DATA, DATA[::-1])}
        for _ in range(2):
            for sha256, data in blobs.items():
                assert client.get(f"/{sha256}").content == data
