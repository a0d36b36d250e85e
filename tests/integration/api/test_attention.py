"""What needs somebody: each kind is found, said in a sentence, put in order, and gone when it is mended."""

from __future__ import annotations

import pytest
from managing import World, idle
from sqlalchemy import update

from fedops.core import contracts as c
from fedops.core.states import (
    DeploymentStatus,
    FailureReason,
    ProcessStatus,
    RolloutStatus,
    RunStatus,
)
from fedops.server.attention.thing import Attention, Severity
from fedops.server.attention.things_to_do import things_to_do
from fedops.server.database import tables as t
from fedops.server.events.event_log import Change
from fedops.server.runs import transitions

pytestmark = pytest.mark.usefixtures("world")
MANY = 41


def _found(world: World, within: frozenset[str] | None = None) -> dict[str, Attention]:
    services = world.manager.services
    with services.db.read() as session:
        things = things_to_do(session, services.settings, world.clock(), within)
    assert things == sorted(things, key=lambda one: one.severity)
    assert len({one.key for one in things}) == len(things)
    return {one.key: one for one in things}


def _fail(world: World, run_id: int) -> None:
    change = Change("scheduler", "too few", world.clock())
    with world.manager.services.db.write() as session:
        run = session.get_one(t.RunRow, run_id)
        reason = FailureReason.TOO_FEW_CLIENTS
        transitions.transition_run(session, run, RunStatus.FAILED, change, reason=reason)


def _add(world: World, *rows: object) -> None:
    with world.manager.services.db.write() as session:
        for row in rows:
            session.add(row)
            session.flush()


def test_nothing_needs_anybody_where_all_is_well(world: World) -> None:
    assert _found(world) == {}
    world.task()
    world.ready_devices("a", "b")
    world.running()
    assert _found(world) == {}


def test_a_failed_run_needs_somebody_until_one_goes_on_or_a_week_is_over(world: World) -> None:
    world.task()
    run, _ = world.running()
    _fail(world, run.id)
    thing = _found(world)["run 1"]
    assert thing.severity is Severity.NOW
    assert thing.sentence.startswith("Run 1 of mnist failed (too_few_clients) after round 0 of 3")
    assert [one.command for one in thing.actions] == ["fedops run show 1", "fedops run retry 1"]
    assert thing.actions[1].route == "POST /runs/{run_id}/retry"
    assert _found(world, frozenset({"other"})) == {}
    world.clock.advance(8 * 86_400)
    assert _found(world) == {}
    world.running()
    world.operator.stop_run(2)
    assert "run 1" not in _found(world)


def test_a_run_that_waits_is_near_its_limit_in_the_end(world: World) -> None:
    world.task(overrides=["server.round.wait_seconds=1000"])
    _, engine = world.running()
    began = world.clock()
    engine.progress(c.EngineProgress(phase="waiting", round=1, needed=2))
    assert _found(world) == {}  # for so long is usual
    world.clock.advance(200)
    thing = _found(world)["run 1"]
    assert (thing.severity, thing.since) == (Severity.SOON, began)
    assert thing.deadline == began + 1000
    assert "waiting for 2 more devices" in thing.sentence
    assert [one.word for one in thing.actions] == ["Show run 1", "Stop run 1"]
    world.clock.advance(650)
    assert _found(world)["run 1"].severity is Severity.NOW


def test_a_paused_run_is_said_with_its_way_on(world: World) -> None:
    world.task()
    world.operator.start_run("mnist", c.RunStart())
    world.operator.pause_run(1)
    thing = _found(world)["run 1"]
    assert (thing.severity, thing.actions[1].command) == (Severity.SOON, "fedops run resume 1")


def test_lost_devices_are_one_thing_and_come_back(world: World) -> None:
    world.task()
    found = world.ready_devices(*(f"edge-{number:02}" for number in range(4)))
    world.clock.advance(400)
    found["edge-00"].poll(idle())
    world.step()
    thing = _found(world)["devices lost"]
    assert thing.severity is Severity.NOW
    assert thing.sentence == "3 devices are lost: edge-01, edge-02, edge-03"
    for name in ("edge-01", "edge-02"):
        found[name].poll(idle())
    world.step()
    thing = _found(world)["devices lost"]
    assert thing.sentence == "Device edge-03 is lost"
    assert thing.actions[0].page == "/devices/edge-03"
    assert _found(world, frozenset({"other"})) == {}
    world.clock.advance(86_400)
    assert _found(world)["devices lost"].severity is Severity.NOW  # others went just before


