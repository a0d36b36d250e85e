"""The attempts of a run: lost, fenced, failed, continued, finished; and the model that each begins from."""

from __future__ import annotations

import pytest
from managing import CONTRACT, World

from fedops.core import contracts as c
from fedops.core.errors import AttemptSuperseded, Conflict
from fedops.core.states import FailureReason, RunStatus
from fedops.server.runs import attempts


def _lose(world: World, attempt_id: int, why: str = "its process died") -> None:
    with world.manager.services.db.write() as session:
        attempts.mark_lost(session, attempt_id, why, world.clock())


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
        with pytest.raises(AttemptSuperseded, match="attempt 1 of run 1 is over"):
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
        f"attempt 2 was lost: no module named 'toy'; see 'fedops run logs {run.id}', "
        f"then do the rest with 'fedops run retry {run.id}'"
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
    assert "1 of 2 devices for 600 s; see 'fedops device list', then do the rest" in seen.why
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
    text = "has another initial model V0: the same tensors with other"
    with pytest.raises(Conflict, match=text) as refused:
        engine.initial_model(c.ModelInit(model=other.sha256, contract=CONTRACT))
    assert type(refused.value) is Conflict, "the attempt is current still"
