"""Runs under control over HTTP: paused, resumed, extended, retried, refused where that cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from managing import CONTRACT, Engine, World, training

from fedops.api_client import OperatorClient
from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError
from fedops.core.states import RUN_TERMINAL, AttemptStatus, FailureReason, RunStatus
from fedops.server.database import lookup
from fedops.server.runs import attempts, transitions


def _status(world: World, run_id: int) -> RunStatus:
    return world.operator.run(run_id).status


def _finish(engine: Engine, outcome: str) -> None:
    engine.finish(c.EngineFinish.model_validate({"outcome": outcome}))


def _spec(world: World, run_id: int) -> tuple[c.AttemptSpec, Engine]:
    _, engine = world.open_attempt(run_id)
    return engine.hello(c.EngineHello(pid=1)), engine


# --- pausing ---------------------------------------------------------------------------------


def test_a_run_is_paused_once_engine_and_devices_are_quiet_and_goes_on_later(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b", "c")
    run, engine = world.running()
    done = world.do_round(engine, 1, *devices)
    made = world.begin(engine, 2, *devices)
    for device in devices.values():
        device.take()
        device.poll(training(run.id, 2))
    pausing = world.operator.pause_run(run.id)
    assert (pausing.status, pausing.stopping) == (RunStatus.PAUSING, ["a", "b", "c"])
    assert engine.collect(c.CollectRequest(wait=2)).command == "pause"
    assert devices["a"].drop(made["a"]).runs == []
    devices["b"].drop(made["b"])
    assert world.operator.run(run.id).why.startswith("pausing 2 of 3: waiting for c")
    _finish(engine, "paused")
    devices["c"].drop(made["c"])
    seen = world.operator.run(run.id)
    assert (seen.status, seen.committed_rounds) == (RunStatus.PAUSED, 1)
    assert seen.why == (
        f"paused after round 1 of 3, for 0 s, limit 30 d; go on with 'fedops run resume {seen.id}'"
    )
    assert world.operator.pause_run(run.id).status is RunStatus.PAUSED  # harmless
    assert world.operator.resume_run(run.id).status is RunStatus.RESUMING
    assert devices["a"].poll().runs == [run.id]
    spec, engine = _spec(world, run.id)
    assert (spec.attempt, spec.next_round, spec.first_round) == (2, 2, 1)
    assert spec.model
    assert spec.model.sha256 == done.model
    for number in (2, 3):
        world.do_round(engine, number, *devices)
    _finish(engine, "completed")
    assert _status(world, run.id) is RunStatus.COMPLETED
    story = [e.name for e in world.operator.events(run_id=run.id) if e.name.startswith("run.")]
    states = "pending starting running pausing paused resuming running completed"
    assert story == [f"run.{state}" for state in states.split()]


def test_a_pending_run_pauses_and_stops_at_once(world: World) -> None:
    world.task()
    run = world.operator.start_run("mnist", c.RunStart())
    assert world.operator.pause_run(run.id).status is RunStatus.PAUSED
    with world.manager.services.db.read() as session:
        assert attempts.runs_to_submit(session) == []
    assert world.operator.resume_run(run.id).status is RunStatus.RESUMING
    spec, _ = _spec(world, run.id)
    assert spec.next_round == 1
    assert world.operator.run(run.id).started_at is not None
    world.operator.pause_run(run.id)
    world.clock.advance(4)
    world.manager.maintenance.step()
    assert _status(world, run.id) is RunStatus.PAUSED
    assert world.operator.stop_run(run.id).status is RunStatus.STOPPED


def test_a_run_can_be_stopped_while_it_pauses(world: World) -> None:
    world.task()
    devices = world.ready_devices("a")
    run, engine = world.running()
    made = world.begin(engine, 1, "a")
    devices["a"].take()
    world.operator.pause_run(run.id)
    assert world.operator.stop_run(run.id).status is RunStatus.STOPPING
    assert engine.candidates().command == "stop"
    _finish(engine, "paused")  # it had heard of the pause before
    devices["a"].drop(made["a"])
    assert _status(world, run.id) is RunStatus.STOPPED


def test_an_attempt_lost_while_pausing_does_not_hide_a_device_that_trains(world: World) -> None:
    world.task()
    devices = world.ready_devices("a")
    run, engine = world.running()
    made = world.begin(engine, 1, "a")
    devices["a"].take()
    world.operator.pause_run(run.id)
    with world.manager.services.db.write() as session:
        attempt = transitions.attempt_of(session, lookup.require_run(session, run.id))
        assert attempt is not None
        attempts.mark_lost(session, attempt.id, "the Server Manager was restarted", world.clock())
    assert world.operator.run(run.id).why.startswith("pausing 0 of 1: waiting for a")
    devices["a"].drop(made["a"])
    assert _status(world, run.id) is RunStatus.PAUSED


def test_the_last_round_may_win_the_race_against_a_pause(world: World) -> None:
    world.task(overrides=["num_rounds=1"])
    world.ready_devices("a")
    run, engine = world.running()
    engine.begin_round(1, c.RoundBegin(selected={"a": "x"}))
    commit = world.commit(engine, 1, "a")
    world.operator.pause_run(run.id)
    assert engine.commit(commit).command == "pause"
    _finish(engine, "completed")
    assert _status(world, run.id) is RunStatus.COMPLETED


# --- what cannot be --------------------------------------------------------------------------

ACTIONS: dict[str, Callable[[OperatorClient, int], c.RunRead]] = {
    "pause": OperatorClient.pause_run,
    "resume": OperatorClient.resume_run,
    "stop": OperatorClient.stop_run,
    "extend": lambda client, run_id: client.extend_run(run_id, c.RunExtend(rounds=1)),
    "retry": OperatorClient.retry_run,
}
#: In which states each action is taken; in all others it is refused.
ALLOWED = {
    "pause": "pending starting running pausing paused resuming",
    "resume": "paused resuming",
    "stop": "pending starting running pausing paused resuming stopping",
    "extend": "completed stopped failed",
    "retry": "stopped failed",
}


def _bring_to(world: World, status: RunStatus, task: str = "mnist") -> int:
    """A new task's run with a committed round (if it got so far) in this state."""
    world.task(task)
    names = (f"{task}-a", f"{task}-b")
    devices = world.ready_devices(*names, task=task)
    if status in (RunStatus.PENDING, RunStatus.STARTING):
        run = world.operator.start_run(task, c.RunStart())
        if status is RunStatus.STARTING:
            world.open_attempt(run.id)
        return run.id
    run, engine = world.running(task)
    world.do_round(engine, 1, *names)
    made = world.begin(engine, 2, *names)
    for device in devices.values():
        device.take()
    if status in (RunStatus.PAUSING, RunStatus.PAUSED, RunStatus.RESUMING):
        world.operator.pause_run(run.id)
    if status in (RunStatus.STOPPING, RunStatus.STOPPED):
        world.operator.stop_run(run.id)
    if status in (RunStatus.PAUSED, RunStatus.RESUMING, RunStatus.STOPPED):
        _finish(engine, "paused")
        for name, device in devices.items():
            device.drop(made[name])
    if status is RunStatus.RESUMING:
        world.operator.resume_run(run.id)
    if status is RunStatus.FAILED:
        engine.finish(c.EngineFinish(outcome="failed", reason=FailureReason.APP_ERROR, text="x"))
    if status is RunStatus.COMPLETED:
        for number in (2, 3):
            world.do_round(engine, number, *names)
        _finish(engine, "completed")
    assert _status(world, run.id) is status
    return run.id


