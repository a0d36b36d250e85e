"""A database that another program holds, and a disk that is full: said clearly, and nothing is lost."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from managing import World, managing

from fedops.core import contracts as c
from fedops.core.errors import Unavailable
from fedops.server.database import database
from fedops.server.database.database import Database
from fedops.server.database.tables import MetaRow


def test_a_database_that_another_program_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.3)
    with managing(tmp_path) as world:
        world.task()
        device = world.ready_devices("a")["a"]
        run, engine = world.running()
        engine.begin_round(1, c.RoundBegin(selected={"a": "x"}))
        commit = world.commit(engine, 1, "a")
        record = c.DeviceRecord(id="metric-1", kind=c.RecordKind.METRIC, name="loss", value=1.0)
        other = sqlite3.connect(world.folder.parent / "server" / "fedops.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        _is_refused_for_now(world)
        with pytest.raises(Unavailable, match="locked; another program holds it"):
            engine.commit(commit)
        with pytest.raises(Unavailable, match="locked"):
            device.records(c.RecordBatch(records=[record]))
        with pytest.raises(Unavailable, match="locked"):
            device.poll(c.WorkPoll())
        with pytest.raises(Unavailable, match="locked"):
            world.manager.maintenance.step()
        assert world.operator.run(run.id).committed_rounds == 0  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        engine.commit(commit)
        assert device.records(c.RecordBatch(records=[record])).accepted == 1
        world.manager.maintenance.step()
        assert world.operator.run(run.id).committed_rounds == 1


def _is_refused_for_now(world: World) -> None:
    headers = dict(world.operator._http.headers)
    answer = httpx.post(f"{world.url}/api/v1/tokens", json={}, headers=headers, timeout=60.0)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert c.ErrorReply.model_validate_json(answer.content).kind == "unavailable"


def test_a_row_that_another_program_holds(
    database_url: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.3)
    db = Database(database_url or f"sqlite:///{tmp_path}/x.db")
    db.migrate()
    with db.write() as session:
        session.add(MetaRow(key="a", value="1"))
    other = sa.create_engine(db.url)
    with other.connect() as connection:
        connection.execute(sa.text("UPDATE server_meta SET value = '2'"))
        with pytest.raises(Unavailable, match="another program holds it"):
            _set(db, "3")
        connection.rollback()
    _set(db, "4")
    with db.read() as session:
        assert session.get_one(MetaRow, "a").value == "4"
    other.dispose()
    db.close()


def _set(db: Database, value: str) -> None:
    with db.write() as session:
        session.get_one(MetaRow, "a", with_for_update=True).value = value


#: Fills the disk by a limit on the size of files, then tries to write to the store and the database.
FULL = """
import json, resource, sys
from pathlib import Path
from fedops.core.errors import Unavailable
from fedops.storage.folder_blobs import FolderBlobs
from fedops.server.database.database import Database
from fedops.server.database.tables import MetaRow

home = Path(sys.argv[1])
store, db = FolderBlobs(home / "artifacts"), Database(f"sqlite:///{home}/x.db")

def keep(content):
    upload = store.begin()
    try:
        upload.write(content)
        return upload.finish().sha256
    finally:
        upload.abort()

def put(key, value):
    with db.write() as session:
        session.add(MetaRow(key=key, value=value))

def tried(what):
    try:
        what()
    except Unavailable as error:
        return error.message
    return "it was possible"

db.migrate()
put("before", "1")
said = {"kept": keep(b"x" * 10_000)}
limit = (home / "x.db-wal").stat().st_size + 50_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
said["store"] = tried(lambda: keep(b"y" * (limit + 1)))
said["database"] = tried(lambda: put("too much", "z" * limit))
put("small", "2")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
put("after", "3")
said["again"] = keep(b"y" * (limit + 1))
with db.read() as session:
    said["keys"] = sorted(session.scalars(__import__("sqlalchemy").select(MetaRow.key)))
print(json.dumps(said))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there a process has no limit of file sizes")
def test_a_full_disk_is_said_and_spoils_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "the server's disk is full" in said["store"]
    assert "free some space and repeat: nothing was changed" in said["database"]
    assert said["keys"] == ["after", "before", "small"]
    root = tmp_path / "artifacts"
    files = {p.parent.name + p.name for p in root.rglob("*") if p.is_file()}
    assert files == {said["kept"], said["again"]}  # and nothing half
