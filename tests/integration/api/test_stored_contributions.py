"""Contributions on the server: planned with a commit, kept once, read by people, gone on from."""

from __future__ import annotations

from typing import Any

import pytest
from managing import World, replied

from fedops.api_client import EngineClient
from fedops.core import contracts as c
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.server.rounds import checkpoints

PLAN = c.ScoringPlan(method="shapley", evaluations=4, examples=100, note="all that fits")
REPLAY = c.IntegrityFinding(kind="replay", evidence="it is the last change")


def scores(round_: int, **more: Any) -> c.RoundScores:
    value = {"a": 0.5, "b": -0.1}
    found = [
        c.ClientScore(device=d, value=v, value_error=0.01, integrity=-0.5, by_class=[v, 0.0])
        for d, v in value.items()
    ]
    standings = [
        c.ClientStanding(device="a", value=round_ * 0.5, rounds=round_),
        c.ClientStanding(device="b", value=round_ * -0.1, rounds=round_, findings=[REPLAY]),
    ]
    given: dict[str, Any] = {
        "method": "shapley",
        "evaluations": 4,
        "examples": 100,
        "seconds": 0.05,
        "basis": {"data set": "MNIST", "measured on": "100 examples of the server"},
        "scores": found,
        "standings": standings,
        "history": {"last_round": round_},
    }
    return c.RoundScores(round=round_, **{**given, **more})


def play(world: World, engine: EngineClient, number: int, *, scored: bool = True) -> None:
    """A round of both devices whose commit plans its scores."""
    engine.begin_round(number, c.RoundBegin(selected=dict.fromkeys(("a", "b"), "both")))
    commit = world.commit(engine, number, "a", "b")  # type: ignore[arg-type]
    engine.commit(commit.model_copy(update={"scoring": PLAN}))
    if scored:
        engine.scores(scores(number))


@pytest.fixture
def running(world: World) -> tuple[int, EngineClient]:
    world.task(overrides=["num_rounds=9"])
    world.ready_devices("a", "b")
    run, engine = world.running()
    return run.id, engine


def test_scores_are_read_by_round_and_over_all(
    world: World, running: tuple[int, EngineClient]
) -> None:
    run_id, engine = running
    assert world.operator.task_contributions("mnist").clients == []
    for number in (1, 2):
        play(world, engine, number)
    play(world, engine, 3, scored=False)
    rounds = world.operator.contributions(run_id)
    assert [(one.round, one.scored_at is None) for one in rounds] == [
        (3, True),
        (2, False),
        (1, False),
    ]
    assert rounds[1].plan == PLAN
    assert rounds[1].share == pytest.approx(0.05)
    assert {s.device: (s.value, s.by_class) for s in rounds[1].scores} == {
        "a": (0.5, [0.5, 0.0]),
        "b": (-0.1, [-0.1, 0.0]),
    }
    found = world.operator.task_contributions("mnist")
    assert (found.run_id, found.round, found.basis["data set"]) == (run_id, 2, "MNIST")
    assert [(one.device, one.value) for one in found.clients] == [("a", 1.0), ("b", -0.2)]
    assert [one.kind for one in found.clients[1].findings] == ["replay"]
    assert [one.round for one in world.operator.contributions(run_id, 1)] == [1]
    said = [e.text for e in world.operator.events(run_id=run_id) if "with 4 evaluations" in e.text]
    assert said[-1] == "shapley with 4 evaluations, 0.1 s; b: replay (it is the last change)"


def test_an_unscored_round_is_no_round_of_directions(
    world: World, running: tuple[int, EngineClient]
) -> None:
    run_id, engine = running
    play(world, engine, 1, scored=False)
    lost = c.RoundScores(round=1, seconds=0.5, note="it could not be scored: it was killed")
    engine.scores(lost)
    said = [e.text for e in world.operator.events(run_id=run_id) if e.name == "round.scored"]
    assert said == ["no scores, 0.5 s; it could not be scored: it was killed"]


