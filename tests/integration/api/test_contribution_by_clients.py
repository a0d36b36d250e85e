"""Values from the clients' own evaluations on a real Server Manager, also when another attempt goes on."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from managing import Engine, World, managing
from own_scorer import scoring_by_clients
from real_rounds import Client, play, training
from sqlalchemy import select

from fedops.api_client import EngineClient
from fedops.core import contracts as c
from fedops.core.contracts.training import coalition_kind, is_coalition_kind
from fedops.core.errors import AttemptSuperseded, Conflict
from fedops.core.states import AssignmentStatus, RunStatus
from fedops.server.database.tables import ArtifactRow, AssignmentRow, DeviceRow, ParticipationRow
from fedops.server.rounds import checkpoints
from fedops.server.runs import attempts, rebuilding

NAMES = ["d1", "d2", "d3", "d4"]
ROUNDS = 4
SERVER: dict[str, Any] = {
    "server": {
        "contribution": {"method": "auto", "utility": "clients", "max_evaluations": 5},
        "selection": {"selector": "contribution"},
    },
    "clients_per_round": 3,
    "num_rounds": ROUNDS,
}
OVERRIDES = [
    "server.contribution.method=auto",
    "server.contribution.utility=clients",
    "server.contribution.max_evaluations=5",
    "server.selection.selector=contribution",
    "clients_per_round=3",
    f"num_rounds={ROUNDS}",
]


@pytest.fixture(autouse=True)
def no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rounds take here is chance: the selector knows no times."""
    import numpy as np

    monkeypatch.setattr(
        "fedops.algorithms.selection.contribution.seconds_of",
        lambda pool: np.full(len(pool), np.nan),
    )


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Callable[[str], World]]:
    """Server Managers with the task, by name."""
    opened = []

    def make(name: str) -> World:
        (tmp_path / name).mkdir()
        context = managing(tmp_path / name)
        opened.append(context)
        world = context.__enter__()
        world.task(overrides=OVERRIDES)
        return world

    yield make
    for context in reversed(opened):
        context.__exit__(None, None, None)


def start(world: World) -> int:
    return world.operator.start_run("mnist", c.RunStart()).id


def go_on(
    world: World, run_id: int, prepared: Callable[[EngineClient], None] = lambda _: None
) -> None:
    play(world, run_id, prepared, scoring=scoring_by_clients, **SERVER)


def lose(world: World) -> None:
    """The only attempt of the only run is over."""
    with world.manager.services.db.write() as session:
        attempts.mark_lost(session, 1, "its process died", world.clock())


def story(world: World, run_id: int) -> list[Any]:
    """Who was chosen in each round, and what each was worth."""
    scored = reversed(world.operator.contributions(run_id))
    chosen = {
        one.round: sorted(d.device for d in one.decisions if d.chosen)
        for one in world.operator.selections(run_id, limit=100)
    }
    return [
        (one.round, chosen[one.round], {s.device: s.value for s in one.scores}) for one in scored
    ]


def asked(clients: list[Client]) -> Counter[tuple[str, int]]:
    """How often each kind of work was done in each round."""
    return Counter(work for client in clients for work in client.trained)


def test_rounds_are_valued_by_their_clients_and_the_models_go(worlds: Any) -> None:
    world = worlds("one")
    with training(world, *NAMES) as clients:
        run_id = start(world)
        go_on(world, run_id)
        done = asked(clients)
    assert world.operator.run(run_id).status is RunStatus.COMPLETED
    rounds = world.operator.contributions(run_id)
    assert [one.method for one in rounds] == ["leave_one_out"] * ROUNDS
    assert {one.plan.evaluated_by for one in rounds} == {"clients"}
    assert all(s.value is not None for one in rounds for s in one.scores)
    for number in range(1, ROUNDS + 1):  # of three clients: each all but the one without itself
        counts = [done[coalition_kind(k), number] for k in range(4)]
        assert counts == [3, 2, 2, 2]
    with world.manager.services.db.read() as session:
        rows = session.scalars(
            select(AssignmentRow).where(AssignmentRow.kind.startswith("evaluate.coalition"))
        ).all()
    assert {row.status for row in rows} == {AssignmentStatus.CHECKED}
    assert kinds_to_rebuild(world) == {"train"}
    models = {row.model for row in rows}
    assert len(models) == 4 * ROUNDS
    assert models <= files(world)
    world.clock.advance(checkpoints.RENEWED_SECONDS + 1)
    world.manager.maintenance.step()
    assert not models & files(world)


def kinds_to_rebuild(world: World) -> set[str]:
    """What a rebuild of the version would take, without a device of its last round."""
    with world.manager.services.db.read() as session:
        part = select(ParticipationRow.device_id).where(ParticipationRow.round == ROUNDS)
        name = session.get_one(DeviceRow, session.scalars(part).first()).name
        body = c.Rebuild(without=name, last_round=True)
        plan = rebuilding.plan_rebuild(session, "mnist", "V1", body)
        assert plan.again is not None, plan.text
        return {row.kind for row in plan.again.results}


def files(world: World) -> set[str]:
    """What the store has."""
    with world.manager.services.db.read() as session:
        query = select(ArtifactRow.sha256).where(ArtifactRow.removed_at.is_(None))
        return set(session.scalars(query))


