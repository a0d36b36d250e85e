"""Backup while a server works, restore beside what was there, and upgrades that can be undone."""

from __future__ import annotations

import json
import sqlite3
import tarfile
import threading
from pathlib import Path

import pytest
from alembic import command
from managing import World, managing
from typer.testing import CliRunner

from fedops.cli.commands.server import app
from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError, Invalid, NotFound
from fedops.processes.lock import hold_lock
from fedops.server.database import upgrade
from fedops.server.database.backup import backup
from fedops.server.database.backup_lock import UNFINISHED, require_finished
from fedops.server.database.database import Database
from fedops.server.database.restore import restore
from fedops.server.main import LOCK, run
from fedops.server.tls.endpoint import own_certificates
from fedops.settings import ServerSettings


@pytest.fixture
def world(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A server with one version, on SQLite."""
    with managing(tmp_path) as made:
        made.task()
        made.ready_devices("a")
        _train(made, 1.0)
        yield made


def _train(world: World, value: float) -> c.RunRead:
    run = world.operator.start_run("mnist", c.RunStart(overrides=["num_rounds=1"]))
    _, engine = world.open_attempt(run.id)
    if engine.hello(c.EngineHello(pid=1)).model is None:
        from managing import CONTRACT

        ref = engine.upload(world.model(0.0))
        engine.initial_model(c.ModelInit(model=ref.sha256, contract=CONTRACT))
    world.do_round(engine, 1, "a", value=value)
    engine.finish(c.EngineFinish(outcome="completed"))
    return world.operator.run(run.id)


def _settings(world: World) -> ServerSettings:
    return world.manager.services.settings


def test_a_backup_made_under_writes_is_whole_and_comes_back(world: World, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.005):
            world.operator.create_token(c.TokenCreate())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        report = backup(_settings(world), tmp_path / "b.tar")
    finally:
        stop.set()
        writer.join()
    assert (report.files, report.damaged) == (3, {})  # the bundle, V0 and V1
    assert (tmp_path / "b.tar").stat().st_mode & 0o077 == 0
    later = _train(world, 2.0)
    version = world.operator.model("mnist", "latest")
    other = tmp_path / "other"
    made = restore(ServerSettings(home=other / "server"), tmp_path / "b.tar", LOCK)
    assert (made.files, made.aside) == (3, None)
    with managing(other) as again:
        assert [m.version for m in again.operator.models("mnist")] == [0, 1]
        assert [f.problem for f in again.operator.verify_models()] == [None, None]
        assert again.operator.device("a").enrolment == "approved"
        again.ready_devices("b")
        run = again.operator.start_run("mnist", c.RunStart())
        assert run.id > later.id  # no number is given out twice
        with again.manager.services.db.read() as session:
            from fedops.server.database.tables import TaskRow

            assert session.get_one(TaskRow, "mnist").next_version > version.version


def test_a_restored_server_has_the_authority_that_devices_know(
    world: World, tmp_path: Path
) -> None:
    settings = _settings(world).model_copy(update={"tls": "on"})
    certificates = own_certificates(settings)
    assert certificates is not None
    certificates.ensure()
    certificates.rotate()
    backup(_settings(world), tmp_path / "b.tar")
    there = ServerSettings(home=tmp_path / "elsewhere", tls="on")
    other = own_certificates(there)
    assert other is not None
    other.ensure()  # of another server, which is put aside
    restore(there, tmp_path / "b.tar", LOCK)
    other.ensure()
    assert other.ca_file.read_bytes() == certificates.ca_file.read_bytes()
    assert (there.tls_folder / "authority.pem").stat().st_mode & 0o777 == 0o600


def test_a_backup_without_tls_leaves_the_authority_that_there_is(
    world: World, tmp_path: Path
) -> None:
    backup(_settings(world), tmp_path / "b.tar")
    there = ServerSettings(home=tmp_path / "elsewhere", tls="on")
    other = own_certificates(there)
    assert other is not None
    other.ensure()
    known = other.ca_file.read_bytes()
    restore(there, tmp_path / "b.tar", LOCK)
    assert other.ca_file.read_bytes() == known


def test_what_was_there_is_kept_aside(world: World, tmp_path: Path) -> None:
    backup(_settings(world), tmp_path / "b.tar")
    home = tmp_path / "third"
    settings = ServerSettings(home=home)
    (home / "artifacts").mkdir(parents=True)
    (home / "fedops.db").write_bytes(b"of before")
    (home / "admin-token").write_text("old")
    (home / UNFINISHED).touch()
    with pytest.raises(Conflict, match="was interrupted"):
        require_finished(home)
    with pytest.raises(Conflict, match="was interrupted"):
        run(settings, lambda *_: None)
    report = restore(settings, tmp_path / "b.tar", LOCK)
    assert report.aside
    assert (Path(report.aside) / "fedops.db").read_bytes() == b"of before"
    assert (Path(report.aside) / "admin-token").read_text() == "old"
    token = _settings(world).admin_token_file.read_text()
    assert (home / "admin-token").read_text() == token
    require_finished(home)
    assert not list(home.glob(".restore-*"))


def test_nothing_is_touched_while_a_server_runs_or_by_a_bad_file(
    world: World, tmp_path: Path
) -> None:
    good, home = tmp_path / "b.tar", tmp_path / "fourth"
    backup(_settings(world), good)
    home.mkdir()
    (home / "fedops.db").write_bytes(b"of before")
    settings = ServerSettings(home=home)
    with (
        hold_lock(home / LOCK, "a Server Manager"),
        pytest.raises(Conflict, match="already running"),
    ):
        restore(settings, good, LOCK)
    whole = good.read_bytes()
    bad = {
        "cut short": whole[: len(whole) // 2],
        "no archive": b"x" * 5_000,
        "a changed model": whole.replace(b"\x80?\x00\x00\x80?", b"\x80?\x00\x00\x81?"),
    }
    for what, content in bad.items():
        (tmp_path / "bad.tar").write_bytes(content)
        with pytest.raises(Invalid, match=r"no (whole )?backup"):
            restore(settings, tmp_path / "bad.tar", LOCK)
        assert (home / "fedops.db").read_bytes() == b"of before", what
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(good, "../../evil")
    with pytest.raises(Invalid, match=r"it holds '\.\./\.\./evil'"):
        restore(settings, tmp_path / "evil.tar", LOCK)
    with pytest.raises(NotFound, match="there is no backup"):
        restore(settings, tmp_path / "none.tar", LOCK)
    assert sorted(p.name for p in home.iterdir()) == ["fedops.db", LOCK]


def test_a_damaged_file_is_left_out_and_named(world: World, tmp_path: Path) -> None:
    model = world.operator.model("mnist", "V1")
    world.manager.services.artifacts.path(model.sha256).write_bytes(b"spoilt")
    done = CliRunner().invoke(
        app, ["backup", str(tmp_path / "b.tar"), "--home", str(_settings(world).home), "--json"]
    )
    assert done.exit_code == 1
    assert list(json.loads(done.stdout)["damaged"]) == [model.sha256]
    restore(ServerSettings(home=tmp_path / "fifth"), tmp_path / "b.tar", LOCK)


def test_what_cannot_be_backed_up(world: World, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    with pytest.raises(Conflict, match="never written over"):
        backup(_settings(world), tmp_path / "there")
    with pytest.raises(NotFound, match="no server's data"):
        backup(ServerSettings(home=tmp_path / "nowhere"), tmp_path / "b.tar")
    with pytest.raises(Invalid, match="no folder"):
        backup(_settings(world), tmp_path / "no" / "folder" / "b.tar")
    away = ServerSettings(home=tmp_path, database_url="postgresql+psycopg://h/x")
    for what in (
        lambda: backup(away, tmp_path / "b.tar"),
        lambda: restore(away, tmp_path / "b.tar", LOCK),
    ):
        with pytest.raises(Conflict, match="pg_dump"):
            what()


# --- upgrades --------------------------------------------------------------------------------


def _at_revision(file: Path, revision: str) -> None:
    db = Database(f"sqlite:///{file}")
    with db._durable.connect() as connection:
        command.upgrade(upgrade.config(connection), revision)
    db.close()


def test_an_upgrade_keeps_the_data_and_a_copy_of_before(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    _at_revision(file, "0001")
    with sqlite3.connect(file) as connection:
        connection.execute("INSERT INTO server_meta VALUES ('kept', 'yes')")
    connection.close()
    db = Database(f"sqlite:///{file}")
    db.migrate()
    db.migrate()  # nothing to do: no second copy
    db.close()
    (copy,) = (tmp_path / "backups").iterdir()
    assert copy.name.startswith("x-0001-")
    for path, revision in ((file, upgrade.head()), (copy, "0001")):
        found = sqlite3.connect(path)
        assert found.execute("SELECT version_num FROM alembic_version").fetchone() == (revision,)
        assert found.execute("SELECT value FROM server_meta").fetchone() == ("yes",)
        found.close()


def test_a_new_database_needs_no_copy(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/x.db")
    db.migrate()
    db.close()
    assert not (tmp_path / "backups").exists()


def test_without_a_copy_there_is_no_upgrade(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    _at_revision(file, "0001")
    (tmp_path / "backups").write_text("in the way")
    db = Database(f"sqlite:///{file}")
    with pytest.raises(FedOpsError, match="cannot be copied"):
        db.migrate()
    db.close()
    found = sqlite3.connect(file)
    assert found.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
    found.close()


def test_an_older_program_refuses_a_newer_database(tmp_path: Path) -> None:
    home = tmp_path / "server"
    file = home / "fedops.db"
    home.mkdir()
    _at_revision(file, "head")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = file.read_bytes()
    db = Database(f"sqlite:///{file}")
    with pytest.raises(Conflict, match=r"made by a newer FedOps \(its revision 9999"):
        db.migrate()
    db.close()
    assert file.read_bytes() == before