def test_what_is_not_scored_at_the_end_of_a_run_never_is(
    world: World, running: tuple[int, EngineClient]
) -> None:
    run_id, engine = running
    play(world, engine, 1, scored=False)
    assert [one.run_ended for one in world.operator.contributions(run_id)] == [False]
    world.operator.stop_run(run_id)
    engine.finish(c.EngineFinish(outcome="stopped"))
    (left,) = world.operator.contributions(run_id)
    assert (left.scored_at, left.run_ended) == (None, True)


def test_the_metric_that_values_are_made_of_is_read(
    world: World, running: tuple[int, EngineClient]
) -> None:
    _, engine = running
    play(world, engine, 1, scored=False)
    engine.scores(scores(1, history={"metric": "loss"}))
    assert world.operator.task_contributions("mnist").basis["metric"] == "loss"


def test_scores_that_are_there_stay(world: World, running: tuple[int, EngineClient]) -> None:
    run_id, engine = running
    play(world, engine, 1)
    engine.scores(scores(1, scores=[], note="another"))
    (kept,) = world.operator.contributions(run_id)
    assert (len(kept.scores), kept.note) == (2, "")


def test_only_planned_scores_are_taken(world: World, running: tuple[int, EngineClient]) -> None:
    run_id, engine = running
    world.do_round(engine, 1, "a", "b")  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="round 1 of run 1 is not to be scored"):
        engine.scores(scores(1))
    play(world, engine, 2, scored=False)
    with pytest.raises(Invalid, match="these are the scores of round 2, not 3"):
        engine._tell("/engine/rounds/3/scores", scores(2))
    with pytest.raises(NotFound):
        world.operator.contributions(run_id + 1)
    with pytest.raises(NotFound):
        world.operator.task_contributions("unknown")


def test_the_next_attempt_is_told_what_is_known_and_what_is_left(
    world: World, running: tuple[int, EngineClient]
) -> None:
    run_id, engine = running
    for number in (1, 2, 3, 4):
        play(world, engine, number)
    engine.begin_round(5, c.RoundBegin(selected=dict.fromkeys(("a", "b"), "both")))
    commit = world.commit(engine, 5, "a", "b")  # type: ignore[arg-type]
    parts = [replied("a", 70), replied("b", 30)]
    engine.commit(commit.model_copy(update={"scoring": PLAN, "participations": parts}))
    state = engine.hello(c.EngineHello(pid=4711)).contribution
    assert state.history == {"last_round": 4}
    assert [(one.round, one.standings[0].value) for one in state.known] == [
        (2, 1.0),
        (3, 1.5),
        (4, 2.0),
    ]
    (left,) = state.unscored
    assert (left.round, left.plan, left.examples) == (5, PLAN, {"a": 70, "b": 30})
    assert left.deliveries == []  # nothing was delivered by hand
    assert left.before is not None
    assert left.previous is not None
    assert left.before != left.previous
    assert run_id == world.operator.task_contributions("mnist").run_id


def test_the_tasks_next_run_goes_on_from_the_last(
    world: World, running: tuple[int, EngineClient]
) -> None:
    run_id, engine = running
    for number in (1, 2, 3):
        play(world, engine, number)
    world.operator.stop_run(run_id)
    engine.finish(c.EngineFinish(outcome="stopped"))
    _, later = world.running()
    state = later.hello(c.EngineHello(pid=4711)).contribution
    assert state.history == {"last_round": 3}
    assert [(one.round, one.standings[0].value) for one in state.known] == [(-1, 1.5)]
    assert state.unscored == []
    play(world, later, 1)
    again = later.hello(c.EngineHello(pid=4711)).contribution
    assert [one.round for one in again.known] == [-1, 1]


