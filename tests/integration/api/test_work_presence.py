"""Devices that several runs share, that go and come, and that are revoked."""

from __future__ import annotations

import time

import pytest
from managing import World, idle, later, said_when_out
from work_calls import RESULT, collect, lose_attempt, model_of, row_of, status_of

from fedops.core import contracts as c
from fedops.core.errors import Forbidden
from fedops.core.states import AssignmentStatus as A
from fedops.core.states import ParticipationStatus, ReadinessStatus


def test_runs_of_different_tasks_share_devices(world: World) -> None:
    world.task("one")
    world.task("two")
    _, a = world.join("a")
    a.poll(idle("one").model_copy(update={"tasks": ["one", "two"]}))
    first, engine = world.running("one")
    second, other = world.running("two")
    made = world.begin(engine, 1, "a")
    (found,) = other.candidates().candidates
    assert (found.unavailable, found.busy_with) == (None, first.id)
    both = world.begin(other, 1, "a")
    assert {offer.run_id for offer in a.poll(wait=2).offers} == {first.id, second.id}
    for id_ in (made["a"], both["a"]):
        a.instruction(id_)
        a.held.append(id_)
    a.progress(made["a"], c.Progress(stage=c.Stage.DOWNLOADING, done=43, total=100))
    world.clock.advance(1)
    world.step()
    other.progress(c.EngineProgress(phase="training", round=1, selected=["a"]))
    engine.progress(c.EngineProgress(phase="training", round=1, selected=["a"]))
    text = f"a: works for run {first.id} of task 'one' first"
    assert text in world.operator.run(second.id).why
    assert "0 of 1 replied; a: downloading 43 % of 100 B" in world.operator.run(first.id).why
    assert world.operator.device("a").why == (
        f"online; downloading 43 % of 100 B in round 1 of run {first.id}"
    )


def test_an_engine_hears_of_devices_that_go_and_come(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running()
    world.begin(engine, 1, "a")
    devices["a"].take()
    world.clock.advance(9)
    world.step()
    got = collect(engine)
    assert [(p.device, p.gone) for p in got.presence] == [("a", "offline, no call for 9 s")]
    devices["a"].poll()
    got = collect(engine, got.sequence)
    assert [(p.device, p.gone) for p in got.presence] == [("a", None)]
    began = time.monotonic()
    with later(0.2, devices["b"].poll):
        assert collect(engine, got.sequence, 5).presence == []  # b is ready again: look anew
    assert time.monotonic() - began < 2


def test_a_report_that_is_written_late_takes_back_nothing_newer(world: World) -> None:
    presence, db = world.manager.services.presence, world.manager.services.db
    _, device = world.join("a")
    device.poll(_says(ReadinessStatus.CHECKING))
    device.poll(_says(ReadinessStatus.CHECKING, accelerator="cpu"))
    world.clock.advance(1)
    taken = presence.take(world.clock())
    assert len(taken.processes) == 1
    world.clock.advance(1)
    device.poll(_says(ReadinessStatus.READY, accelerator="cpu"))
    with db.write() as session:
        presence.flush(session, taken, world.clock())
    (entry,) = world.operator.device("a").process.readiness
    assert entry.status is ReadinessStatus.READY
    world.clock.advance(-3_600)  # it was wrong until now: what it wrote stands for nothing
    device.poll(_says(ReadinessStatus.READY, accelerator="cuda:0"))
    with db.write() as session:
        presence.flush(session, presence.take(world.clock()), world.clock())
    assert world.operator.device("a").process.accelerator == "cuda:0"


def _says(status: ReadinessStatus, **more: object) -> c.WorkPoll:
    entry = c.Readiness(task="mnist", status=status)
    process = {"status": "idle", "readiness": [entry], **more}
    return idle("mnist").model_copy(update={"process": c.ProcessReport.model_validate(process)})


def test_a_revoked_device_is_out_at_once(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running()
    made = world.begin(engine, 1, "a", "b")
    devices["a"].take()
    world.operator.decide_device("a", "revoke")
    for call in (
        lambda: devices["a"].poll(),
        lambda: devices["a"].deliver(made["a"], RESULT),
        lambda: devices["a"].me(),
    ):
        with pytest.raises(Forbidden, match="device 'a' was revoked"):
            said_when_out(call)
    devices["b"].take()
    devices["b"].deliver(made["b"], RESULT)
    world.operator.decide_device("b", "revoke")
    found = {d.device: (d.status, d.reason) for d in collect(engine).deliveries}
    assert found["a"] == (A.CANCELLED, "device revoked")
    assert row_of(world, made["b"]).status is A.REJECTED
    assert row_of(world, made["a"]).released_at is not None
    assert [d.reason for d in collect(engine).deliveries if d.device == "b"][-1] == "device revoked"


def test_what_a_revoked_device_delivered_counts_only_in_rounds_that_are_committed(
    world: World,
) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    model = ""
    for number in (1, 2):
        model = world.operator.rounds(run.id)[-1].model or "" if model else model_of(world, engine)
        made = world.begin(engine, number, "a", "b", model=model)
        for name, device in devices.items():
            device.held = []
            device.take()
            device.deliver(made[name], RESULT)
        collect(engine, 0, 0, checked=list(made.values()))
        if number == 1:
            engine.commit(world.commit(engine, 1, "a", "b"))
    after = collect(engine, 0, 0).sequence
    world.operator.decide_device("a", "revoke")
    told = collect(engine, after).deliveries
    assert [(d.id, d.status, d.reason) for d in told] == [(made["a"], A.REJECTED, "device revoked")]
    assert status_of(world, made["a"]) is A.CHECKED
    lose_attempt(world, run.id)
    _, second = world.open_attempt(run.id)
    spec = second.hello(c.EngineHello(pid=2))
    assert spec.open_round is not None
    assert [one.device for one in spec.open_round.assignments] == ["b"]
    assert [d.device for d in collect(second).deliveries] == ["b"]
    second.commit(world.commit(second, 2, "b"))
    parts = {
        p.device: (p.status, p.reason) for p in world.operator.rounds(run.id)[-1].participations
    }
    assert parts["a"] == (ParticipationStatus.DROPPED, "the device is revoked")
