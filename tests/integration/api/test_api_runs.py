"""Runs over HTTP: started, executed by an engine, stopped, lost, continued."""

from __future__ import annotations

import threading

import pytest
from managing import CONTRACT, World, idle, replied, training

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Forbidden, Invalid, NotFound
from fedops.core.states import AttemptStatus, FailureReason, ParticipationStatus, RunStatus
from fedops.server.runs import attempts


def _lose(world: World, attempt_id: int, why: str = "its process died") -> None:
    with world.manager.services.db.write() as session:
        attempts.mark_lost(session, attempt_id, why, world.clock())


def test_a_run_from_start_to_a_new_model(world: World) -> None:
    world.task()
    world.ready_devices("a", "b")
    started = world.operator.start_run(
        "mnist", c.RunStart(overrides=["num_rounds=2", "random_seed=9"])
    )
    assert (started.status, started.rounds, started.seed) == (RunStatus.PENDING, 2, 9)
    assert (started.config["num_rounds"], started.config["random_seed"]) == (2, 9)
    assert world.operator.task("mnist").active_run == started.id
    _, engine = world.open_attempt(started.id)
    assert world.operator.run(started.id).status is RunStatus.STARTING
    spec = engine.hello(c.EngineHello(pid=4711))
    assert (spec.run_id, spec.attempt, spec.next_round, spec.rounds) == (started.id, 1, 1, 2)
    assert (spec.seed, spec.model, spec.contract) == (9, None, None)
    ref = engine.upload(world.model(0.0))
    engine.initial_model(c.ModelInit(model=ref.sha256, contract=CONTRACT))
    for number in (1, 2):
        world.do_round(engine, number, "a", "b")
    engine.finish(c.EngineFinish(outcome="completed", client_metrics={"loss": 0.1}))
    done = world.operator.run(started.id)
    assert (done.status, done.version, done.from_version, done.committed_rounds) == (
        RunStatus.COMPLETED,
        1,
        0,
        2,
    )
    assert done.why == "completed 2 rounds; the global model is V1 (accuracy 0.200)"
    assert done.metrics == {"accuracy": 0.2, "loss": 0.1}
    assert done.attempts[0].status is AttemptStatus.ENDED
    assert world.operator.task("mnist").active_run is None


def test_rounds_show_their_clients_and_the_metrics_of_the_model_they_made(world: World) -> None:
    world.task()
    world.ready_devices("a", "b")
    run, engine = world.running()
    world.do_round(engine, 1, "a", "b")
    world.do_round(engine, 2, "a", "b")
    first, second = world.operator.rounds(run.id)
    assert first.metrics == {
        "accuracy": 0.1,
        "loss": 0.5,
        "train_loss": 0.5,
    }  # loss: said in round 2
    assert second.metrics == {"accuracy": 0.2, "train_loss": 0.5}
    assert (second.seconds, second.overhead_seconds, second.timing) == (1.0, 0.1, {"training": 0.8})
    assert [(p.device, p.status, p.selection, p.examples) for p in first.participations] == [
        ("a", ParticipationStatus.REPLIED, "all of them", 100),
        ("b", ParticipationStatus.REPLIED, "all of them", 100),
    ]
    values = world.operator.metrics(run.id, "loss")
    assert [(m.source, m.round, m.value) for m in values] == [
        ("clients", 0, 1.0),
        ("training", 1, 0.5),
        ("clients", 1, 0.5),
        ("training", 2, 0.5),
    ]


def test_one_active_run_per_task_also_when_starts_race(world: World) -> None:
    world.task()
    results: list[object] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        try:
            results.append(world.operator.start_run("mnist", c.RunStart()).id)
        except Conflict as error:
            results.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [r for r in results if isinstance(r, int)]
    lost = [r for r in results if isinstance(r, Conflict)]
    assert (len(won), len(lost)) == (1, 7)
    assert all(f"has run {won[0]} going on" in str(error) for error in lost)
    assert [r.id for r in world.operator.runs()] == won


def test_two_tasks_run_at_once_each_with_its_own_devices(world: World) -> None:
    world.task("one")
    world.task("two")
    world.ready_devices("a", task="one")
    world.ready_devices("b", task="two")
    first, engine = world.running("one")
    second, other = world.running("two")
    assert [x.device for x in engine.candidates().candidates] == ["a"]
    assert [x.device for x in other.candidates().candidates] == ["b"]
    assert {first.status, second.status} == {RunStatus.RUNNING}


