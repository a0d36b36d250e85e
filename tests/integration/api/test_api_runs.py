"""Runs over HTTP: started, executed by an engine, watched; and who may be invited."""

from __future__ import annotations

import math
import threading

import pytest
from managing import CONTRACT, Device, Engine, World, idle, replied
from work_calls import RESULT, lose_attempt, model_of

from fedops.core import contracts as c
from fedops.core.errors import Forbidden, Invalid, NotFound, RunBusy
from fedops.core.states import AttemptStatus, ParticipationStatus, RunStatus


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
    assert done.why == (
        "completed 2 rounds; the global model is V1 (accuracy 0.200); "
        "'fedops model download mnist V1' fetches it"
    )
    assert done.metrics == {"accuracy": 0.2, "loss": 0.1}
    assert done.attempts[0].status is AttemptStatus.ENDED
    assert world.operator.task("mnist").active_run is None


def test_who_starts_a_run_is_told_what_will_happen(world: World) -> None:
    world.task()
    world.ready_devices("a", "b", "c")
    world.join("away")

    def plan(*overrides: str) -> str:
        run = world.operator.start_run("mnist", c.RunStart(overrides=list(overrides)))
        world.operator.stop_run(run.id)
        return run.plan

    rest = "3 rounds, a round counts with"
    assert plan("clients_per_round=3") == f"3 devices ready, all 3 each round, {rest} 2"
    assert (
        plan("clients_per_round=1") == f"3 devices ready, 1 of your 3 devices each round, {rest} 1"
    )
    assert plan("clients_per_round=5") == f"3 devices ready, a round asks 5, {rest} 3"
    fewest = "server.round.min_replies=1"
    assert plan("clients_per_round=3", fewest) == f"3 devices ready, all 3 each round, {rest} 1"


def test_an_override_that_would_do_nothing_is_refused(world: World) -> None:
    nothing, words = ["wandb.use=true"], "'wandb.use' does nothing here"
    with pytest.raises(Invalid, match=words):
        world.task(overrides=nothing)
    world.task()
    with pytest.raises(Invalid, match=words):
        world.operator.update_task("mnist", c.TaskUpdate(overrides=nothing))
    with pytest.raises(Invalid, match=words):
        world.operator.start_run("mnist", c.RunStart(overrides=nothing))
    run = world.operator.start_run("mnist", c.RunStart())
    world.operator.stop_run(run.id)
    with pytest.raises(Invalid, match=words):
        world.operator.retry_run(run.id, c.RunRetry(overrides=nothing))


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
        except RunBusy as error:
            results.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [r for r in results if isinstance(r, int)]
    lost = [r for r in results if isinstance(r, RunBusy)]
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
        "down: its training client died (2 restarts) and starts again soon: killed; "
        "new: its training client is stopped; for 0 s, limit 10 min; "
        f"start what is missing ('fedops client run' there) or 'fedops run stop {run.id}'"
    )