def test_what_is_not_allowed_is_refused_with_the_state(world: World) -> None:
    for status in RunStatus:
        run_id = _bring_to(world, status, f"task-{status}")
        for action in [name for name in ACTIONS if status not in ALLOWED[name].split()]:
            with pytest.raises(Conflict, match=f"run {run_id} is {status}") as refused:
                ACTIONS[action](world.operator, run_id)
            assert refused.value.http_status == 409
            assert _status(world, run_id) is status, (status, action)


def test_what_is_allowed_is_taken(world: World) -> None:
    taken = [(action, RunStatus(state)) for action in ACTIONS for state in ALLOWED[action].split()]
    for action, status in taken:
        run_id = _bring_to(world, status, f"{action}-{status}")
        seen = ACTIONS[action](world.operator, run_id)
        if action in ("extend", "retry"):
            assert (seen.parent, seen.status) == (run_id, RunStatus.PENDING), (action, status)
        else:
            assert (seen.id, str(seen.status)[:4]) == (run_id, action[:4]), (action, status)


def test_a_task_with_an_active_run_is_not_put_away(world: World) -> None:
    world.task()
    run = world.operator.start_run("mnist", c.RunStart())
    world.operator.pause_run(run.id)
    with pytest.raises(Conflict, match=f"has run {run.id} going on"):
        world.operator.archive_task("mnist")
    with pytest.raises(Conflict, match=f"has run {run.id} going on"):
        world.operator.start_run("mnist", c.RunStart())


# --- extending and retrying ------------------------------------------------------------------


def _completed(world: World, state: bool = True) -> tuple[c.RunRead, c.RoundCommit]:
    """A run of 3 rounds, each with a strategy state."""
    run, engine = world.running()
    for number in range(1, 4):
        engine.begin_round(number, c.RoundBegin(selected={"a": "x"}))
        momenta = engine.upload(world.model(100.0 + number)).sha256 if state else None
        last = world.commit(engine, number, "a").model_copy(update={"strategy_state": momenta})
        engine.commit(last)
    _finish(engine, "completed")
    return world.operator.run(run.id), last


