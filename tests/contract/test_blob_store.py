"""What every blob store promises."""

from __future__ import annotations

import hashlib
import os
import resource
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
import pytest
from s3_server import bucket_of

from fedops.core.errors import Invalid, NotFound, Unavailable
from fedops.storage.blobs import BlobStore, WrongDigest, keep
from fedops.storage.folder_blobs import FolderBlobs
from fedops.storage.s3 import S3Blobs

ABC = hashlib.sha256(b"abc").hexdigest()


Make = Callable[..., BlobStore]


@pytest.fixture(params=["folder", "s3"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens the same store each time, as a server does that starts again, or another process of it."""
    folder = tmp_path / "artifacts"
    if request.param == "folder":
        return lambda **options: FolderBlobs(folder, **options)
    bucket = bucket_of(request.getfixturevalue("s3"), uuid.uuid4().hex)
    return lambda **options: S3Blobs(bucket, folder, **options)


@pytest.fixture
def store(make: Make) -> BlobStore:
    return make()


def _keep(store: BlobStore, *blocks: bytes) -> str:
    upload = store.begin()
    for block in blocks:
        upload.write(block)
    return upload.finish().sha256


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_named_by_its_content(store: BlobStore) -> None:
    upload = store.begin()
    upload.write(b"ab")
    upload.write(b"")
    upload.write(b"c")
    assert upload.size == 3
    ref = upload.finish(ABC)
    assert (ref.sha256, ref.size) == (ABC, 3)
    assert store.path(ABC).read_bytes() == b"abc"
    assert (store.size(ABC), store.exists(ABC), store.check(ABC)) == (3, True, None)


def test_the_same_content_is_kept_once_and_may_come_again(store: BlobStore) -> None:
    assert _keep(store, b"abc") == _keep(store, b"a", b"bc")
    assert store.path(_keep(store, b"")).read_bytes() == b""
    assert sorted(store.stored(-5.0)) == sorted([ABC, hashlib.sha256(b"").hexdigest()])
    assert list(store.stored(60.0)) == []


def test_an_upload_that_breaks_off_leaves_nothing(store: BlobStore) -> None:
    upload = store.begin()
    upload.write(b"abc")
    upload.abort()
    assert not store.exists(ABC)
    with pytest.raises(NotFound, match="no blob ba7816"):
        store.path(ABC)


def test_abort_after_finish_is_harmless(store: BlobStore) -> None:
    upload = store.begin()
    upload.write(b"abc")
    ref = upload.finish()
    upload.abort()
    assert store.path(ref.sha256).read_bytes() == b"abc"


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65])
def test_only_digests_name_files(store: BlobStore, name: str) -> None:
    for ask in (store.path, store.size, store.exists, store.check, lambda n: store.read(n, 0, 1)):
        with pytest.raises(Invalid, match="is no sha256"):
            ask(name)
    store.remove(name)


def test_removing_is_repeatable(store: BlobStore) -> None:
    _keep(store, b"abc")
    store.remove(ABC)
    store.remove(ABC)
    for ask in (store.path, store.size, lambda name: store.read(name, 0, 1)):
        with pytest.raises(NotFound):
            ask(ABC)
    assert store.check(ABC) == "its file is missing"


def test_any_piece_can_be_read(store: BlobStore) -> None:
    data = os.urandom(300_000)
    sha256 = _keep(store, data)
    assert store.read(sha256, 0, len(data)) == data
    assert store.read(sha256, 1_000, 5) == data[1_000:1_005]
    assert store.read(sha256, 0, 0) == b""
    with pytest.raises(Unavailable, match="it ends at byte 300,000"):
        store.read(sha256, 299_999, 2)


def test_another_content_than_announced_is_refused(store: BlobStore) -> None:
    upload = store.begin()
    upload.write(b"abd")
    with pytest.raises(WrongDigest, match="was announced"):
        upload.finish(ABC)
    upload.abort()
    assert not store.exists(ABC)


def test_an_upload_is_gone_on_with_after_a_restart(store: BlobStore, make: Make) -> None:
    upload = store.begin("job-1", b'{"a": 1}')
    upload.write(b"a", b"b")
    upload.pause()
    upload.pause()
    store.clean()
    again = make()
    assert again.unfinished() == ["job-1"]
    found = again.resume("job-1")
    assert (found.size, found.note) == (2, b'{"a": 1}')
    found.write(b"c")
    staged = found.stage(ABC)
    assert again.unfinished() == ["job-1"], "until its row is committed"
    assert keep(staged).size == 3
    assert again.unfinished() == []
    with pytest.raises(NotFound, match="no unfinished upload 'job-1'"):
        again.resume("job-1")
    assert again.path(ABC).read_bytes() == b"abc"


def test_a_paused_upload_goes_on_from_what_the_disk_has(store: BlobStore, tmp_path: Path) -> None:
    upload = store.begin("job-1", b"")
    upload.write(b"abx")
    upload.pause()
    os.truncate(tmp_path / "artifacts" / "incoming" / "job-1", 2)
    assert upload.reopen() == 2
    upload.write(b"c")
    assert upload.finish().sha256 == ABC


def test_an_upload_that_is_begun_again_begins_from_nothing(store: BlobStore) -> None:
    first = store.begin("job-1", b"1")
    first.write(b"xyz")
    first.pause()
    second = store.begin("job-1", b"2")
    second.write(b"abc")
    second.secure()
    assert store.resume("job-1").note == b"2"
    assert second.finish(ABC).size == 3


def test_each_step_to_the_end_may_be_repeated(store: BlobStore) -> None:
    upload = store.begin("job-1", b"")
    upload.write(b"abc")
    staged = upload.stage()
    for _ in range(2):
        staged.sync()
        staged.place()
    assert store.path(ABC).read_bytes() == b"abc"
    staged.done()
    staged.done()
    assert store.path(ABC).read_bytes() == b"abc"


def test_an_upload_that_was_given_up_is_not_made_durable(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    upload = store.begin("job-1", b"")
    upload.write(b"abc")
    staged = upload.stage()
    store.discard("job-1")
    upload.abort()
    with pytest.raises(Unavailable, match="was given up"):
        staged.sync()
    assert not store.exists(ABC)


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "a.note", "x" * 129])
def test_names_of_uploads_stay_in_their_folder(store: BlobStore, name: str) -> None:
    for ask in (store.resume, store.discard, lambda n: store.begin(n or "/", b"")):
        with pytest.raises(Invalid, match="no name of an upload"):
            ask(name)


def test_a_file_of_this_machine_is_taken_over(store: BlobStore, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"abc")
    file.chmod(0o400)
    assert keep(store.adopt(file, ABC)).size == 3
    assert keep(store.adopt(file)).sha256 == ABC
    file.unlink()
    assert store.path(ABC).read_bytes() == b"abc"


def test_what_cannot_be_taken_over(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abd")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(WrongDigest):
        store.adopt(tmp_path / "file", ABC)
    with pytest.raises(NotFound, match="no file none"):
        store.adopt(tmp_path / "none")
    for name in ("link", "."):
        with pytest.raises(Invalid, match="is no file"):
            store.adopt(tmp_path / name)
    assert _files(tmp_path / "artifacts") == []
    assert (tmp_path / "file").read_bytes() == b"abd"


def _damage(store: BlobStore) -> None:
    if isinstance(store, S3Blobs):
        obstore.put(store._store, f"{ABC[:2]}/{ABC[2:]}", b"xbc")
    else:
        store.path(ABC).write_bytes(b"xbc")


def test_a_damaged_file_is_noticed_and_mended_by_another_upload(store: BlobStore) -> None:
    _keep(store, b"abc")
    _damage(store)
    said = store.check(ABC)
    assert said is not None
    assert said.startswith("its file is damaged: its sha256 is ")
    _keep(store, b"abc")
    assert store.check(ABC) is None


@contextmanager
def _disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond ``size``, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_unavailable_and_what_came_stays(store: BlobStore, tmp_path: Path) -> None:
    upload = store.begin("job-1", b"")
    upload.write(b"a")
    with _disk_of(2), pytest.raises(Unavailable, match="the server's disk is full"):
        upload.write(b"b", b"c")
    assert upload.reopen() == 1
    upload.write(b"b", b"c")
    assert upload.finish().sha256 == ABC
    other = store.begin()
    with _disk_of(2), pytest.raises(Unavailable):
        other.write(b"xyz")
    other.abort()
    assert _files(tmp_path / "artifacts" / "incoming") == []


def test_what_an_earlier_life_left_is_removed(tmp_path: Path) -> None:
    kept = _keep(FolderBlobs(tmp_path), b"abc")
    half = FolderBlobs(tmp_path).begin("half", b"")
    half.write(b"half")
    half.secure()
    store = FolderBlobs(tmp_path)
    still = store.begin("open", b"")
    still.secure()
    store.clean()
    assert sorted(store.unfinished()) == ["half", "open"]
    store.clean(older_than=0.0)
    assert store.unfinished() == ["open"]
    still.abort()
    assert _files(tmp_path) == [store.path(kept)]
    half.abort()


def test_who_goes_on_with_an_upload_is_not_disturbed_by_the_process_that_had_it(make: Make) -> None:
    """The first one's connection is half open: what was on the way there arrives after all."""
    first, second = make(shared=True), make(shared=True)
    cut = first.begin("upload", b"note")
    cut.write(b"a")
    cut.secure()
    taken = second.resume("upload")
    assert (taken.size, taken.note) == (1, b"note")
    cut.write(b"XY")
    taken.write(b"b")
    cut.write(b"Z")
    cut.pause()
    taken.write(b"c")
    assert keep(taken.stage(ABC)).size == 3
    assert [store.read(ABC, 0, 3) for store in (first, second)] == [b"abc", b"abc"]
    assert first.check(ABC) is None


def test_an_upload_that_another_process_took_over_is_not_kept_by_the_first(make: Make) -> None:
    first, second = make(shared=True), make(shared=True)
    cut = first.begin("upload", b"note")
    cut.write(b"ab")
    cut.secure()
    taken = second.resume("upload")
    cut.write(b"c")
    staged = cut.stage(ABC)  # all of it came after all
    staged.sync()
    with pytest.raises(Unavailable, match="taken over by another server"):
        staged.place()
    cut.pause()
    taken.write(b"c")
    assert keep(taken.stage(ABC)).size == 3
    assert second.unfinished() == []


def test_an_upload_goes_from_one_process_to_another_and_back(make: Make) -> None:
    first, second = make(shared=True), make(shared=True)
    here = first.begin("upload", b"note")
    here.write(b"a")
    here.pause()
    there = second.resume("upload")
    there.write(b"x")  # damaged on its way: only who is told the digest can know
    here.reopen()
    assert here.size == 2, "what the other one added is known"
    there.write(b"y")
    there.reopen()
    assert there.size == 2, "its file is not the one that counts any more"
    here.reopen()
    here.write(b"c")
    with pytest.raises(WrongDigest):
        here.stage(ABC)
    there.pause()
    assert not first.exists(ABC)


def test_what_an_upload_does_not_hold_any_more_is_no_complete_file(make: Make) -> None:
    first, second = make(shared=True), make(shared=True)
    here = first.begin("upload", b"note")
    here.write(b"abc")
    staged = here.stage(ABC)
    here.pause()
    there = second.resume("upload")
    there.pause()
    here.reopen()
    assert staged.ref.sha256 == "", "it is another process's copy, not known to be this content"
    assert keep(here.stage(ABC)).size == 3


def test_two_processes_that_place_the_same_content_at_once_both_have_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = [make(shared=True).begin(f"upload-{number}", b"") for number in range(2)]
    for upload in uploads:
        upload.write(b"abc")
    first, second = (upload.stage(ABC) for upload in uploads)
    link = os.link

    def meanwhile(*given: object, **more: object) -> None:
        link(*given, **more)  # type: ignore[arg-type]
        monkeypatch.setattr(os, "link", link)
        second.place()

    monkeypatch.setattr(os, "link", meanwhile)
    first.place()
    for staged in (first, second):
        staged.done()
    store = make(shared=True)
    assert store.path(ABC).read_bytes() == b"abc"
    assert store.unfinished() == []


def test_bytes_that_somebody_else_wrote_are_noticed(store: BlobStore, tmp_path: Path) -> None:
    upload = store.begin("upload", b"")
    upload.write(b"abc")
    with (tmp_path / "artifacts" / "incoming" / "upload").open("ab") as file:
        file.write(b"d")
    with pytest.raises(Unavailable, match="other bytes"):
        upload.stage(ABC)
    assert upload.reopen() == 4


def test_an_upload_that_another_process_began_anew_is_kept_by_that_one_alone(
    tmp_path: Path,
) -> None:
    """Two servers share the folder: the device's first connection was cut when all of it had arrived."""
    first, second = (FolderBlobs(tmp_path / "artifacts") for _ in range(2))
    cut = first.begin("upload", b"note")
    cut.write(b"abc")
    staged = cut.stage(ABC)
    staged.sync()
    anew = second.begin("upload", b"note")
    anew.write(b"a")
    with pytest.raises(Unavailable, match="another server"):
        staged.place()
    assert not first.exists(ABC)
    cut.pause()
    anew.write(b"bc")
    assert keep(anew.stage(ABC)).sha256 == ABC
    assert (first.check(ABC), second.unfinished()) == (None, [])