def test_candidates_say_why_they_cannot_be_invited(world: World) -> None:
    world.task()
    devices = world.ready_devices("away", "free", "odd", "down")
    new = world.join("new")[1]
    run, engine = world.running()
    world.clock.advance(30)
    process = c.ProcessReport(status="backoff", restarts=2, reason="killed")
    devices["free"].poll(idle())
    devices["odd"].poll(idle("other").model_copy(update={"tasks": ["mnist"]}))
    devices["down"].poll(c.WorkPoll(tasks=["mnist"], process=process))
    new.poll(c.WorkPoll(tasks=["mnist"]))
    world.step()
    found = {x.device: x.unavailable for x in engine.candidates().candidates}
    assert found == {
        "away": "offline, last seen 30 s ago",
        "down": "its training client died (2 restarts) and starts again soon: killed",
        "free": None,
        "new": "its training client is stopped",
        "odd": None,  # it works for another task meanwhile
    }
    engine.progress(c.EngineProgress(phase="waiting", round=1, needed=3))
    assert world.operator.run(run.id).why == (
        "waiting for 1 more device: 4 of 5 online, away last seen 30 s ago, "
        "down: its training client died (2 restarts) and starts again soon: killed, "
        "new: its training client is stopped; for 0 s, limit 10 min"
    )


def test_candidates_carry_their_history(world: World) -> None:
    world.task()
    world.ready_devices("a", "b")
    _, engine = world.running()
    world.do_round(engine, 1, "a")
    world.do_round(engine, 2, "a", "b")
    a, b = engine.candidates().candidates
    assert (a.rounds_taken, a.last_round, a.last_seconds, a.last_loss) == (2, 2, 0.5, 0.25)
    assert (b.rounds_taken, b.last_round) == (1, 2)


def test_why_tells_the_phase_with_numbers(world: World) -> None:
    world.task()
    world.ready_devices("a", "b", "c")
    run, engine = world.running()
    engine.progress(
        c.EngineProgress(phase="training", round=1, selected=["a", "b", "c"], replied=["a", "b"])
    )
    assert world.operator.run(run.id).why == (
        "round 1 of 3: training, 2 of 3 replied; for 0 s, limit 10 min"
    )
    world.clock.advance(30)
    assert world.operator.run(run.id).why == (
        "round 1 of 3: training, 2 of 3 replied; waiting for c (offline, last seen 30 s ago); "
        "for 30 s, limit 10 min"
    )


# --- commits ---------------------------------------------------------------------------------


def test_a_commit_is_repeatable_and_final(world: World) -> None:
    world.task()
    world.ready_devices("a")
    run, engine = world.running()
    commit = world.do_round(engine, 1, "a")
    rows = len(world.operator.metrics(run.id))
    assert engine.commit(commit).command == "continue"
    assert len(world.operator.metrics(run.id)) == rows
    assert world.operator.run(run.id).committed_rounds == 1
    other = world.commit(engine, 1, "a", value=99.0)
    with pytest.raises(Conflict, match="a committed round does not change"):
        engine.commit(other)
    with pytest.raises(Conflict, match="has 1 committed rounds of 3: the next is 2, not 3"):
        engine.commit(world.commit(engine, 3, "a"))


def test_a_commit_is_checked(world: World) -> None:
    world.task()
    world.ready_devices("a", "b")
    run, engine = world.running()
    with pytest.raises(Conflict, match="did not begin round 1"):
        engine.commit(world.commit(engine, 1, "a"))
    with pytest.raises(Invalid, match="there is no device nobody"):
        engine.begin_round(1, c.RoundBegin(selected={"nobody": "x"}))
    engine.begin_round(1, c.RoundBegin(selected={"a": "x"}))
    good = world.commit(engine, 1, "a")
    with pytest.raises(NotFound, match=r"the model 0000.* was not uploaded"):
        engine.commit(good.model_copy(update={"model": "0" * 64}))
    with pytest.raises(Invalid, match="device 'b' was not selected for round 1"):
        engine.commit(good.model_copy(update={"participations": [replied("b")]}))
    assert world.operator.run(run.id).committed_rounds == 0
    assert world.operator.metrics(run.id) == []
    engine.commit(good)
    assert world.operator.run(run.id).committed_rounds == 1