def test_extending_goes_on_from_the_final_version_with_the_momenta(world: World) -> None:
    world.task()
    world.ready_devices("a")
    old, last = _completed(world)
    new = world.operator.extend_run(old.id, c.RunExtend(rounds=2))
    assert (new.id, new.parent, new.status) == (old.id + 1, old.id, RunStatus.PENDING)
    assert (new.committed_rounds, new.rounds, new.first_round, new.seed) == (3, 5, 4, old.seed)
    assert (new.from_version, new.config["num_rounds"]) == (1, 5)
    spec, engine = _spec(world, new.id)
    assert (spec.first_round, spec.next_round, spec.rounds, spec.dataset) == (4, 4, 5, "MNIST")
    assert spec.model
    assert spec.strategy_state
    assert (spec.model.sha256, spec.strategy_state.sha256) == (last.model, last.strategy_state)
    with pytest.raises(Conflict, match=f"round 3 is of run {old.id}"):
        engine.commit(last)
    for number in (4, 5):
        world.do_round(engine, number, "a")
    _finish(engine, "completed")
    made = world.operator.model("mnist", "latest")
    assert (made.version, made.parent, made.round) == (2, 1, 5)
    assert made.lineage["parent_run"] == old.id
    assert [r.round for r in world.operator.rounds(new.id)] == [4, 5]


def test_another_strategy_begins_without_the_momenta_of_the_old(world: World) -> None:
    world.task()
    world.ready_devices("a")
    old, last = _completed(world)
    body = c.RunExtend(
        rounds=1, overrides=["server.strategy._target_=flwr.serverapp.strategy.FedAdam"]
    )
    new = world.operator.extend_run(old.id, body)
    spec, _ = _spec(world, new.id)
    assert spec.model
    assert (spec.model.sha256, spec.strategy_state) == (last.model, None)
    (begun,) = [e for e in world.operator.events(run_id=new.id) if e.name == "run.pending"]
    assert "begins without state" in begun.text


def test_retrying_does_the_rest_and_so_does_retrying_that(world: World) -> None:
    world.task()
    world.ready_devices("a")
    old, engine = world.running()
    done = world.do_round(engine, 1, "a")
    engine.finish(c.EngineFinish(outcome="failed", reason=FailureReason.APP_ERROR, text="oh"))
    first = world.operator.retry_run(old.id)
    assert (first.parent, first.committed_rounds, first.rounds) == (old.id, 1, 3)
    assert first.from_version == 0
    world.operator.stop_run(first.id)
    second = world.operator.retry_run(first.id)
    assert (second.parent, second.first_round) == (first.id, 2)
    spec, engine = _spec(world, second.id)
    assert spec.model
    assert (spec.next_round, spec.model.sha256) == (2, done.model)
    done = world.do_round(engine, 2, "a")
    with world.manager.services.db.write() as session:  # a lost attempt goes on in the new run
        attempt = transitions.attempt_of(session, lookup.require_run(session, second.id))
        assert attempt is not None
        attempts.mark_lost(session, attempt.id, "killed", world.clock())
    spec, _ = _spec(world, second.id)
    assert spec.model
    assert (spec.next_round, spec.model.sha256) == (3, done.model)
    assert [r.parent for r in world.operator.runs()] == [first.id, old.id, None]


def test_retrying_a_run_without_rounds_begins_it_anew(world: World) -> None:
    world.task()
    old = world.operator.start_run("mnist", c.RunStart(overrides=["num_rounds=2"]))
    world.operator.stop_run(old.id)
    new = world.operator.retry_run(old.id)
    assert (new.parent, new.committed_rounds, new.rounds, new.first_round) == (old.id, 0, 2, 1)
    spec, engine = _spec(world, new.id)
    assert spec.model is None
    ref = engine.upload(world.model(0.0))
    engine.initial_model(c.ModelInit(model=ref.sha256, contract=CONTRACT))
    assert world.operator.run(new.id).from_version == 0


def test_a_new_app_is_taken_when_asked_for(world: World) -> None:
    from managing import bundle

    world.task()
    old = world.operator.start_run("mnist", c.RunStart())
    world.operator.stop_run(old.id)
    fixed = world.upload(bundle(**{"toy/fixed.py": "x = 1"}))
    world.operator.update_task("mnist", c.TaskUpdate(bundle=fixed.sha256))
    bundles = []
    for current in (False, True):
        new = world.operator.retry_run(old.id, c.RunRetry(current_app=current))
        with world.manager.services.db.read() as session:
            bundles.append(lookup.require_run(session, new.id).bundle)
        world.operator.stop_run(new.id)
    assert bundles[0] != fixed.sha256
    assert bundles[1] == fixed.sha256


def test_bad_bodies_are_refused(world: World) -> None:
    run_id = _bring_to(world, RunStatus.FAILED)
    for body in ({}, {"rounds": 0}, {"rounds": 1.5}, {"rounds": 2, "x": 1}):
        with pytest.raises(FedOpsError) as refused:
            world.operator._send("POST", f"/runs/{run_id}/extend", json=body)
        assert refused.value.http_status == 422, body


def test_a_retry_that_leaves_no_round_is_refused(world: World) -> None:
    run_id = _bring_to(world, RunStatus.FAILED)
    with pytest.raises(Conflict, match=r"1 committed rounds, and num_rounds = 1 leaves none"):
        world.operator.retry_run(run_id, c.RunRetry(overrides=["num_rounds=1"]))
    assert _status(world, run_id) in RUN_TERMINAL
    assert world.operator.run(run_id).attempts[0].status is AttemptStatus.ENDED
