"""Two Server Managers on one PostgreSQL: what one does, the other knows, and one of them leads."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest
import sqlalchemy as sa
from managing import CONTRACT, Device, Engine, World, idle, replied
from postgres import fresh_database
from serving import serving

from fedops.core import contracts as c
from fedops.core.errors import Conflict, NotFound, Unavailable
from fedops.core.states import AssignmentStatus, AttemptStatus, RunStatus
from fedops.server.app import create_app, front
from fedops.server.database import database as db_module
from fedops.server.database.database import Database
from fedops.server.jobs.engine_process import EngineTicket
from fedops.server.jobs.maintenance import SWEEP_SECONDS
from fedops.server.peers.lease import LEASE_SECONDS, MARGIN_SECONDS, Lease
from fedops.server.peers.line import CHANNEL
from fedops.server.rounds.engine_session import spool_dir
from fedops.settings import ServerSettings
from fedops.testing import FakeClock, FakeEngines

POSTGRES = os.environ.get("FEDOPS_TEST_POSTGRES")
pytestmark = pytest.mark.skipif(POSTGRES is None, reason="FEDOPS_TEST_POSTGRES names no server")
HEARTBEAT_SECONDS = 0.5


@dataclass
class Manager(World):
    """One of the two."""

    engines: FakeEngines | None = None

    @property
    def leads(self) -> bool:
        return self.manager.services.leadership.leads

    def tickets(self) -> list[EngineTicket]:
        assert self.engines is not None
        return list(self.engines.running.values())

    def engine(self) -> Engine:
        """The FL server that this one has just started."""
        eventually(lambda: bool(self.tickets()))
        ticket = self.tickets()[-1]
        assert ticket.server_url == self.url
        spool = spool_dir(self.manager.services.settings.home, ticket.run_id, ticket.attempt)
        made = Engine(ticket.server_url, ticket.token, spool)
        self._open.append(made)
        return made

    def hears(self, device: Device) -> Device:
        """The device, as it calls this one. What it knows and holds it has in one place."""
        moved = self.again(device)
        moved.held, moved.last = device.held, device.last
        return moved


def eventually(check: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@contextmanager
def manager(folder: Path, name: str, database_url: str, files: Path | None) -> Iterator[Manager]:
    home = folder / name
    home.mkdir()
    if files is not None:
        (home / "artifacts").symlink_to(files)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = ServerSettings(
        home=home,
        port=port,
        database_url=database_url,
        heartbeat_seconds=HEARTBEAT_SECONDS,
    )
    engines = FakeEngines()
    app = create_app(settings, engines)
    with serving(front(app), port=port):
        (folder / "files").mkdir(exist_ok=True)
        made = Manager(
            f"http://127.0.0.1:{port}",
            app.state.manager,
            FakeClock(),
            folder / "files",
            app,
            engines=engines,
        )
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def url(migrated_template: str) -> Iterator[str]:
    assert POSTGRES
    with fresh_database(POSTGRES, f"two_{uuid.uuid4().hex}", migrated_template) as made:
        yield made


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def two(tmp_path: Path, url: str, files: Path) -> Iterator[tuple[Manager, Manager]]:
    """The one that leads, and the other."""
    with (
        manager(tmp_path, "a", url, files) as first,
        manager(tmp_path, "b", url, files) as second,
    ):
        assert (first.leads, second.leads) == (True, False)
        yield first, second


def begun(lead: Manager, *names: str, seconds: float = 60.0) -> tuple[Engine, dict[str, str]]:
    """A run whose FL server has begun its first round with these devices."""
    lead.operator.start_run("mnist", c.RunStart())
    engine = lead.engine()
    engine.hello(c.EngineHello(pid=4711))
    model = engine.upload(lead.model(0.0)).sha256
    engine.initial_model(c.ModelInit(model=model, contract=CONTRACT))
    batch = {"model": model, "deadline_seconds": seconds}
    return engine, lead.begin(engine, 1, *names, **batch)


def deliveries(engine: Engine, seen: int = 0) -> list[c.Delivery]:
    """What an engine collects, beyond so many deliveries, as soon as there is any."""
    found: list[c.Delivery] = []
    after, deadline = 0, time.monotonic() + 20.0
    while len(found) <= seen:
        assert time.monotonic() < deadline, "nothing was delivered"
        page = engine.collect(c.CollectRequest(after=after, wait=5.0))
        after, found = page.sequence, found + page.deliveries
    return found[seen:]


def test_one_leads_and_says_so(two: tuple[Manager, Manager]) -> None:
    lead, other = two
    assert "another Server Manager" in other.operator.info().engine
    assert "another" not in lead.operator.info().engine


def test_an_offer_and_its_delivery_pass_from_one_to_the_other(
    two: tuple[Manager, Manager],
) -> None:
    lead, other = two
    lead.task()
    devices = {name: other.hears(d) for name, d in lead.ready_devices("ada", "bob").items()}
    for device in devices.values():
        device.poll(idle())
    engine, ids = begun(lead, "ada", "bob")
    for name, device in devices.items():
        assert device.take().id == ids[name]
    devices["ada"].deliver(ids["ada"], b"small")
    found = deliveries(engine)
    assert [(d.device, d.status) for d in found] == [("ada", AssignmentStatus.UPLOADED)]
    devices["bob"].end(ids["bob"], c.WorkEnd(outcome="refused", reason="no data"))
    found = deliveries(engine, seen=1)
    assert [(d.device, d.status, d.reason) for d in found] == [
        ("bob", AssignmentStatus.REFUSED, "no data")
    ]
    assert len(lead.operator.events()) == len(other.operator.events())


def test_a_revocation_at_one_takes_back_what_the_engine_at_the_other_has(
    two: tuple[Manager, Manager],
) -> None:
    lead, other = two
    lead.task()
    device = other.hears(lead.ready_devices("ada")["ada"])
    device.poll(idle())
    engine, ids = begun(lead, "ada")
    device.take()
    device.deliver(ids["ada"], b"small")
    deliveries(engine)
    engine.collect(c.CollectRequest(after=0, wait=0.0, checked=[ids["ada"]]))
    other.operator.decide_device("ada", "revoke")
    (told,) = deliveries(engine, seen=1)
    assert (told.id, told.status) == (ids["ada"], AssignmentStatus.REJECTED)
    assert told.reason == "device revoked"


def test_what_is_asked_of_one_is_done_by_the_one_that_leads(two: tuple[Manager, Manager]) -> None:
    lead, other = two
    lead.task()
    device = other.hears(lead.ready_devices("ada")["ada"])
    device.poll(idle())
    _, ids = begun(other_as_operator(lead, other), "ada")
    device.take()
    run = other.operator.runs()[0]
    other.operator.pause_run(run.id)
    assert [one.id for one in device.poll(wait=5.0).cancel] == [ids["ada"]]
    until = time.monotonic() + 3 * SWEEP_SECONDS
    while time.monotonic() < until:  # the device is at it, whatever the other of the two believes
        device.poll()
        assert other.operator.run(run.id).status is RunStatus.PAUSING
    device.drop(ids["ada"])
    eventually(lambda: lead.operator.run(run.id).status is RunStatus.PAUSED)
    for one in two:
        eventually(lambda hub=one.manager.services.hub: not hub.known[1])
    other.operator.resume_run(run.id)
    eventually(lambda: len(lead.operator.run(run.id).attempts) == 2)


def other_as_operator(lead: Manager, other: Manager) -> Manager:
    """The one that leads, with an operator who calls the other."""
    lead.operator = other.operator
    return lead


def test_a_device_that_changes_from_one_to_the_other_with_each_call(
    two: tuple[Manager, Manager],
) -> None:
    lead, other = two
    lead.task()
    here = lead.ready_devices("ada")["ada"]
    there = other.hears(here)
    for _ in range(3):  # the same life, heard in turns: no copy of it
        for device in (here, there):
            device.poll(idle().model_copy(update={"life": "one"}))
    began = time.monotonic()
    there.last = here.last
    there.poll(wait=0.4)
    assert time.monotonic() - began > 0.3, "what one said is no news to the other"
    _, ids = begun(lead, "ada")
    id_ = here.take().id
    there.held = here.held
    there.progress(id_, c.Progress(stage=c.Stage.TRAINING, done=1, total=2))
    assert there.poll().forget == []
    assert here.poll().offers == []
    there.deliver(id_, b"small")
    here.held.clear()
    assert here.poll().offers == [], "what was delivered at the other is not offered again"
    with pytest.raises(Conflict, match="over"):
        here.instruction(ids["ada"])
    assert not here.last.problems
    offline = [e for e in lead.operator.events() if "offline" in e.name or "online" in e.name]
    assert [e.name for e in offline] == ["device.online"]


def test_what_was_not_heard_of_is_learned_when_a_device_asks(two: tuple[Manager, Manager]) -> None:
    """As when the line is cut: every word is lost, and nothing is wrong but late."""
    lead, other = two
    lead.task()
    here = lead.ready_devices("ada")["ada"]
    there = other.hears(here)
    there.poll(idle())
    assert other.manager.company
    other.manager.company._memory.heard = lambda said: None  # type: ignore[method-assign]
    other.manager.company._line._heard = lambda said: None
    _, ids = begun(lead, "ada")
    id_ = here.take().id
    assert there.poll().forget == []
    assert there.instruction(id_).id == ids["ada"]
    there.progress(id_, c.Progress(stage=c.Stage.TRAINING))
    assert there.slot(id_, c.SlotRequest(size=10)).granted
    here.deliver(id_, b"small")
    there.held.clear()
    assert there.poll().offers == []
    with pytest.raises(Conflict, match="over"):
        there.instruction(id_)
    with pytest.raises(NotFound):
        there.instruction("f" * 32)


def test_after_a_cut_the_line_is_opened_again_and_everything_is_read_anew(
    two: tuple[Manager, Manager], url: str
) -> None:
    lead, other = two
    lead.task()
    device = other.hears(lead.ready_devices("ada")["ada"])
    device.poll(idle())
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as database:
        cut = database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query ILIKE %s OR application_name = %s",
            (f"LISTEN {CHANNEL}%", "fedops line"),
        ).fetchall()
        assert len(cut) == 2
    engine, ids = begun(lead, "ada")
    assert device.take(wait=1.0).id == ids["ada"]
    device.deliver(ids["ada"], b"small")
    found = deliveries(engine)
    assert found[0].id == ids["ada"]
    assert lead.leads


def test_a_silent_device_is_declared_so_once_and_only_if_no_one_hears_it(
    two: tuple[Manager, Manager],
) -> None:
    lead, other = two
    lead.task()
    ada, bob = (other.again(lead.join(name)[1]) for name in ("ada", "bob"))
    bob.poll(idle())
    until = time.monotonic() + 5 * HEARTBEAT_SECONDS
    while time.monotonic() < until:
        ada.poll(idle())
        time.sleep(HEARTBEAT_SECONDS / 3)
    named = [(e.name, e.subject) for e in other.operator.events() if "offline" in e.name]
    assert named == [("device.offline", "device bob")]
    bob.poll()
    assert other.operator.device("bob").online


def test_when_the_one_that_leads_ends_the_other_takes_over(tmp_path: Path, url: str) -> None:
    files = tmp_path / "shared"
    files.mkdir()
    with ExitStack() as later:
        with manager(tmp_path, "a", url, files) as lead:
            other = later.enter_context(manager(tmp_path, "b", url, files))
            lead.task()
            device = other.hears(lead.ready_devices("ada")["ada"])
            device.poll(idle())
            _, ids = begun(lead, "ada")
            device.take()
        began = time.monotonic()
        eventually(lambda: other.leads)
        assert time.monotonic() - began < 5.0, "it was given up, and need not run out"
        device.deliver(ids["ada"], b"small")
        engine = other.engine()
        spec = engine.hello(c.EngineHello(pid=4712))
        assert (spec.attempt, spec.open_round and spec.open_round.round) == (2, 1)
        found = deliveries(engine)
        assert [d.id for d in found] == [ids["ada"]]
        model = engine.upload(other.model(1.0)).sha256
        engine.commit(
            c.RoundCommit(
                round=1,
                model=model,
                strategy_state=None,
                participations=[replied("ada")],
                seconds=1.0,
                overhead_seconds=0.1,
            )
        )
        run = other.operator.runs()[0]
        assert [a.status for a in run.attempts] == [AttemptStatus.LOST, AttemptStatus.RUNNING]
        assert run.committed_rounds == 1


def test_an_upload_goes_on_at_the_other(two: tuple[Manager, Manager]) -> None:
    lead, other = two
    lead.task()
    here = lead.ready_devices("ada")["ada"]
    there = other.hears(here)
    engine, ids = begun(lead, "ada")
    here.take()
    data = os.urandom(300_000)
    head = upload_headers(ids["ada"], data, here.token)
    with httpx.Client() as client:
        made = client.post(
            f"{lead.url}/api/v1/blobs",
            content=data[:100_000],
            headers={**head, "content-type": "application/offset+octet-stream"},
        )
        assert made.headers["upload-offset"] == "100000"
        path = made.headers["location"]
        at = client.head(other.url + path, headers=head).headers["upload-offset"]
        assert at == "100000"
        done = client.patch(
            other.url + path,
            content=data[100_000:],
            headers={
                **head,
                "upload-offset": at,
                "content-type": "application/offset+octet-stream",
            },
        )
        assert done.headers["upload-offset"] == "300000"
    found = deliveries(engine)
    assert [(d.id, d.blob and d.blob.size) for d in found] == [(ids["ada"], 300_000)]
    there.held.clear()
    assert there.poll().offers == here.poll().offers == []


def upload_headers(assignment: str, data: bytes, token: str) -> dict[str, str]:
    said = {"assignment": assignment, "sha256": hashlib.sha256(data).hexdigest()}
    words = [f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items()]
    return {
        "tus-resumable": "1.0.0",
        "upload-length": str(len(data)),
        "upload-metadata": ",".join(words),
        "authorization": f"Bearer {token}",
        "fedops-protocol": "1",
    }


def test_who_sends_at_the_deadline_has_longer_though_only_the_other_knows(
    two: tuple[Manager, Manager],
) -> None:
    lead, other = two
    lead.task()
    devices = {name: other.hears(d) for name, d in lead.ready_devices("ada", "bob").items()}
    engine, ids = begun(lead, "ada", "bob", seconds=0.5)
    for device in devices.values():
        device.take()
    assert devices["ada"].slot(ids["ada"], c.SlotRequest(size=10)).granted
    found = deliveries(engine)
    assert [(d.device, d.status) for d in found] == [("bob", AssignmentStatus.EXPIRED)]
    time.sleep(2 * SWEEP_SECONDS)
    devices["ada"].deliver(ids["ada"], b"small")
    found = deliveries(engine, seen=1)
    assert [(d.device, d.status) for d in found] == [("ada", AssignmentStatus.UPLOADED)]


def test_a_copy_of_a_device_shows_though_each_calls_another_server(
    two: tuple[Manager, Manager],
) -> None:
    lead, other = two
    lead.task()
    here = lead.ready_devices("ada")["ada"]
    there = other.hears(here)
    lives = [idle().model_copy(update={"life": life}) for life in ("one", "two")]

    def copied() -> bool:
        here.poll(lives[0])
        there.poll(lives[1])
        return bool(there.last.problems)

    there.poll(lives[1])
    assert there.last.problems == []
    eventually(copied)
    assert any("two Client Managers" in problem for problem in there.last.problems)


def test_who_cannot_renew_the_lease_leads_no_more(url: str) -> None:
    clock = FakeClock()
    leases = [Lease(name, clock) for name in ("a", "b")]
    changes: list[str] = []
    for lease in leases:
        lease.changed = partial(changes.append, lease.me)
    db = Database(url)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as line:
        assert [lease.look(line).holder for lease in leases] == ["a", "a"]
        assert [lease.leads for lease in leases] == [True, False]
        clock.advance(LEASE_SECONDS - MARGIN_SECONDS + 0.1)
        leases[0].check()
        assert not leases[0].leads, "before the database would give it away"
        assert leases[1].look(line).holder == "a"
        line.execute("UPDATE leases SET until = until - 100")
        assert leases[1].look(line).holder == leases[0].look(line).holder == "b"
        assert [lease.leads for lease in leases] == [False, True]
        with db.read() as session:
            leases[1].confirm(session)
            with pytest.raises(Conflict, match="another Server Manager leads"):
                leases[0].confirm(session)
        leases[1].give_up(line)
        assert leases[0].look(line).holder == "a"
    db.close()
    assert changes == ["a", "a", "b", "b", "a"]


def test_a_server_manager_that_stands_still_in_a_transaction_loses_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, other = Database(url), Database(url)
    monkeypatch.setattr(
        "fedops.server.database.database._TAKE_TURN", db_module._TAKE_TURN.replace("20s", "300ms")
    )

    def stand_still() -> None:
        with frozen.write() as session:
            session.execute(sa.text("SELECT 1"))
            began = time.monotonic()
            with other.write() as there:
                there.execute(sa.text("SELECT 1"))
            assert 0.2 < time.monotonic() - began < 5.0

    with pytest.raises(Unavailable):
        stand_still()
    for db in (frozen, other):
        db.close()


def test_files_in_another_place_are_refused(tmp_path: Path, url: str, files: Path) -> None:
    with manager(tmp_path, "a", url, files):
        home = tmp_path / "b"
        made = create_app(ServerSettings(home=home, database_url=url), FakeEngines())
        with pytest.raises(Conflict, match="another place"):
            made.state.manager.open()
        made.state.manager.services.db.close()
