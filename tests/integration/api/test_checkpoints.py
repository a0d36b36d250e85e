"""Checkpoints of rounds: which are kept, that nothing needed goes, and what a damaged one costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from managing import Engine, World

from fedops.core import contracts as c
from fedops.core.errors import NotFound
from fedops.server.database.backup_lock import no_removals
from fedops.storage.atomic_files import sha256_of


@pytest.fixture
def run(world: World) -> tuple[c.RunRead, Engine]:
    """A run of eight rounds with one device, begun."""
    world.task(overrides=["num_rounds=8"])
    world.ready_devices("a")
    return world.running()


def _round(
    world: World, engine: Engine, number: int, state: bool = True, **metrics: float
) -> c.RoundCommit:
    engine.begin_round(number, c.RoundBegin(selected={"a": "x"}))
    made = world.commit(engine, number, "a")
    stored = engine.upload(world.model(1_000.0 + number)).sha256 if state else None
    made = made.model_copy(update={"metrics": metrics, "strategy_state": stored})
    engine.commit(made)
    return made


def _kept(world: World, run_id: int) -> list[int]:
    return [r.round for r in world.operator.rounds(run_id) if r.kept]


def _stored(world: World) -> set[str]:
    root = world.manager.services.settings.home / "artifacts"
    return {p.parent.name + p.name for p in root.rglob("*") if p.is_file()}


def test_the_newest_and_the_best_are_kept(
    world: World, run: tuple[c.RunRead, Engine], tmp_path: Path
) -> None:
    run_id, engine = run[0].id, run[1]
    accuracies = [0.5, 0.9, 0.6, 0.7, 0.8, 0.85, 0.7]
    made = [_round(world, engine, n + 1, accuracy=a) for n, a in enumerate(accuracies)]
    assert _kept(world, run_id) == [2, 5, 6, 7]
    before = _stored(world)
    with no_removals(world.manager.services.settings.home):
        world.manager.maintenance.step()
        assert _stored(world) == before
    world.manager.maintenance.step()
    gone = {sha for n in (1, 3, 4) for sha in (made[n - 1].model, made[n - 1].strategy_state)}
    assert before - _stored(world) == gone
    file = world.operator.download_checkpoint(run_id, 2, tmp_path / "x")
    assert sha256_of(file) == made[1].model
    with pytest.raises(NotFound, match="round 3 of run 1 is not kept"):
        world.operator.download_checkpoint(run_id, 3, tmp_path / "y")
    with pytest.raises(NotFound, match="no round 8: 7 of 8 are committed"):
        world.operator.download_checkpoint(run_id, 8, tmp_path / "y")
    _round(world, engine, 8)
    engine.finish(c.EngineFinish(outcome="completed"))
    world.manager.maintenance.step()
    assert [f.problem for f in world.operator.verify_models()] == [None, None]
    assert world.operator.run(run_id).metrics  # the numbers of all rounds stay
    assert len(world.operator.metrics(run_id, "accuracy")) == 7


def test_without_an_accuracy_the_lowest_loss_is_best(
    world: World, run: tuple[c.RunRead, Engine]
) -> None:
    for number, loss in enumerate([0.1, 0.5, 0.4, 0.3, 0.2], start=1):
        _round(world, run[1], number, state=False, loss=loss)
    assert _kept(world, run[0].id) == [1, 3, 4, 5]


def test_a_file_that_something_else_needs_stays(
    world: World, run: tuple[c.RunRead, Engine]
) -> None:
    engine = run[1]
    for number in range(1, 6):  # the first round's model is V0's too, the second's the fifth's
        value = {1: 0.0, 2: 5.0}.get(number, float(number))
        engine.begin_round(number, c.RoundBegin(selected={"a": "x"}))
        engine.commit(
            world.commit(engine, number, "a", value=value).model_copy(update={"metrics": {}})
        )
    world.manager.maintenance.step()
    world.clock.advance(10_000)
    world.manager.maintenance.step()
    kept = {r.model for r in world.operator.rounds(run[0].id) if r.kept}
    assert kept <= _stored(world)
    assert [f.problem for f in world.operator.verify_models()] == [None]


def test_content_that_was_removed_can_be_uploaded_again(
    world: World, run: tuple[c.RunRead, Engine]
) -> None:
    run_id, engine = run[0].id, run[1]
    first = _round(world, engine, 1, state=False)
    for number in range(2, 6):
        _round(world, engine, number, state=False, accuracy=float(number))
    world.manager.maintenance.step()
    assert first.model not in _stored(world)
    ref = engine.upload(world.model(1.0))
    assert ref.sha256 == first.model
    world.manager.maintenance.step()  # not while somebody is about to use it
    engine.begin_round(6, c.RoundBegin(selected={"a": "x"}))
    engine.commit(world.commit(engine, 6, "a", value=1.0))
    world.clock.advance(10_000)
    world.manager.maintenance.step()
    assert first.model in _stored(world)
    assert 6 in _kept(world, run_id)


# --- damaged ones ----------------------------------------------------------------------------


def _spoil(world: World, sha256: str | None) -> None:
    world.manager.services.artifacts.path(str(sha256)).write_bytes(b"spoilt")


def _next_attempt(world: World, run_id: int) -> tuple[Engine, c.AttemptSpec]:
    from fedops.server.runs import attempts

    with world.manager.services.db.write() as session:
        for live in attempts.live_attempts(session, world.manager.services.settings):
            attempts.mark_lost(session, live.attempt_id, "killed", world.clock())
    _, engine = world.open_attempt(run_id)
    return engine, engine.hello(c.EngineHello(pid=2))


@pytest.mark.parametrize("what", ["model", "strategy_state"])
def test_from_a_damaged_checkpoint_it_goes_one_round_back(
    world: World, run: tuple[c.RunRead, Engine], what: str
) -> None:
    run_id, engine = run[0].id, run[1]
    made = [_round(world, engine, n, accuracy=n / 10) for n in (1, 2, 3)]
    numbers = [(m.round, m.source, m.name, m.value) for m in world.operator.metrics(run_id)]
    _spoil(world, getattr(made[2], what))
    engine, spec = _next_attempt(world, run_id)
    assert (spec.next_round, spec.model and spec.model.sha256) == (3, made[1].model)
    assert spec.strategy_state
    assert spec.strategy_state.sha256 == made[1].strategy_state
    now = world.operator.run(run_id)
    assert (now.committed_rounds, now.metrics["accuracy"]) == (2, 0.2)
    said = [(e.name, e.text) for e in world.operator.events(run_id=run_id)]
    assert said[-4][0] == "checkpoint.damaged"
    assert "its file is damaged" in said[-4][1]
    assert said[-3] == ("run.stepped_back", "goes on from round 2; rounds 3 to 3 are done again")
    _round(world, engine, 3, accuracy=0.3)
    again = [(m.round, m.source, m.name, m.value) for m in world.operator.metrics(run_id)]
    assert sorted(again, key=str) == sorted(numbers, key=str)  # no row twice, none lost
    assert world.operator.run(run_id).committed_rounds == 3
    assert [f.problem for f in world.operator.verify_models()] == [None]


def test_when_none_is_left_it_begins_anew(world: World, run: tuple[c.RunRead, Engine]) -> None:
    run_id, engine = run[0].id, run[1]
    for number in (1, 2):
        _spoil(world, _round(world, engine, number).model)
    _, spec = _next_attempt(world, run_id)
    assert spec.next_round == 1
    assert spec.model
    assert spec.model.sha256 == world.operator.model("mnist", "V0").sha256
    assert world.operator.run(run_id).committed_rounds == 0
    assert world.operator.metrics(run_id) == []


def test_intact_checkpoints_cost_nothing(world: World, run: tuple[c.RunRead, Engine]) -> None:
    made = _round(world, run[1], 1)
    _, spec = _next_attempt(world, run[0].id)
    assert spec.next_round == 2
    assert spec.model
    assert spec.model.sha256 == made.model
    assert not [e for e in world.operator.events() if e.name == "checkpoint.damaged"]
