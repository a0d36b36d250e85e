"""Work over the attempts of a run: taken over, begun anew, paused; and a restart of the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from managing import World, managing
from work_calls import RESULT, collect, lose_attempt, model_of, status_of

from fedops.core import contracts as c
from fedops.core.errors import Conflict
from fedops.core.states import AssignmentStatus as A


def test_the_next_attempt_takes_a_round_over(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b", "c", "d")
    run, engine = world.running()
    model = model_of(world, engine)
    made = world.begin(engine, 1, *devices, model=model)
    for name in ("a", "b", "c"):
        devices[name].take()
        devices[name].poll()
    devices["a"].deliver(made["a"], RESULT)
    got = collect(engine)
    collect(engine, got.sequence, 0, checked=[made["a"]])
    devices["b"].deliver(made["b"], RESULT)
    lose_attempt(world, run.id)
    devices["c"].deliver(made["c"], RESULT)  # between two attempts
    _, second = world.open_attempt(run.id)
    spec = second.hello(c.EngineHello(pid=2))
    assert spec.open_round is not None
    assert (spec.next_round, spec.open_round.round) == (1, 1)
    assert spec.open_round.selected == dict.fromkeys(devices, "all of them")
    states = {one.device: one.status for one in spec.open_round.assignments}
    assert states == {"a": A.CHECKED, "b": A.UPLOADED, "c": A.UPLOADED, "d": A.OFFERED}
    assert spec.open_round.seconds_left == 60.0
    assert {d.device for d in collect(second).deliveries} == {"a", "b", "c"}
    devices["d"].take()
    devices["d"].deliver(made["d"], RESULT)
    got = collect(second, 0)
    assert [d.device for d in got.deliveries][-1] == "d"
    assert len({d.id for d in got.deliveries}) == 4
    second.commit(world.commit(second, 1, *devices))
    assert [r.attempt for r in world.operator.rounds(run.id)] == [2]
    assert len(world.operator.rounds(run.id)[0].participations) == 4
    names = [e.name for e in world.operator.events(run_id=run.id)]
    assert names.count("round.begun") == 1
    assert names.count("round.taken_over") == 1
    with pytest.raises(Conflict, match="attempt 1 of run"):
        engine.offer(world.batch(second, "a"))


def test_a_round_from_another_model_begins_anew(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    made = world.begin(engine, 1, "a", "b", model=engine.upload(world.model(5.0)).sha256)
    devices["a"].take()
    devices["a"].deliver(made["a"], RESULT)
    lose_attempt(world, run.id)
    _, second = world.open_attempt(run.id)
    assert second.hello(c.EngineHello(pid=2)).open_round is None
    assert {status_of(world, id_) for id_ in made.values()} == {A.CANCELLED}
    new = world.begin(second, 1, "a", "b")
    assert not set(new.values()) & set(made.values())


def test_a_paused_run_keeps_what_was_delivered_and_offers_the_rest_again(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    model = model_of(world, engine)
    made = world.begin(engine, 1, "a", "b", model=model)
    key = devices["a"].take().work_key
    devices["a"].poll()
    devices["b"].take()
    devices["b"].deliver(made["b"], RESULT)
    assert devices["b"].poll().forget == [made["b"]]
    devices["b"].drop(made["b"])
    assert world.operator.pause_run(run.id).stopping == ["a"]
    (cancelled,) = devices["a"].poll(wait=5).cancel
    assert (cancelled.checkpoint, cancelled.reason) == (True, "the run is paused")
    engine.finish(c.EngineFinish(outcome="paused"))
    devices["a"].drop(made["a"])
    assert world.operator.run(run.id).status == "paused"
    world.operator.resume_run(run.id)
    _, second = world.open_attempt(run.id)
    spec = second.hello(c.EngineHello(pid=2))
    assert spec.open_round is not None
    assert [(one.device, one.status) for one in spec.open_round.assignments] == [("b", A.UPLOADED)]
    assert set(spec.open_round.selected) == {"a", "b"}
    second.offer(world.batch(second, "a", round=1, model=model))
    assert devices["a"].take().work_key == key


def test_work_outlives_a_restart_of_the_server(tmp_path: Path, database_url: str | None) -> None:
    with managing(tmp_path, database_url) as world:
        world.task()
        devices = world.ready_devices("a", "b", "c")
        run, engine = world.running()
        made = world.begin(engine, 1, "a", "b", "c", model=model_of(world, engine))
        for device in devices.values():
            device.take()
        devices["a"].deliver(made["a"], RESULT)
        devices["c"].poll()
        engine.cancel(c.CancelRequest(ids=[made["c"]], reason="not wanted"))
    with managing(tmp_path, database_url, now=1_000_010.0) as again:
        devices = {name: again.again(device) for name, device in devices.items()}
        assert again.operator.device("b").online  # an interval's grace
        assert devices["a"].poll().forget == [made["a"]]
        assert devices["b"].poll().offers == []
        assert [one.id for one in devices["c"].poll().cancel] == [made["c"]]
        devices["b"].deliver(made["b"], RESULT)
        lose_attempt(again, run.id)
        _, second = again.open_attempt(run.id)
        spec = second.hello(c.EngineHello(pid=2))
        assert spec.open_round is not None
        got = {d.device: d.status for d in collect(second).deliveries}
        assert got == {"a": A.UPLOADED, "b": A.UPLOADED, "c": A.EXPIRED}