def test_every_decision_of_a_round_is_kept_by_its_try(
    world: World, running: tuple[int, EngineClient]
) -> None:
    run_id, engine = running
    first = [
        c.SelectionDecision(
            device="a", chosen=True, reason="score 2", score=2.0, parts={"value": 1.0}
        ),
        c.SelectionDecision(device="b", chosen=False, reason="others have a higher one"),
    ]
    second = [c.SelectionDecision(device="b", chosen=True, reason="all are needed")]
    engine.begin_round(1, c.RoundBegin(selected={"a": "score 2"}, decisions=first))
    both = {"a": "score 2", "b": "all are needed"}
    engine.begin_round(1, c.RoundBegin(selected=both, decisions=second, retry=1))
    found = world.operator.selections(run_id)
    assert [(one.round, one.retry) for one in found] == [(1, 1), (1, 0)]
    assert found[1].decisions == first
    assert found[0].decisions == second
    assert world.operator.selections(run_id, 2) == []


def test_a_round_that_is_done_again_is_scored_again(
    world: World, running: tuple[int, EngineClient]
) -> None:
    run_id, engine = running
    for number in (1, 2, 3):
        play(world, engine, number)
    with world.manager.services.db.write() as session:
        checkpoints.fall_back_a_round(session, 1, {3: "it is no safetensors file"}, world.clock())
    assert [one.round for one in world.operator.contributions(run_id)] == [2, 1]
    state = engine.hello(c.EngineHello(pid=4711)).contribution
    assert state.history == {"last_round": 2}
    assert [one.round for one in state.known] == [1, 2]
    assert state.unscored == []
    play(world, engine, 3)
    assert [one.round for one in world.operator.contributions(run_id)] == [3, 2, 1]
    assert world.operator.task_contributions("mnist").round == 3


def test_scores_follow_a_device_to_another_name(
    world: World, running: tuple[int, EngineClient]
) -> None:
    run_id, engine = running
    play(world, engine, 1, scored=False)
    clients = {one: {"value": 1.0} for one in ("a", "b")}
    history = {"clients": {"last_round": 1, "clients": clients}, "relative": {"a": [1.0, 0.0, 1.0]}}
    engine.scores(scores(1, history=history))
    world.operator.stop_run(run_id)
    engine.finish(c.EngineFinish(outcome="stopped"))
    world.operator.rename_device("a", c.DeviceRename(name="clients"))
    world.operator.decide_device("b", "remove")
    found = [one.device for one in world.operator.task_contributions("mnist").clients]
    assert found[0] == "clients"
    assert found[1].startswith("b (removed ")
    (kept,) = world.operator.contributions(run_id)
    assert [one.device for one in kept.scores] == found
    _, later = world.running()
    state = later.hello(c.EngineHello(pid=4711)).contribution
    assert set(state.history["clients"]["clients"]) == set(found)
    assert set(state.history["relative"]) == {"clients"}
    assert {one.device for one in state.known[0].standings} == set(found)


def test_a_device_is_not_removed_while_a_run_scores_its_task(
    world: World, running: tuple[int, EngineClient]
) -> None:
    run_id, engine = running
    world.operator.decide_device("b", "remove")  # it has done nothing, and nothing is measured
    world.operator.stop_run(run_id)
    engine.finish(c.EngineFinish(outcome="stopped"))
    run, _ = world.running("mnist", "server.contribution.method=auto")
    with pytest.raises(
        Conflict, match=f"takes part in run {run.id}: remove it when the run is over"
    ):
        world.operator.decide_device("a", "remove")


def test_what_the_run_before_came_to_is_kept_until_there_is_another_run(
    world: World, running: tuple[int, EngineClient]
) -> None:
    """A run whose rounds are all done again begins with it once more."""
    run_id, engine = running
    for number in (1, 2):
        play(world, engine, number)
    world.operator.stop_run(run_id)
    engine.finish(c.EngineFinish(outcome="stopped"))
    _, later = world.running()
    play(world, later, 1)
    with world.manager.services.db.write() as session:
        checkpoints.fall_back_a_round(session, 2, {1: "it is no safetensors file"}, world.clock())
    assert later.hello(c.EngineHello(pid=4711)).contribution.history == {"last_round": 2}
