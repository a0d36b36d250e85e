"""What there was before devices had a protocol of their own goes on: databases, homes, tokens, backups."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from before_engine import AFTERWARDS, copy_database, move_to, unpack, unpack_backup
from managing import Device, World, idle, managing
from postgres import KINDS, POSTGRES, fresh_database

from fedops.client.device.data_dir import DataDir, load_key
from fedops.client.training.round_memory import RoundStore
from fedops.core import contracts as c
from fedops.core.errors import Forbidden
from fedops.core.states import AttemptStatus, RunStatus
from fedops.server.database import upgrade
from fedops.server.database.database import Database
from fedops.server.database.restore import restore
from fedops.server.main import LOCK
from fedops.settings import ServerSettings

FINISHED, PAUSED, RUNNING = 1, 2, 3


@pytest.fixture(params=KINDS)
def old_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    """The database of a server of before. None: SQLite in the server's folder."""
    unpack(tmp_path)
    if request.param == "sqlite":
        yield None
        return
    assert POSTGRES
    with fresh_database(POSTGRES, f"test_{uuid.uuid4().hex}") as url:
        copy_database(tmp_path / "server" / "fedops.db", url)
        yield url


@pytest.fixture
def world(tmp_path: Path, old_database: str | None) -> Iterator[World]:
    with managing(tmp_path, old_database, now=AFTERWARDS) as made:
        yield made


def device_of(world: World, home: Path) -> Device:
    """A device with the token that its home has had all the time."""
    device = Device(world.url, move_to(home, world.url).token)
    world._open.append(device)
    return device


def test_what_lived_is_lost_and_resumes_and_all_else_stays(world: World) -> None:
    runs = {run.id: run for run in world.operator.runs()}
    assert {id_: run.status for id_, run in runs.items()} == {
        FINISHED: RunStatus.COMPLETED,
        PAUSED: RunStatus.PAUSED,
        RUNNING: RunStatus.RESUMING,
    }
    assert [run.committed_rounds for run in runs.values()] == [
        {FINISHED: 2, PAUSED: 1, RUNNING: 1}[id_] for id_ in runs
    ]
    ended = {id_: run.attempts[-1].status for id_, run in runs.items()}
    assert ended == {FINISHED: "ended", PAUSED: "ended", RUNNING: AttemptStatus.LOST}
    assert "FedOps was upgraded" in runs[RUNNING].why
    events = [(e.name, e.data.get("before")) for e in world.operator.events(run_id=RUNNING)]
    assert events[-2:] == [("attempt.lost", "running"), ("run.resuming", "running")]
    assert [r.round for r in world.operator.rounds(FINISHED)] == [1, 2]
    assert [p.status for p in world.operator.rounds(FINISHED)[1].participations] == ["replied"] * 2
    assert [m.version for m in world.operator.models("first")] == [0, 1]
    assert [f.problem for f in world.operator.verify_models()] == [None] * 4
    assert {d.name: d.enrolment for d in world.operator.devices()} == {
        "ada": "approved",
        "bob": "approved",
        "eve": "revoked",
    }
    assert {task.name: task.devices for task in world.operator.tasks()} == {
        name: ["ada", "bob"] for name in ("first", "second", "third")
    }
    with world.manager.services.db.read() as session:
        found = session.scalars(sa.text("SELECT node_number FROM devices")).all()
    assert len(set(found)) == 3
    assert all(2**62 <= number < 2**63 for number in found)


