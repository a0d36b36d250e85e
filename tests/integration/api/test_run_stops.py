"""How a run is stopped: at once, once engine and devices are quiet, or not at all."""

from __future__ import annotations

import pytest
from managing import World, training

from fedops.core import contracts as c
from fedops.core.errors import Conflict
from fedops.core.states import AttemptStatus, RunStatus


def test_a_pending_run_stops_at_once(world: World) -> None:
    world.task()
    run = world.operator.start_run("mnist", c.RunStart())
    assert world.operator.stop_run(run.id).status is RunStatus.STOPPED
    with pytest.raises(Conflict, match="is stopped already"):
        world.operator.stop_run(run.id)
    assert world.operator.start_run("mnist", c.RunStart()).id == run.id + 1


def test_a_run_is_stopped_once_engine_and_devices_are_quiet(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    world.do_round(engine, 1, "a", "b")
    made = world.begin(engine, 2, "a", "b")
    for device in devices.values():
        device.take()
        device.poll(training(run.id, 2))
    stopping = world.operator.stop_run(run.id)
    assert (stopping.status, stopping.stopping) == (RunStatus.STOPPING, ["a", "b"])
    assert stopping.why == "stopping 0 of 2: waiting for a, b; for 0 s, limit 10 s"
    assert world.operator.stop_run(run.id).status is RunStatus.STOPPING  # harmless
    heard = engine.collect(c.CollectRequest(wait=2))
    assert (heard.command, {d.reason for d in heard.deliveries}) == (
        "stop",
        {"the run is stopping"},
    )
    assert engine.candidates().command == "stop"
    engine.finish(c.EngineFinish(outcome="stopped"))
    assert devices["a"].drop(made["a"]).runs == []
    assert world.operator.run(run.id).why == "stopping 1 of 2: waiting for b; for 0 s, limit 10 s"
    devices["b"].poll()
    assert world.operator.run(run.id).stopping == ["b"]
    devices["b"].drop(made["b"])
    seen = world.operator.run(run.id)
    assert (seen.status, seen.stopping, seen.version) == (RunStatus.STOPPED, [], None)
    assert seen.why == (
        "stopped after round 1 of 3: stopped by the operator; "
        f"do the rest with 'fedops run retry {run.id}'"
    )
    assert seen.attempts[0].status is AttemptStatus.ENDED


def test_a_device_that_does_not_confirm_holds_a_stop_up_for_a_while_only(world: World) -> None:
    world.task()
    devices = world.ready_devices("a")
    run, engine = world.running()
    world.begin(engine, 1, "a")
    devices["a"].take()
    world.operator.stop_run(run.id)
    for _ in range(3):
        world.clock.advance(3)
        devices["a"].poll(training(run.id))
        world.manager.maintenance.step()
        assert world.operator.run(run.id).status is RunStatus.STOPPING
    world.clock.advance(1.1)
    world.manager.maintenance.step()
    seen = world.operator.run(run.id)
    assert seen.status is RunStatus.STOPPED
    assert seen.attempts[0].status is AttemptStatus.CANCELLED
    with pytest.raises(Conflict, match="is over"):
        engine.candidates()
    said = [e.text for e in world.operator.events(run_id=run.id) if e.name == "run.stopped"]
    assert said == ["no word from a"]


def test_an_offline_device_does_not_hold_a_stop_up(world: World) -> None:
    world.task()
    devices = world.ready_devices("a")
    run, engine = world.running()
    world.begin(engine, 1, "a")
    devices["a"].take()
    world.clock.advance(9)
    world.operator.stop_run(run.id)
    engine.finish(c.EngineFinish(outcome="stopped"))
    assert world.operator.run(run.id).status is RunStatus.STOPPED


def test_completion_may_win_the_race_against_a_stop(world: World) -> None:
    world.task(overrides=["num_rounds=1"])
    devices = world.ready_devices("a")
    run, engine = world.running()
    engine.begin_round(1, c.RoundBegin(selected={"a": "x"}))
    commit = world.commit(engine, 1, "a")
    world.operator.stop_run(run.id)
    assert engine.commit(commit).command == "stop"
    engine.finish(c.EngineFinish(outcome="completed"))
    assert world.operator.run(run.id).status is RunStatus.COMPLETED
    assert devices["a"].poll().runs == []


def test_an_engine_that_stops_without_being_told_is_lost(world: World) -> None:
    world.task()
    run, engine = world.running()
    engine.finish(c.EngineFinish(outcome="stopped", text="interrupted"))
    seen = world.operator.run(run.id)
    assert seen.status is RunStatus.RESUMING
    assert "interrupted" in seen.why
