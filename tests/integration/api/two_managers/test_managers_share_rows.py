"""Two Server Managers on one PostgreSQL: what one does, the other knows."""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx
import psycopg
import pytest
from manager_pair import (
    HEARTBEAT_SECONDS,
    Manager,
    begun,
    deliveries,
    eventually,
    manager,
    needs_postgres,
    upload_headers,
)
from managing import idle

from fedops.core import contracts as c
from fedops.core.errors import Conflict, NotFound
from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus
from fedops.server.app import create_app
from fedops.server.jobs.maintenance import STEP_SECONDS
from fedops.server.peers.notify_channel import CHANNEL
from fedops.settings import ServerSettings
from fedops.storage.payloads import Payload, pack_payload
from fedops.testing import FakeEngines

pytestmark = needs_postgres


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


def test_a_benchmark_that_is_asked_of_one_is_done_at_the_other(
    two: tuple[Manager, Manager],
) -> None:
    lead, other = two
    lead.task()
    ada = other.hears(lead.ready_devices("ada")["ada"])
    ada.poll(idle())
    lead.operator.start_benches("mnist", c.BenchRequest())
    id_ = ada.take().id
    measured = c.BenchMeasured(
        examples=100,
        epochs=1,
        first_examples=10,
        first_seconds=1.0,
        chunk_examples=40,
        chunk_seconds=4.0,
        wanted_examples=40,
    )
    ada.deliver(id_, pack_payload(Payload(metrics={c.BENCH: measured.values()})))
    (found,) = lead.operator.benches("mnist").benches
    assert (found.status, found.round_seconds) == (AssignmentStatus.CHECKED, 10.0)
    assert (
        lead.operator.start_benches("mnist", c.BenchRequest()).benches[0].status in ASSIGNMENT_OPEN
    )
    lead.operator.decide_device("ada", "revoke")
    (found,) = other.operator.benches("mnist").benches
    assert (found.status, found.why) == (AssignmentStatus.CANCELLED, "device revoked")


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
    assert other.manager.group
    other.manager.group._memory.heard = lambda said: None  # type: ignore[method-assign]
    other.manager.group._channel._heard = lambda said: None
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
            "WHERE datname = current_database() AND (query ILIKE %s OR application_name = %s)",
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
    time.sleep(2 * STEP_SECONDS)
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


def test_files_in_another_place_are_refused(tmp_path: Path, url: str, files: Path) -> None:
    with manager(tmp_path, "a", url, files):
        home = tmp_path / "b"
        made = create_app(ServerSettings(home=home, database_url=url), FakeEngines())
        with pytest.raises(Conflict, match="another place"):
            made.state.manager.open()
        made.state.manager.services.db.close()
