"""Group commit: together when all goes well, each by itself when one fails."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from fedops.core.errors import Conflict, Unavailable
from fedops.server.database import database
from fedops.server.database.database import Database
from fedops.server.database.tables import MetaRow
from fedops.server.database.writer import Writer
from fedops.server.events.notifications import DeviceChanged, Notice, notify
from fedops.storage.blobs import Staged
from fedops.storage.folder_blobs import FolderBlobs


class Bench:
    """A database with a writer, and what became of them."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.commits = 0
        self.heard: list[Notice] = []
        db.listener = self.heard.append
        self.writer = Writer(db)

    def keys(self) -> set[str]:
        with self.db.read() as session:
            return {row.key for row in session.query(MetaRow) if row.key.startswith("k")}


@pytest.fixture
def bench(database_url: str | None, tmp_path: Path) -> Iterator[Bench]:
    db = Database(database_url or f"sqlite:///{tmp_path}/x.db")
    db.migrate()
    bench = Bench(db)

    def counted(_: object) -> None:
        bench.commits += 1

    event.listen(Session, "after_commit", counted)
    yield bench
    bench.writer.close()
    event.remove(Session, "after_commit", counted)
    db.close()


def _add(key: str) -> Callable[[Session], str]:
    def work(session: Session) -> str:
        session.add(MetaRow(key=key, value="x"))
        notify(session, DeviceChanged(key))
        return f"{key} is in"

    return work


def _refuse(session: Session) -> None:
    session.add(MetaRow(key="k-refused", value="x"))
    raise Conflict("not this one")


def _staged(store: FolderBlobs, data: bytes) -> Staged:
    upload = store.begin(hashlib.sha256(data).hexdigest()[:8], b"")
    upload.write(data)
    upload.secure()
    return upload.stage()


async def _all(bench: Bench, *works: Callable[[Session], object]) -> list[object]:
    """Hand in everything before the writer begins, so that it is one group."""
    tasks = [asyncio.create_task(bench.writer.submit(work)) for work in works]
    await asyncio.sleep(0)
    bench.writer.start()
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def test_what_waits_is_written_in_one_transaction(bench: Bench) -> None:
    answers = asyncio.run(_all(bench, *(_add(f"k{number}") for number in range(50))))
    assert answers == [f"k{number} is in" for number in range(50)]
    assert bench.commits == 1
    assert bench.keys() == {f"k{number}" for number in range(50)}
    assert len(bench.heard) == 50


def test_one_that_fails_fails_alone(bench: Bench) -> None:
    first, refused, twice, last = asyncio.run(
        _all(bench, _add("k1"), _refuse, _add("k1"), _add("k2"))
    )
    assert (first, last) == ("k1 is in", "k2 is in")
    assert isinstance(refused, Conflict)
    assert type(twice).__name__ == "IntegrityError"
    assert bench.keys() == {"k1", "k2"}
    assert bench.heard == [DeviceChanged("k1"), DeviceChanged("k2")]


def test_a_thread_may_wait_too(bench: Bench) -> None:
    bench.writer.start()
    assert bench.writer.call(_add("k1")) == "k1 is in"
    with pytest.raises(Conflict, match="not this one"):
        bench.writer.call(_refuse)
    assert bench.keys() == {"k1"}


def test_files_are_in_their_place_before_anybody_is_answered(bench: Bench, tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path / "blobs")
    files = [_staged(store, data) for data in (b"a", b"b", b"c")]
    bench.writer.start()
    bench.writer.call(_add("k1"), files)
    assert all(store.check(file.ref.sha256) is None for file in files)
    assert store.unfinished() == []


def test_files_of_a_change_that_was_refused_stay_unfinished(bench: Bench, tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path / "blobs")
    file = _staged(store, b"a")
    bench.writer.start()
    with pytest.raises(Conflict):
        bench.writer.call(_refuse, [file])
    assert len(store.unfinished()) == 1
    assert not store.exists(file.ref.sha256)
    bench.writer.call(_add("k1"), [file])
    assert store.exists(file.ref.sha256)


class _Homeless:
    """A file that gets no name, as where its folder has no room for one more."""

    def __init__(self, file: Staged) -> None:
        self._file = file
        self.ref, self.sync, self.done = file.ref, file.sync, file.done

    def place(self) -> Path | None:
        raise Unavailable("the disk is full")


def _lost(file: Staged) -> Staged:
    file.done()
    return file


@pytest.mark.parametrize("spoilt", [_lost, _Homeless], ids=["no-bytes", "no-place"])
def test_a_file_that_cannot_be_stored_is_the_matter_of_one(
    bench: Bench, tmp_path: Path, spoilt: Callable[[Staged], Staged]
) -> None:
    store = FolderBlobs(tmp_path / "blobs")
    good, lost = _staged(store, b"a"), spoilt(_staged(store, b"b"))

    async def both() -> list[object]:
        tasks = [
            asyncio.create_task(bench.writer.submit(_add(key), [file]))
            for key, file in (("k1", good), ("k2", lost))
        ]
        await asyncio.sleep(0)
        bench.writer.start()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    first, second = asyncio.run(both())
    assert first == "k1 is in"
    assert isinstance(second, Unavailable)
    assert bench.keys() == {"k1"}


def test_a_database_that_is_held_refuses_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.05)
    db = Database(f"sqlite:///{tmp_path}/x.db")
    db.migrate()
    bench = Bench(db)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answers = asyncio.run(_all(bench, *(_add(f"k{number}") for number in range(20))))
    assert {type(answer) for answer in answers} == {Unavailable}
    other.execute("ROLLBACK")
    other.close()
    assert bench.writer.call(_add("k1")) == "k1 is in"
    bench.writer.close()
    db.close()


def test_a_caller_that_left_disturbs_nobody(bench: Bench) -> None:
    async def leaving() -> None:
        left = asyncio.create_task(bench.writer.submit(_add("k1")))
        stays = asyncio.create_task(bench.writer.submit(_add("k2")))
        await asyncio.sleep(0)
        left.cancel()
        bench.writer.start()
        assert await stays == "k2 is in"

    asyncio.run(leaving())
    assert bench.keys() == {"k1", "k2"}


def test_what_was_handed_in_is_written_before_the_end(bench: Bench) -> None:
    threads = [
        threading.Thread(target=bench.writer.call, args=(_add(f"k{number}"),))
        for number in range(8)
    ]
    bench.writer.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.writer.close()
    assert len(bench.keys()) == 8
    with pytest.raises(Unavailable, match="the server is ending"):
        bench.writer.call(_add("k9"))
