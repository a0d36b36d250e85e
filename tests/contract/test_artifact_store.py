"""What every artifact store promises."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fedops.core.errors import Invalid, NotFound, Unavailable
from fedops.server.artifacts import ArtifactStore, LocalArtifacts


@pytest.fixture(params=["local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    return {"local": LocalArtifacts}[request.param](tmp_path / "artifacts")


def _keep(store: ArtifactStore, *blocks: bytes) -> str:
    upload = store.begin()
    for block in blocks:
        upload.write(block)
    return upload.finish().sha256


def test_a_file_is_named_by_its_content(store: ArtifactStore) -> None:
    upload = store.begin()
    upload.write(b"ab")
    upload.write(b"")
    upload.write(b"c")
    assert upload.size == 3
    ref = upload.finish()
    assert ref.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert ref.size == 3
    assert store.path(ref.sha256).read_bytes() == b"abc"


def test_the_same_content_is_kept_once_and_may_come_again(store: ArtifactStore) -> None:
    assert _keep(store, b"abc") == _keep(store, b"a", b"bc")
    assert store.path(_keep(store, b"")).read_bytes() == b""


def test_an_upload_that_breaks_off_leaves_nothing(store: ArtifactStore) -> None:
    upload = store.begin()
    upload.write(b"abc")
    upload.abort()
    with pytest.raises(NotFound, match="no artifact ba7816"):
        store.path(hashlib.sha256(b"abc").hexdigest())


def test_abort_after_finish_is_harmless(store: ArtifactStore) -> None:
    upload = store.begin()
    upload.write(b"abc")
    ref = upload.finish()
    upload.abort()
    assert store.path(ref.sha256).read_bytes() == b"abc"


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65])
def test_only_digests_name_files(store: ArtifactStore, name: str) -> None:
    with pytest.raises(Invalid, match="is no sha256"):
        store.path(name)
    store.remove(name)


def test_removing_is_repeatable(store: ArtifactStore) -> None:
    sha256 = _keep(store, b"abc")
    store.remove(sha256)
    store.remove(sha256)
    with pytest.raises(NotFound):
        store.path(sha256)


def test_a_full_disk_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    store = LocalArtifacts(tmp_path)
    upload = store.begin()
    upload._file.close()  # type: ignore[attr-defined]
    upload._file = full.open("wb", buffering=0)  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="the server's disk is full"):
        upload.write(b"abc")
    upload.abort()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_what_an_earlier_life_left_is_removed(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path)
    kept = _keep(store, b"abc")
    half = store.begin()
    half.write(b"half")
    store.clean()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [store.path(kept)]
    half.abort()