def test_a_device_that_evaluates_only_is_told_apart(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b", "judge")
    said = idle()
    facts = {"training_examples": 0, "validation_examples": 200}
    process = said.process.model_copy(update=facts)
    devices["judge"].poll(said.model_copy(update={"process": process}))
    devices["a"].poll(
        said.model_copy(
            update={"process": c.ProcessReport(status=said.process.status, training_examples=60)}
        )
    )
    world.step()
    started = world.operator.start_run("mnist", c.RunStart(overrides=["clients_per_round=2"]))
    assert started.plan == (
        "2 devices train, 1 evaluates only, all 2 each round, 3 rounds, a round counts with 2"
    )
    world.operator.stop_run(started.id)
    run, engine = world.running()
    world.clock.advance(2.0)  # what changes nothing for a run is written now and then
    world.step()
    found = {x.device: x.evaluates_only for x in engine.candidates().candidates}
    assert found == {"a": False, "b": None, "judge": True}
    judge = world.operator.device("judge")
    assert judge.why == (
        "online; its training client is ready, evaluates only: it has no training example"
    )
    assert judge.process.validation_examples == 200
    engine.progress(c.EngineProgress(phase="waiting", round=1, needed=3))
    assert "judge: evaluates only: it has no training example" in world.operator.run(run.id).why


def test_a_device_whose_conditions_are_unmet_is_not_invited_until_they_are(world: World) -> None:
    world.task()
    devices = world.ready_devices("plugged", "moving")
    run, engine = world.running()
    process = idle().process.model_copy(update={"unmet_conditions": "not charging"})
    devices["moving"].poll(idle().model_copy(update={"process": process}))
    world.step()
    why = "takes no new work by its owner's conditions: not charging"
    found = {x.device: x.unavailable for x in engine.candidates().candidates}
    assert found == {"moving": why, "plugged": None}
    engine.progress(c.EngineProgress(phase="waiting", round=1, needed=2))
    assert f"moving: {why}" in world.operator.run(run.id).why
    devices["moving"].poll(idle())
    world.step()
    assert all(x.unavailable is None for x in engine.candidates().candidates)


def test_candidates_carry_their_history(world: World) -> None:
    world.task()
    world.ready_devices("a", "b")
    _, engine = world.running()
    world.do_round(engine, 1, "a")
    world.do_round(engine, 2, "a", "b")
    a, b = engine.candidates().candidates
    assert (a.rounds_taken, a.last_round, a.last_loss) == (2, 2, 0.25)
    assert (b.rounds_taken, b.last_round) == (1, 2)
    assert (a.rounds_invited, a.last_invited, b.rounds_invited) == (2, 2, 1)
    assert (a.last_seconds, a.round_seconds) == (None, None), "no selector of the run goes by it"


def played(
    world: World, engine: Engine, devices: dict[str, Device], number: int, **seconds: float | None
) -> None:
    """A round in which each device delivers after so many seconds; None: never."""
    made = world.begin(engine, number, *seconds)
    begun, reports = world.clock(), []
    for name in seconds:
        devices[name].take()
    for name, took in sorted(seconds.items(), key=lambda one: one[1] or math.inf):
        status = ParticipationStatus.DROPPED if took is None else ParticipationStatus.REPLIED
        world.clock.now = begun + (60.0 if took is None else took)
        if took is None:
            engine.cancel(c.CancelRequest(ids=[made[name]], reason="the deadline is over"))
        else:
            devices[name].deliver(made[name], RESULT)
        devices[name].drop(made[name])
        reports.append(replied(name).model_copy(update={"status": status}))
    commit = world.commit(engine, number, *seconds)
    engine.commit(commit.model_copy(update={"participations": reports}))


def test_the_seconds_that_selectors_see_are_those_from_the_offer_to_the_delivery(
    world: World,
) -> None:
    """Devices say half a second of every round: their own word, without the network."""
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running("mnist", "server.selection.selector=oort")
    played(world, engine, devices, 1, a=4.0, b=40.0)
    played(world, engine, devices, 2, a=6.0)
    a, b = engine.candidates().candidates
    assert (a.last_seconds, a.round_seconds) == (6.0, pytest.approx(4.0 + 0.3 * 2.0))
    assert (b.last_seconds, b.round_seconds) == (40.0, 40.0)


def test_a_deadline_that_was_missed_counts_as_a_time(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b", "c")
    _, engine = world.running("mnist", "server.selection.selector=oort")
    played(world, engine, devices, 1, a=4.0, b=None, c=5.0)
    played(world, engine, devices, 2, c=None)
    played(world, engine, devices, 3, b=5.0)
    a, b, c_ = engine.candidates().candidates
    assert (a.rounds_invited, b.rounds_invited, b.rounds_taken, b.last_round) == (1, 2, 1, 3)
    assert b.round_seconds == pytest.approx(60.0 + 0.3 * (5.0 - 60.0))
    assert c_.round_seconds == pytest.approx(5.0 + 0.3 * (60.0 - 5.0))
    assert (c_.last_seconds, c_.last_loss, c_.last_round) == (5.0, 0.25, 1)


def test_who_fails_at_once_is_no_faster_than_those_that_replied(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running("mnist", "server.selection.selector=oort")
    made = world.begin(engine, 1, "a", "b")
    for device in devices.values():
        device.take()
    devices["b"].end(made["b"], c.WorkEnd(outcome="failed", reason="no memory"))
    world.clock.advance(20.0)
    devices["a"].deliver(made["a"], RESULT)
    failed = replied("b").model_copy(update={"status": ParticipationStatus.DROPPED})
    commit = world.commit(engine, 1, "a", "b")
    engine.commit(commit.model_copy(update={"participations": [replied("a"), failed]}))
    _, b = engine.candidates().candidates
    assert (b.last_seconds, b.round_seconds) == (None, 20.0)


def test_the_seconds_of_a_round_outlive_the_attempt_that_began_it(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    run, engine = world.running("mnist", "server.selection.selector=oort")
    made = world.begin(engine, 1, "a", "b", model=model_of(world, engine))
    for device in devices.values():
        device.take()
    world.clock.advance(8.0)
    devices["a"].deliver(made["a"], RESULT)
    lose_attempt(world, run.id)
    _, second = world.open_attempt(run.id)
    assert second.hello(c.EngineHello(pid=2)).open_round is not None
    world.clock.advance(4.0)
    devices["b"].deliver(made["b"], RESULT)
    second.commit(world.commit(second, 1, "a", "b"))
    found = {one.device: one.round_seconds for one in second.candidates().candidates}
    assert found == {"a": 8.0, "b": 12.0}


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


def test_the_engine_may_only_act_for_its_own_attempt(world: World) -> None:
    world.task()
    run = world.operator.start_run("mnist", c.RunStart())
    _, engine = world.open_attempt(run.id)
    token = engine._http.headers["authorization"].removeprefix("Bearer ")
    with pytest.raises(
        Forbidden, match="takes the token of a user; what was sent is the token of an"
    ):
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
        ("user admin", "run.pending"),
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