def test_runs_of_before_go_on_with_the_devices_of_before(world: World, tmp_path: Path) -> None:
    devices = {name: device_of(world, tmp_path / name) for name in ("ada", "bob")}
    for device in devices.values():
        device.poll(idle("third").model_copy(update={"tasks": ["first", "second", "third"]}))
    world.operator.resume_run(PAUSED)
    for run_id, round_ in ((RUNNING, 2), (PAUSED, 2)):
        _, engine = world.open_attempt(run_id)
        spec = engine.hello(c.EngineHello(pid=1))
        assert (spec.next_round, spec.open_round) == (round_, None)
        assert spec.model is not None
        assert (spec.strategy_state is None) == (run_id == RUNNING)
        ready = {d.device: d.unavailable for d in engine.candidates().candidates}
        assert ready == {"ada": None, "bob": None}
        offers = c.OfferBatch(
            instructions=[_document(spec.model)],
            offers=[c.OfferRequest(device=name, kind="train", instruction=0) for name in devices],
            deadline_seconds=60.0,
            model=spec.model.sha256,
        )
        selected = dict.fromkeys(devices, "all of them")
        engine.begin_round(round_, c.RoundBegin(selected=selected, offers=offers))
        assert {device.take().round for device in devices.values()} == {round_}
        engine.commit(world.commit(engine, round_, *devices))
        for device in devices.values():
            device.held.clear()
    assert world.operator.run(RUNNING).committed_rounds == 2


def _document(model: c.BlobRef) -> dict[str, object]:
    blob = {"sha256": model.sha256, "size": model.size}
    arrays = {"type": "array", "tensors": [["out.bias", "out.bias"]], "blob": blob}
    return {"version": 1, "records": {"arrays": arrays}}


def test_a_device_of_before_is_known_by_its_key(world: World, tmp_path: Path) -> None:
    ada = device_of(world, tmp_path / "ada")
    assert ada.me().name == "ada"
    again, device = world.join("other", load_key(DataDir(tmp_path / "ada").device_key))
    assert (again.name, again.device_id) == ("ada", world.operator.device("ada").id)
    assert device.poll(idle("third")).tasks == ["third"]
    with pytest.raises(Forbidden, match="revoked"):
        ada.poll()  # its former token


def test_a_revoked_home_stays_out(world: World, tmp_path: Path) -> None:
    eve = device_of(world, tmp_path / "eve")
    with pytest.raises(Forbidden, match="'eve' was revoked"):
        eve.poll(idle("third"))
    with pytest.raises(Forbidden, match="'eve' was revoked"):
        world.join("eve", load_key(DataDir(tmp_path / "eve").device_key))


def test_the_round_files_of_a_device_are_read(tmp_path: Path) -> None:
    unpack(tmp_path)
    said: list[object] = []
    files = RoundStore(
        DataDir(tmp_path / "ada").rounds, lambda *told, **data: said.append((told, data))
    )
    kept = {task: len(files.load_checkpoint(task)) for task in ("first", "second", "third")}
    assert (kept, said) == ({"first": 2, "second": 2, "third": 1}, [])


def test_a_backup_of_before_is_brought_back(tmp_path: Path) -> None:
    settings = ServerSettings(home=tmp_path / "server")
    report = restore(settings, unpack_backup(tmp_path / "b.tar"), LOCK)
    assert (report.files, report.aside) == (6, None)
    with managing(tmp_path, now=AFTERWARDS) as world:
        assert {run.id: run.status.value for run in world.operator.runs()} == {
            FINISHED: "completed",
            PAUSED: "paused",
            RUNNING: "resuming",
        }
        assert [f.problem for f in world.operator.verify_models()] == [None] * 4


def test_the_step_can_be_taken_back(tmp_path: Path) -> None:
    unpack(tmp_path)
    db = Database(f"sqlite:///{tmp_path}/server/fedops.db")
    db.migrate()
    with db._durable.connect() as connection:
        command.downgrade(upgrade.config(connection), "0004")
    db.close()
    with sqlite3.connect(tmp_path / "server" / "fedops.db") as found:
        columns = {row[1] for row in found.execute("PRAGMA table_info(attempts)")}
        assert {"engine_run_id", "generation"} <= columns
        assert found.execute("SELECT count(*) FROM run_devices").fetchone() == (0,)