def test_a_round_keeps_why_a_client_was_lost_or_refused(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b", "c", "d")
    run, engine = world.running()
    engine.begin_round(1, c.RoundBegin(selected=dict.fromkeys("abcd", "all")))
    rejected = c.ParticipationReport(
        device="b", status=ParticipationStatus.REJECTED, reason="NaN in 'w'"
    )
    dropped = c.ParticipationReport(
        device="c", status=ParticipationStatus.DROPPED, reason="offline"
    )
    commit = world.commit(engine, 1, "a").model_copy(
        update={
            "participations": [replied("a"), rejected, dropped],
            "refused": {"c": "its data set is 'digits', the run's is 'MNIST'"},
        }
    )
    assert devices["c"].poll().runs == [run.id]
    engine.commit(commit)
    (seen,) = world.operator.rounds(run.id)
    assert [(p.device, p.status.value, p.reason) for p in seen.participations] == [
        ("a", "replied", None),
        ("b", "rejected", "NaN in 'w'"),
        ("c", "dropped", "offline"),
        ("d", "dropped", "the engine did not report on it"),
    ]
    found = {x.device: x.unavailable for x in engine.candidates().candidates}
    assert found["c"] == "refused for this run: its data set is 'digits', the run's is 'MNIST'"
    names = [e.name for e in world.operator.events(run_id=run.id)]
    assert {"client.rejected", "client.dropped", "client.refused"} <= set(names)


# --- attempts --------------------------------------------------------------------------------


def test_a_lost_attempt_is_fenced_and_the_next_goes_on(world: World) -> None:
    world.task()
    devices = world.ready_devices("a")
    run = world.operator.start_run("mnist", c.RunStart())
    first_id, first = world.open_attempt(run.id)
    first.hello(c.EngineHello(pid=1))
    ref = first.upload(world.model(0.0))
    first.initial_model(c.ModelInit(model=ref.sha256, contract=CONTRACT))
    done = world.do_round(first, 1, "a", value=1.5)
    first.begin_round(2, c.RoundBegin(selected={"a": "first"}))
    late = world.commit(first, 2, "a")
    _lose(world, first_id)
    _lose(world, first_id)  # repeating a report is harmless
    seen = world.operator.run(run.id)
    assert seen.status is RunStatus.RESUMING
    assert "going on with round 2 of 3 in a new attempt" in seen.why
    assert devices["a"].poll().runs == [run.id]
    for call in (
        lambda: first.commit(late),
        first.candidates,
        lambda: first.collect(c.CollectRequest(wait=0)),
        lambda: first.hello(c.EngineHello(pid=1)),
        lambda: first.begin_round(2, c.RoundBegin(selected={"a": "x"})),
        lambda: first.finish(c.EngineFinish(outcome="failed")),
        lambda: first.upload(world.model(3.0)),
    ):
        with pytest.raises(Conflict, match="attempt 1 of run 1 is over"):
            call()
    _, second = world.open_attempt(run.id)
    spec = second.hello(c.EngineHello(pid=2))
    assert (spec.attempt, spec.next_round, spec.dataset) == (2, 2, "MNIST")
    assert spec.model
    assert spec.model.sha256 == done.model
    assert spec.contract == CONTRACT
    assert world.operator.run(run.id).status is RunStatus.RUNNING
    lost, alive = world.operator.run(run.id).attempts
    assert lost.why.startswith("lost: ")
    assert (alive.why, alive.limit_seconds) == (
        "its FL server (process 2) is beginning for 0 s, limit 60 min",
        3_600.0,
    )
    world.do_round(second, 2, "a")
    redone = world.operator.rounds(run.id)[1]
    assert (redone.attempt, [p.selection for p in redone.participations]) == (2, ["all of them"])


def test_attempts_that_make_no_round_fail_the_run_in_the_end(world: World) -> None:
    world.task(overrides=["server.round.max_retries=1"])
    run = world.operator.start_run("mnist", c.RunStart())
    for expected in (RunStatus.RESUMING, RunStatus.FAILED):
        attempt_id, _ = world.open_attempt(run.id)
        _lose(world, attempt_id, "no module named 'toy'")
        assert world.operator.run(run.id).status is expected
    seen = world.operator.run(run.id)
    assert seen.reason is FailureReason.ENGINE_ERROR
    assert seen.why == (
        "failed (engine_error) after round 0 of 3: 2 attempts in a row made no round; "
        "attempt 2 was lost: no module named 'toy'"
    )


def test_an_engine_that_fails_says_why(world: World) -> None:
    world.task()
    run, engine = world.running()
    engine.finish(
        c.EngineFinish(
            outcome="failed", reason=FailureReason.TOO_FEW_CLIENTS, text="1 of 2 devices for 600 s"
        )
    )
    engine.finish(
        c.EngineFinish(
            outcome="failed", reason=FailureReason.TOO_FEW_CLIENTS, text="1 of 2 devices for 600 s"
        )
    )
    seen = world.operator.run(run.id)
    assert (seen.status, seen.reason) == (RunStatus.FAILED, FailureReason.TOO_FEW_CLIENTS)
    assert seen.why.endswith("1 of 2 devices for 600 s")
    assert world.operator.task("mnist").latest_version is None


def test_a_run_is_complete_only_with_all_its_rounds(world: World) -> None:
    world.task()
    world.ready_devices("a")
    run, engine = world.running()
    world.do_round(engine, 1, "a")
    with pytest.raises(Conflict, match="1 of 3 rounds committed"):
        engine.finish(c.EngineFinish(outcome="completed"))
    assert world.operator.run(run.id).status is RunStatus.RUNNING


def test_finishing_again_makes_no_second_version(world: World) -> None:
    world.task(overrides=["num_rounds=1"])
    world.ready_devices("a")
    _, engine = world.running()
    world.do_round(engine, 1, "a")
    for _ in range(2):
        engine.finish(c.EngineFinish(outcome="completed"))
    assert [v.version for v in world.operator.models("mnist")] == [0, 1]


def test_runs_start_from_latest_or_as_asked(world: World) -> None:
    world.task(overrides=["num_rounds=1"])
    world.ready_devices("a")
    made = []
    for start in (c.RunStart(), c.RunStart(), c.RunStart(from_version=0)):
        run = world.operator.start_run("mnist", start)
        _, engine = world.open_attempt(run.id)
        spec = engine.hello(c.EngineHello(pid=1))
        made.append(spec.model)
        if spec.model is None:
            ref = engine.upload(world.model(0.0))
            engine.initial_model(c.ModelInit(model=ref.sha256, contract=CONTRACT))
        world.do_round(engine, 1, "a", value=float(len(made)))
        engine.finish(c.EngineFinish(outcome="completed"))
    versions = world.operator.models("mnist")
    assert [v.parent for v in versions] == [None, 0, 1, 0]
    assert made[0] is None
    assert made[1]
    assert made[1].sha256 == versions[1].sha256
    assert made[2]
    assert made[2].sha256 == versions[0].sha256


def test_another_initial_model_is_refused(world: World) -> None:
    world.task()
    _, engine = world.running()
    same = engine.upload(world.model(0.0))
    engine.initial_model(c.ModelInit(model=same.sha256, contract=CONTRACT))
    other = engine.upload(world.model(5.0))
    with pytest.raises(Conflict, match="has another initial model V0: the same tensors with other"):
        engine.initial_model(c.ModelInit(model=other.sha256, contract=CONTRACT))


# --- stopping --------------------------------------------------------------------------------


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
    assert seen.why == "stopped after round 1 of 3: stopped by the operator"
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
        world.manager.sweeper.step()
        assert world.operator.run(run.id).status is RunStatus.STOPPING
    world.clock.advance(1.1)
    world.manager.sweeper.step()
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


# --- whose call it is ------------------------------------------------------------------------


def test_the_engine_may_only_act_for_its_own_attempt(world: World) -> None:
    world.task()
    run = world.operator.start_run("mnist", c.RunStart())
    _, engine = world.open_attempt(run.id)
    token = engine._http.headers["authorization"].removeprefix("Bearer ")
    with pytest.raises(Forbidden, match="takes the admin token; what was sent is the token of an"):
        world.with_token(token).runs()
    with pytest.raises(Forbidden, match="takes the token of an attempt"):
        world.operator._call(c.Candidates, "GET", "/engine/candidates")


def test_files_travel_whole(world: World) -> None:
    world.task()
    _, engine = world.running()
    data = bytes(range(256)) * 20_000
    ref = engine.upload(world.file(data))
    assert ref.size == len(data)
    got = engine.fetch_blob(ref, world.folder / "got")
    assert got.read_bytes() == data
    with pytest.raises(NotFound, match=r"the blob 0+ was not uploaded"):
        engine.fetch_blob(c.BlobRef(sha256="0" * 64, size=1), world.folder / "none")


def test_events_tell_the_story_in_order(world: World) -> None:
    world.task(overrides=["num_rounds=1"])
    world.ready_devices("a")
    run, engine = world.running()
    world.do_round(engine, 1, "a")
    engine.finish(c.EngineFinish(outcome="completed"))
    story = [(e.who, e.name) for e in world.operator.events(run_id=run.id)]
    assert story == [
        ("operator", "run.pending"),
        ("scheduler", "attempt.starting"),
        ("scheduler", "run.starting"),
        ("engine (attempt 1)", "attempt.running"),
        ("engine (attempt 1)", "run.running"),
        ("engine (attempt 1)", "model.created"),
        ("engine (attempt 1)", "round.begun"),
        ("engine (attempt 1)", "round.committed"),
        ("engine (attempt 1)", "attempt.ended"),
        ("engine (attempt 1)", "model.created"),
        ("engine (attempt 1)", "run.completed"),
    ]
    ids = [e.id for e in world.operator.events()]
    assert ids == sorted(ids)
    assert [e.id for e in world.operator.events(after=ids[3])] == ids[4:]
