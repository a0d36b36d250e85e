"""File servers beside a Server Manager, on one PostgreSQL and one folder of files."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from file_servers import FileServer, Sending, file_server
from manager_pair import Manager, begun, deliveries, eventually, manager, needs_postgres
from managing import Device, Engine

from fedops.core import contracts as c
from fedops.core.errors import Conflict
from fedops.server.peers.lease import LOOK_SECONDS
from fedops.server.protocol.slot_book import SLOT_SECONDS

pytestmark = needs_postgres
NOT_NOW = c.SlotRequest(size=300_000, wait=0.2)


@pytest.fixture
def lead(tmp_path: Path, url: str, files: Path) -> Iterator[Manager]:
    with manager(tmp_path, "manager", url, files, upload_slots=1) as made:
        yield made


@pytest.fixture
def servers(
    lead: Manager, tmp_path: Path, url: str, files: Path
) -> Iterator[tuple[FileServer, FileServer]]:
    with (
        file_server(tmp_path, "files-1", url, files, upload_slots=1) as first,
        file_server(tmp_path, "files-2", url, files, upload_slots=1) as second,
    ):
        yield first, second


def at_work(lead: Manager, *names: str) -> tuple[dict[str, Device], Engine, dict[str, str]]:
    """Devices with an assignment of an open round."""
    lead.task()
    devices = lead.ready_devices(*names)
    engine, ids = begun(lead, *names)
    for device in devices.values():
        device.take()
    return devices, engine, ids


def test_a_model_goes_out_and_an_update_comes_in(
    lead: Manager, servers: tuple[FileServer, FileServer]
) -> None:
    here, there = servers
    devices, engine, ids = at_work(lead, "ada")
    model = engine.hello(c.EngineHello(pid=4711)).model
    assert model is not None
    found = there.get(f"/api/v1/blobs/{model.sha256}", devices["ada"])
    assert hashlib.sha256(found.content).hexdigest() == model.sha256
    update = Sending(devices["ada"], ids["ada"], os.urandom(300_000))
    assert update.whole(here.url).headers["upload-offset"] == "300000"
    told = deliveries(engine)
    assert [(d.id, d.blob and d.blob.size) for d in told] == [(ids["ada"], 300_000)]
    devices["ada"].held.clear()
    assert devices["ada"].poll().offers == []


def test_it_serves_files_and_nothing_else(
    lead: Manager, servers: tuple[FileServer, FileServer]
) -> None:
    here, _ = servers
    assert here.get("/health").json() == {"status": "ok"}
    answer = here.get("/api/v1/info")
    assert answer.status_code == 404
    assert "this is a file server" in answer.json()["message"]
    assert here.get("/api/v1/blobs/" + "a" * 64).status_code == 401


def test_it_waits_for_a_server_manager(tmp_path: Path, url: str, files: Path) -> None:
    with ThreadPoolExecutor(1) as other, ExitStack() as stack:
        starting = other.submit(stack.enter_context, file_server(tmp_path, "files-1", url, files))
        with pytest.raises(TimeoutError):
            starting.result(2 * LOOK_SECONDS)
        stack.enter_context(manager(tmp_path, "manager", url, files))
        assert starting.result(20.0).get("/health").status_code == 200


def test_it_never_leads(tmp_path: Path, url: str, files: Path) -> None:
    with ExitStack() as stack:
        with manager(tmp_path, "manager", url, files):
            server = stack.enter_context(file_server(tmp_path, "files-1", url, files))
        time.sleep(3 * LOOK_SECONDS)
        assert not server.member.leadership.leads
        assert server.get("/health").status_code == 200
        assert stack.enter_context(manager(tmp_path, "other", url, files)).leads


def test_files_in_another_place_are_refused(lead: Manager, tmp_path: Path, url: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(Conflict, match="another place"), ExitStack() as stack:
        stack.enter_context(file_server(tmp_path, "files-3", url, elsewhere))


def test_the_slots_are_counted_over_all(
    lead: Manager, servers: tuple[FileServer, FileServer]
) -> None:
    devices, _, ids = at_work(lead, "ada", "bob")
    assert devices["ada"].slot(ids["ada"], NOT_NOW).granted
    assert not devices["bob"].slot(ids["bob"], NOT_NOW).granted
    Sending(devices["ada"], ids["ada"], os.urandom(300_000)).whole(servers[0].url)
    began = time.monotonic()
    assert devices["bob"].slot(ids["bob"], c.SlotRequest(size=1, wait=SLOT_SECONDS)).granted
    assert time.monotonic() - began < SLOT_SECONDS / 3


def test_a_revoked_device_is_refused_within_a_moment(
    lead: Manager, servers: tuple[FileServer, FileServer]
) -> None:
    here, _ = servers
    devices, engine, ids = at_work(lead, "ada")
    model = engine.hello(c.EngineHello(pid=4711)).model
    assert model is not None
    path = f"/api/v1/blobs/{model.sha256}"
    assert here.get(path, devices["ada"]).status_code == 200
    lead.operator.decide_device("ada", "revoke")
    eventually(lambda: here.get(path, devices["ada"]).status_code == 403, 3.0)
    update = Sending(devices["ada"], ids["ada"], os.urandom(300_000))
    assert update.whole(here.url).status_code == 403


def test_work_that_is_over_ends_the_upload_there(
    lead: Manager, servers: tuple[FileServer, FileServer], files: Path
) -> None:
    here, _ = servers
    devices, _, ids = at_work(lead, "ada")
    update = Sending(devices["ada"], ids["ada"], os.urandom(3_000_000))
    with update.begin(here.port, 2_000_000) as connection:
        unfinished = files / "incoming"
        eventually(lambda: any(unfinished.glob(f"{ids['ada']}*")))
        lead.operator.stop_run(lead.operator.runs()[0].id)
        assert connection.recv(4096).startswith(b"HTTP/1.1 410")
    eventually(lambda: not any(unfinished.glob(f"{ids['ada']}*")))


# --- an upload that changes from one process to another -------------------------------------------


def test_an_upload_that_was_cut_goes_on_at_the_other_and_arrives_once(
    lead: Manager, servers: tuple[FileServer, FileServer]
) -> None:
    here, there = servers
    devices, engine, ids = at_work(lead, "ada")
    update = Sending(devices["ada"], ids["ada"], os.urandom(300_000))
    with update.begin(here.port, 100_000):
        pass
    place, offset = "", 0
    while offset < 100_000:  # it notices the cut in its own time
        place, offset = update.announce(here.url)
    assert update.offset(there.url, place) == 100_000
    assert update.go_on(there.url, place, 100_000, 50_000).headers["upload-offset"] == "150000"
    assert update.offset(here.url, place) == 150_000
    assert update.go_on(here.url, place, 150_000).headers["upload-offset"] == "300000"
    _arrived_once(lead, engine, update)


def test_what_comes_by_a_connection_that_was_given_up_harms_nothing(
    lead: Manager, servers: tuple[FileServer, FileServer]
) -> None:
    """The device has changed over, and the first server does not know it yet."""
    here, there = servers
    devices, engine, ids = at_work(lead, "ada")
    large = os.urandom(9_000_000)  # of such a one its note is on the disk at once
    update = Sending(devices["ada"], ids["ada"], large)
    with update.begin(here.port, 3_000_000) as half_open:
        place, offset = _begun_there(update, there)
        assert 0 < offset <= 3_000_000
        half_open.sendall(large[3_000_000:6_000_000])
        done = update.go_on(there.url, place, offset, 4_000_000)
        half_open.sendall(large[6_000_000:])
        done = update.go_on(there.url, place, int(done.headers["upload-offset"]))
        assert done.headers["upload-offset"] == str(len(large))
    _arrived_once(lead, engine, update)


def _begun_there(update: Sending, there: FileServer) -> tuple[str, int]:
    """The upload as the other server finds it, once some of it is on the disk and can be resumed."""
    deadline = time.monotonic() + 10.0
    incoming = there.member.settings.home / "artifacts" / "incoming"
    while not any(
        note.with_suffix("").stat().st_size for note in incoming.glob(f"{update.assignment}*.note")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return update.announce(there.url)


def _arrived_once(lead: Manager, engine: Engine, update: Sending) -> None:
    sha256 = hashlib.sha256(update.data).hexdigest()
    told = deliveries(engine)
    assert [(d.id, d.blob and d.blob.sha256) for d in told] == [(update.assignment, sha256)]
    store = lead.manager.services.artifacts
    assert store.check(sha256) is None
    assert store.size(sha256) == len(update.data)
    update.device.held.clear()
    assert update.device.poll().offers == []