@pytest.mark.parametrize("after", [0, 2, 4])
def test_a_run_that_is_continued_values_and_chooses_as_it_would_have(
    worlds: Any, after: int
) -> None:
    """``after``: how many models of round 2 were offered when the first attempt ended; 4: all are scored."""
    whole = worlds("whole")
    with training(whole, *NAMES):
        run_id = start(whole)
        go_on(whole, run_id)
        expected = story(whole, run_id)
    broken = worlds("broken")
    with training(broken, *NAMES) as clients:
        run_id = start(broken)
        go_on(broken, run_id, cut_off_after(after))
        lose(broken)
        go_on(broken, run_id)
        done = asked(clients)
    assert broken.operator.run(run_id).status is RunStatus.COMPLETED
    assert story(broken, run_id) == expected
    assert {n for work, n in done.items() if is_coalition_kind(work[0])} <= {2, 3}  # nothing twice


def cut_off_after(models: int) -> Callable[[EngineClient], None]:
    """Prepares an attempt that is superseded when it offers the next model of round 2, or scores it."""

    def prepare(api: EngineClient) -> None:
        offer, scores = api.offer, api.scores
        offered: list[c.OfferBatch] = []

        def count(body: c.OfferBatch) -> c.Offered:
            if body.round == 2 and is_coalition_kind(body.offers[0].kind):
                offered.append(body)
                if len(offered) > models:
                    raise AttemptSuperseded("the test wants another attempt")
            return offer(body)

        def refuse(body: c.RoundScores) -> None:
            if body.round == 2:
                raise AttemptSuperseded("the test wants another attempt")
            scores(body)

        api.offer, api.scores = count, refuse  # type: ignore[method-assign]

    return prepare


def test_only_a_round_that_waits_for_scores_has_its_clients_evaluate(world: World) -> None:
    world.task(overrides=["num_rounds=3"])
    world.ready_devices("a", "b")
    _, engine = world.running()
    world.do_round(engine, 1, "a", "b")
    batch = world.batch(engine, "a", kind=coalition_kind(0), round=1)
    with pytest.raises(Conflict, match="round 1 of run 1 has no scores to be made"):
        engine.offer(batch)
    scored_round(world, engine, 2)
    engine.offer(batch.model_copy(update={"round": 2}))
    with pytest.raises(Conflict, match="has not begun round 2"):
        engine.offer(world.batch(engine, "a", round=2))
    engine.scores(c.RoundScores(round=2))
    with pytest.raises(Conflict, match="round 2 of run 1 has no scores to be made"):
        engine.offer(batch.model_copy(update={"round": 2}))


def scored_round(world: World, engine: Engine, number: int) -> None:
    """A round of both devices whose commit plans that its clients evaluate."""
    engine.begin_round(number, c.RoundBegin(selected=dict.fromkeys(("a", "b"), "both")))
    plan = c.ScoringPlan(method="leave_one_out", evaluations=3, evaluated_by="clients")
    commit = world.commit(engine, number, "a", "b")
    engine.commit(commit.model_copy(update={"scoring": plan}))


def test_what_is_over_is_told_to_the_next_attempt_until_the_round_is_scored(world: World) -> None:
    world.task(overrides=["num_rounds=3"])
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    scored_round(world, engine, 1)
    for number in range(3):
        engine.offer(world.batch(engine, "a", "b", kind=coalition_kind(number), round=1))
    first = devices["a"].take()
    devices["a"].deliver(first.id, b"what a measured")
    second = devices["a"].take()
    devices["a"].end(second.id, c.WorkEnd(outcome="failed", reason="no memory"))
    state = engine.hello(c.EngineHello(pid=4711)).contribution
    (left,) = state.unscored
    found = [(one.device, one.kind, one.status.value) for one in left.evaluations]
    assert found == [("a", first.kind, "uploaded"), ("a", second.kind, "failed")]
    assert base64.b64decode(left.evaluations[0].inline or "") == b"what a measured"
    assert left.deliveries == []
    engine.scores(c.RoundScores(round=1))
    assert engine.hello(c.EngineHello(pid=4711)).contribution.unscored == []
    assert states(world, "a") == ["checked", "expired", "failed"]
    assert states(world, "b") == ["expired"] * 3
    assert devices["b"].poll().offers == []
    assert world.operator.run(run.id).status is RunStatus.RUNNING


def states(world: World, device: str) -> list[str]:
    """What became of what a device was asked."""
    with world.manager.services.db.read() as session:
        query = select(AssignmentRow.status).join(
            DeviceRow, DeviceRow.id == AssignmentRow.device_id
        )
        return sorted(
            status.value for status in session.scalars(query.where(DeviceRow.name == device))
        )


def test_what_a_pause_ended_is_asked_for_again(world: World) -> None:
    world.task(overrides=["num_rounds=3"])
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    scored_round(world, engine, 1)
    batch = world.batch(engine, "a", kind=coalition_kind(0), round=1)
    before = engine.offer(batch).assignments
    held = devices["a"].take().id
    world.operator.pause_run(run.id)
    engine.finish(c.EngineFinish(outcome="paused"))
    devices["a"].drop(held)
    world.operator.resume_run(run.id)
    _, again = world.open_attempt(run.id)
    (left,) = again.hello(c.EngineHello(pid=4712)).contribution.unscored
    assert left.evaluations == []
    after = again.offer(batch).assignments
    assert after["a"] != before["a"]
    assert devices["a"].take().id == after["a"]
