"""Of two Server Managers one leads: it says so, hands over, and does nothing once its lease is lost."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from manager_pair import (
    Manager,
    begun,
    deliveries,
    eventually,
    manager,
    needs_postgres,
    other_as_operator,
)
from managing import idle, replied

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Unavailable
from fedops.core.states import AttemptStatus, RunStatus
from fedops.server.database import database as db_module
from fedops.server.database.database import Database
from fedops.server.jobs.maintenance import STEP_SECONDS
from fedops.server.peers.lease import LEASE_SECONDS, MARGIN_SECONDS, Lease
from fedops.testing import FakeClock

pytestmark = needs_postgres


def test_one_leads_and_says_so(two: tuple[Manager, Manager]) -> None:
    lead, other = two
    assert "another Server Manager" in other.operator.info().engine
    assert "another" not in lead.operator.info().engine


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
    until = time.monotonic() + 3 * STEP_SECONDS
    while time.monotonic() < until:  # the device is at it, whatever the other of the two believes
        device.poll()
        assert other.operator.run(run.id).status is RunStatus.PAUSING
    device.drop(ids["ada"])
    eventually(lambda: lead.operator.run(run.id).status is RunStatus.PAUSED)
    for one in two:
        eventually(lambda hub=one.manager.services.hub: not hub.known[1])
    other.operator.resume_run(run.id)
    eventually(lambda: len(lead.operator.run(run.id).attempts) == 2)


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
