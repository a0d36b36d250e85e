"""Commits of rounds over HTTP: checked, repeatable, final."""

from __future__ import annotations

import pytest
from managing import World, replied

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.states import ParticipationStatus


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