def test_many_lost_devices_are_named_by_the_first(world: World) -> None:
    world.task()
    names = [f"d{number:02}" for number in range(MANY)]
    _add(
        world,
        *(
            t.DeviceRow(
                id=name,
                name=name,
                public_key=name,
                fingerprint=name,
                enrolment="approved",
                info={},
                created_at=1.0,
                node_number=number + 1,
                last_heartbeat_at=1.0,
                present_until=2.0,
                process={},
                problems=[],
            )
            for number, name in enumerate(names)
        ),
        *(t.MembershipRow(device_id=name, task="mnist", since=1.0) for name in names),
    )
    thing = _found(world)["devices lost"]
    assert thing.sentence == "41 devices are lost: d00, d01, d02 and 38 more"
    assert thing.severity is Severity.SOON  # for days


def test_devices_that_are_given_up_refuse_or_are_in_quarantine(world: World) -> None:
    world.task()
    found = world.ready_devices("fatal", "refusing", "bad")
    gone = c.ProcessReport(status=ProcessStatus.FATAL, task="mnist", reason="no GPU")
    found["fatal"].poll(c.WorkPoll(tasks=["mnist"], process=gone))
    said = c.Readiness(task="mnist", status="refused", reason="disk full")
    process = c.ProcessReport(status=ProcessStatus.IDLE, pid=1, task="mnist", readiness=[said])
    found["refusing"].poll(c.WorkPoll(tasks=["mnist"], process=process))
    world.operator.quarantine_device("bad", "it lies")
    things = _found(world)
    assert {key: one.sentence for key, one in things.items()} == {
        "devices given up": "Device fatal has given up its training client: no GPU",
        "devices refusing": "Device refusing is online but not ready: disk full",
        "devices quarantined": "Device bad is in quarantine: it lies",
    }
    assert next(iter(things)) == "devices given up"
    assert _found(world, frozenset({"other"})) == {}


def test_a_device_that_waits_for_approval_is_told_to_who_sees_all(world: World) -> None:
    world.join("new")
    with world.manager.services.db.write() as session:
        session.execute(update(t.DeviceRow).values(enrolment="pending"))
    thing = _found(world)["devices pending"]
    assert thing.sentence == "Device new waits for your approval"
    assert thing.actions[1].route == "POST /devices/{device}/approve"
    assert _found(world, frozenset({"mnist"})) == {}


def test_rollouts_and_devices_that_do_not_get_on(world: World) -> None:
    world.task()
    device = world.ready_devices("edge-7")["edge-7"]
    assert device
    with world.manager.services.db.read() as session:
        id_ = session.query(t.DeviceRow.id).scalar()
    now = world.clock()
    _add(
        world,
        t.RolloutRow(
            task="mnist",
            commit="9c01" * 10,
            status=RolloutStatus.PAUSED,
            status_since=now,
            wave_since=now,
            policy={},
            why="canary is worse",
            created_at=now,
        ),
        t.DeploymentRow(
            task="mnist",
            device_id=id_,
            desired="9c01" * 10,
            rollout=1,
            status=DeploymentStatus.FETCHING,
            status_since=now,
            stalled=True,
            reason="disk full",
            report={},
        ),
    )
    things = _found(world)
    assert things["rollout 1"].severity is Severity.SOON
    assert things["rollout 1"].sentence.endswith(
        "of mnist waits for your decision: canary is worse"
    )
    behind = things["devices behind mnist"].sentence
    assert behind.startswith("1 device of mnist does not run commit 9c01")
    assert behind.endswith(": edge-7; edge-7: disk full")
    stopped = {"status": RolloutStatus.STOPPED, "ended_at": now}
    with world.manager.services.db.write() as session:
        session.execute(update(t.RolloutRow).values(stopped))
    assert [(k, one.severity) for k, one in _found(world).items()] == [("rollout 1", Severity.NOW)]


def test_a_quarantined_version_needs_somebody_until_it_is_released(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running("mnist", "num_rounds=1")
    world.do_round(engine, 1, *devices)
    engine.finish(c.EngineFinish.model_validate({"outcome": "completed"}))
    world.operator.quarantine_model("mnist", "V1", "it is poisoned")
    thing = _found(world)["version mnist V1"]
    assert thing.sentence == "V1 of mnist is quarantined: it is poisoned"
    assert thing.actions[1].page == "/runs/1"
    world.operator.release_model("mnist", "V1", "it was not")
    assert _found(world) == {}


def test_drift_beyond_its_threshold_is_an_alarm(world: World) -> None:
    world.task()
    now = world.clock()
    schedule = t.ScheduleRow(
        task="mnist",
        name="nightly",
        trigger={"kind": "on_drift", "psi": 0.2},
        overrides=[],
        devices=[],
        promotion={},
        missed="once",
        created_at=now,
        changed_at=now,
        seen={"drift": {"version": 1, "level": 0.31}},
    )
    _add(world, schedule)
    assert _found(world)["drift mnist nightly"].sentence == "The data of mnist drift: it is at 0.31"
    with world.manager.services.db.write() as session:
        session.execute(update(t.ScheduleRow).values(seen={"drift": {"version": 1, "level": 0.0}}))
    assert _found(world) == {}
