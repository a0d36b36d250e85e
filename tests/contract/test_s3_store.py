"""What only S3 has: URLs that are signed, a server that is away, and a folder that is only a cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import obstore
import pytest
from blob_world import FakeAccess, blob_world, creation
from s3_server import S3Server, bucket_of

from fedops.core.errors import NotFound, Unavailable
from fedops.server.database.backup import backup
from fedops.server.database.blob_rows import record_blob
from fedops.server.database.blob_stores import open_blobs
from fedops.server.database.database import Database
from fedops.server.database.restore import restore
from fedops.settings import ServerSettings
from fedops.storage.s3 import S3Blobs, S3Bucket


@pytest.fixture
def bucket(s3: S3Server) -> S3Bucket:
    return bucket_of(s3, uuid.uuid4().hex)


@pytest.fixture
def store(bucket: S3Bucket, tmp_path: Path) -> S3Blobs:
    return S3Blobs(bucket, tmp_path / "cache", presigned=True)


def _keep(store: S3Blobs, data: bytes) -> str:
    upload = store.begin()
    upload.write(data)
    return upload.finish().sha256


def test_a_url_gives_one_blob_to_whoever_has_it(store: S3Blobs) -> None:
    url = store.location(_keep(store, b"abc"), 60.0)
    assert url is not None
    assert httpx.get(url).content == b"abc"
    assert httpx.get(url, headers={"range": "bytes=1-"}).content == b"bc"


def test_a_url_is_refused_once_it_is_too_old(store: S3Blobs) -> None:
    url = store.location(_keep(store, b"abc"), 1.0)
    assert url is not None
    time.sleep(2.5)
    assert httpx.get(url).status_code == 403


def test_a_url_is_refused_for_anything_but_its_blob(store: S3Blobs) -> None:
    first, second = _keep(store, b"abc"), _keep(store, b"abd")
    url = store.location(first, 60.0)
    assert url is not None
    for changed in (
        url.replace(f"{first[:2]}/{first[2:]}", f"{second[:2]}/{second[2:]}"),
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.partition("?")[0],
    ):
        assert changed != url
        assert httpx.get(changed).status_code in (400, 403)  # 400: not signed at all
    for method in ("PUT", "DELETE"):
        assert httpx.request(method, url, content=b"abd").status_code == 403
    assert dict(parse_qsl(urlsplit(url).query))["X-Amz-Expires"] == "60"
    assert store.check(first) is None


def test_urls_are_only_given_when_they_are_wanted(bucket: S3Bucket, tmp_path: Path) -> None:
    store = S3Blobs(bucket, tmp_path)
    assert store.location(_keep(store, b"abc"), 60.0) is None


def test_another_machine_reads_what_one_wrote(bucket: S3Bucket, tmp_path: Path) -> None:
    data = os.urandom(12_000_000)  # more than one part
    sha256 = _keep(S3Blobs(bucket, tmp_path / "one"), data)
    other = S3Blobs(bucket, tmp_path / "two")
    assert other.read(sha256, 11_999_990, 10) == data[-10:]
    assert other.read(sha256, 0, 5) == data[:5]
    with pytest.raises(Unavailable, match="ends at byte 12,000,000"):
        other.read(sha256, 11_999_999, 2)
    with pytest.raises(Unavailable, match="ends at byte 12,000,000"):
        other.read(sha256, 12_000_000, 2)
    assert other.path(sha256).read_bytes() == data
    assert other.path(sha256).is_relative_to(tmp_path / "two")


def test_a_cache_of_an_earlier_life_is_not_trusted(bucket: S3Bucket, tmp_path: Path) -> None:
    sha256 = _keep(S3Blobs(bucket, tmp_path), b"abc")
    S3Blobs(bucket, tmp_path).path(sha256).write_bytes(b"")
    assert S3Blobs(bucket, tmp_path).read(sha256, 0, 3) == b"abc"
    assert S3Blobs(bucket, tmp_path).path(sha256).read_bytes() == b"abc"


def test_a_full_cache_keeps_what_was_used_last(bucket: S3Bucket, tmp_path: Path) -> None:
    store = S3Blobs(bucket, tmp_path, cache_bytes=3_000)
    blobs = {_keep(store, data): data for data in (os.urandom(1_000) for _ in range(8))}
    kept = [path for path in tmp_path.glob("??/*") if path.is_file()]
    assert 1 <= len(kept) <= 3
    for sha256, data in blobs.items():
        assert store.path(sha256).read_bytes() == data


def test_damage_in_the_bucket_is_not_passed_on(bucket: S3Bucket, tmp_path: Path) -> None:
    sha256 = _keep(S3Blobs(bucket, tmp_path / "one"), b"abc")
    obstore.put(bucket.open(), f"{sha256[:2]}/{sha256[2:]}", b"xbc")
    other = S3Blobs(bucket, tmp_path / "two")
    with pytest.raises(Unavailable, match="is damaged in the S3 store"):
        other.path(sha256)
    assert not [path for path in (tmp_path / "two").rglob("*") if path.is_file()]


def test_a_wrong_key_a_missing_bucket_and_a_server_that_is_away(
    bucket: S3Bucket, tmp_path: Path
) -> None:
    for changed, text in (
        ({"secret_access_key": "wrong"}, "refuses the server's access key"),
        ({"bucket": "nowhere"}, "there is no bucket s3://nowhere/"),
        ({"endpoint": "http://127.0.0.1:9"}, "cannot be reached"),
    ):
        store = S3Blobs(replace(bucket, **changed), tmp_path / "x")
        upload = store.begin("job-1", b"")
        upload.write(b"abc")
        with pytest.raises(Unavailable, match=text) as refused:
            upload.finish()
        assert "testing" not in refused.value.message
        upload.pause()
        assert store.unfinished() == ["job-1"], "it is put when the store is back"
    back = S3Blobs(bucket, tmp_path / "x")
    assert back.resume("job-1").finish().sha256 == hashlib.sha256(b"abc").hexdigest()
    assert "testing" not in repr(bucket)


def test_what_is_not_there(store: S3Blobs) -> None:
    for ask in (store.path, store.size, lambda name: store.read(name, 0, 1)):
        with pytest.raises(NotFound):
            ask("0" * 64)


@pytest.mark.parametrize("presigned", [False, True])
def test_devices_send_to_the_server_and_fetch_from_where_it_says(
    bucket: S3Bucket, tmp_path: Path, presigned: bool
) -> None:
    data = os.urandom(1_500_000)
    store = S3Blobs(bucket, tmp_path, presigned=presigned)
    with (
        blob_world(tmp_path, store=store, access=FakeAccess(store)) as world,
        world.client() as client,
    ):
        assert client.post("", headers=creation(data), content=data).status_code == 201
        (head,) = world.access.delivered_heads
        world.access.readable[head.sha256] = len(data)
        answer = client.get(f"/{head.sha256}")
        if not presigned:
            assert answer.content == data
            return
        assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
        assert httpx.get(answer.headers["location"]).content == data


def test_a_backup_brings_the_files_of_a_bucket_back(bucket: S3Bucket, tmp_path: Path) -> None:
    def settings(home: str, prefix: str) -> ServerSettings:
        return ServerSettings(
            home=tmp_path / home,
            blobs_url=f"s3://{bucket.bucket}/{prefix}",
            s3_endpoint=bucket.endpoint,
            s3_access_key_id=bucket.access_key_id,
            s3_secret_access_key=bucket.secret_access_key,
        )

    old, new = settings("old", bucket.prefix), settings("new", f"{bucket.prefix}-new")
    db = Database(old.database)
    db.migrate()
    upload = open_blobs(old).begin()
    upload.write(b"abc")
    ref = upload.finish()
    with db.write() as session:
        record_blob(session, ref, 1.0)
    db.close()
    shutil.rmtree(tmp_path / "old" / "artifacts")
    assert backup(old, tmp_path / "backup.tar").damaged == {}
    restore(new, tmp_path / "backup.tar", "server.lock")
    assert open_blobs(new).check(ref.sha256) is None
    assert open_blobs(new).path(ref.sha256).read_bytes() == b"abc"
    assert "testing" not in repr(new)
