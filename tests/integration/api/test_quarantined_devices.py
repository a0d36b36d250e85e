"""A device in quarantine: asked for nothing, and all that its updates are in is named and put aside."""

from __future__ import annotations

import pytest
from managing import CONTRACT, Device, World, idle, node_key
from people import user_token

from fedops.api_client import OperatorClient
from fedops.core import contracts as c
from fedops.core.errors import AttemptSuperseded, Conflict
from fedops.core.states import Enrolment, Role, RunStatus
from fedops.server.devices.wanted.desired_state import QUARANTINED


def _begin(world: World, rounds: int) -> tuple[c.RunRead, object]:
    overrides = [f"num_rounds={rounds}", "server.gate.ratio=0"]
    run = world.operator.start_run("mnist", c.RunStart(overrides=overrides))
    _, engine = world.open_attempt(run.id)
    if engine.hello(c.EngineHello(pid=1)).model is None:
        ref = engine.upload(world.model(0.0))
        engine.initial_model(c.ModelInit(model=ref.sha256, contract=CONTRACT))
    return run, engine


def _run(world: World, *rounds: str) -> c.RunRead:
    """A completed run; each of ``rounds`` names the devices of a round."""
    run, engine = _begin(world, len(rounds))
    for number, devices in enumerate(rounds, 1):
        world.do_round(engine, number, *devices, value=run.id + number / 10)
    engine.finish(c.EngineFinish(outcome="completed"))
    return world.operator.run(run.id)


@pytest.fixture
def devices(world: World) -> dict[str, Device]:
    """V1 is of a alone, V2 of all in its second round, V3 comes from V2."""
    world.task()
    made = world.ready_devices("a", "b", "c")
    for rounds in (("a", "a"), ("ab", "abc", "ab"), ("ab",)):
        _run(world, *rounds)
    return made


def _quarantined(world: World) -> dict[int, str | None]:
    return {m.version: m.quarantine for m in world.operator.models("mnist") if m.quarantine}


@pytest.mark.usefixtures("devices")
def test_what_its_updates_are_in_is_named_and_quarantined_with_all_that_came_from_it(
    world: World,
) -> None:
    operator = world.operator
    before = [(t.run_id, t.rounds, t.began_from, t.version) for t in operator.touched("c").touched]
    assert before == [(2, [2], "", 2), (3, [], "V2", 3)]
    assert _quarantined(world) == {}
    operator.promote_model("mnist", "V1")
    operator.promote_model("mnist", "V3")
    found = operator.quarantine_device("c", "its camera is broken")
    assert found.device.enrolment is Enrolment.QUARANTINED
    assert [t.version for t in found.touched if t.quarantine] == [2, 3]
    assert _quarantined(world) == {
        2: "updates of device c are in round 2 (its camera is broken)",
        3: "it goes on from V2, which updates of device c are in (its camera is broken)",
    }
    assert operator.model("mnist", "latest").version == 1
    assert operator.model("mnist", "serving").version == 3, "nobody's application is moved"
    assert found.next_steps[0].endswith("'fedops model rebuild mnist V3 --without c'")
    assert "serving of mnist names V3 still: 'fedops model rollback mnist" in found.next_steps[1]
    assert "device.quarantined" in [e.name for e in operator.events() if e.subject == "device c"]
    assert operator.quarantine_device("c", "again").touched == found.touched


def test_who_is_limited_to_a_task_hears_of_its_runs_alone(
    world: World, devices: dict[str, Device]
) -> None:
    world.task("digits")
    devices["c"].poll(idle("digits"))
    token = user_token(world, Role.VIEWER, ["digits"])
    with OperatorClient(world.url, token=token) as viewer:
        told = viewer.touched("c")
    assert (told.device.tasks, told.touched, told.next_steps) == (["digits"], [], [])
    assert [t.task for t in world.operator.touched("c").touched] == ["mnist", "mnist"]


@pytest.mark.usefixtures("devices")
def test_the_versions_may_stay(world: World) -> None:
    found = world.operator.quarantine_device("c", "to look at it", keep_versions=True)
    assert [t.quarantine for t in found.touched] == [None, None]
    assert _quarantined(world) == {}
    assert world.operator.model("mnist", "latest").version == 3


def test_it_is_asked_for_nothing_until_it_is_released(
    world: World, devices: dict[str, Device]
) -> None:
    operator = world.operator
    _, engine = _begin(world, 1)
    world.begin(engine, 1, "a", "c")
    held = devices["c"].take()
    operator.quarantine_device("c", "a doubt")
    told = devices["c"].poll(wait=5.0)
    assert [cancel.id for cancel in told.cancel] == [held.id]
    assert (told.enrolment, told.problems) == (Enrolment.APPROVED, [QUARANTINED])
    assert [one.device for one in engine.candidates().candidates] == ["a", "b"]
    again = world.begin(engine, 1, "a", "c")
    ended = engine.collect(c.CollectRequest(wait=0.0)).deliveries
    assert (again["c"], "the device is quarantined") in [(d.id, d.reason) for d in ended]
    assert operator.device("c").why.startswith("quarantined (a doubt): it is asked for nothing")
    with pytest.raises(Conflict, match="'fedops device release c --because TEXT'"):
        operator.decide_device("c", "approve")
    released = operator.release_device("c", "it was the network")
    assert released.device.enrolment is Enrolment.APPROVED
    assert [t.version for t in released.touched if t.quarantine] == [2, 3]
    assert "V3 of mnist stays quarantined until 'fedops model release" in released.next_steps[0]
    assert devices["c"].poll(idle()).problems == []
    assert "c" in [one.device for one in engine.candidates().candidates]


@pytest.mark.usefixtures("devices")
def test_an_update_of_it_does_not_count_any_more(world: World) -> None:
    _, engine = _begin(world, 1)
    world.begin(engine, 1, "a", "c")
    commit = world.commit(engine, 1, "a", "c")
    world.operator.quarantine_device("c", "a doubt")
    with pytest.raises(AttemptSuperseded, match="c was quarantined while round 1 was aggregated"):
        engine.commit(commit)


@pytest.mark.parametrize(("keep", "wanted"), [(False, RunStatus.COMPLETED), (True, None)])
@pytest.mark.usefixtures("devices")
def test_the_version_of_a_run_that_goes_on_is_quarantined_when_it_is_made(
    world: World, keep: bool, wanted: RunStatus | None
) -> None:
    run, engine = _begin(world, 2)
    world.do_round(engine, 1, "a", "c", value=4.0)
    found = world.operator.quarantine_device("c", "a doubt", keep_versions=keep)
    going = f"run {run.id} goes on, and its version will be quarantined"
    assert any(step.startswith(going) for step in found.next_steps) is not keep
    world.do_round(engine, 2, "a", value=4.1)
    engine.finish(c.EngineFinish(outcome="completed"))
    made = world.operator.run(run.id)
    why = "updates of quarantined devices are in it: c in round 1"
    assert made.quarantine == (why if wanted else None)


@pytest.mark.usefixtures("devices")
def test_the_rounds_of_a_run_that_another_goes_on_from_count(world: World) -> None:
    run, engine = _begin(world, 2)
    world.do_round(engine, 1, "a", "c", value=4.0)
    world.operator.stop_run(run.id)
    engine.finish(c.EngineFinish(outcome="stopped"))
    retried = world.operator.retry_run(run.id)
    _, engine = world.open_attempt(retried.id)
    engine.hello(c.EngineHello(pid=1))
    world.operator.quarantine_device("c", "a doubt", keep_versions=False)
    world.operator.release_model("mnist", "V3", "checked")
    world.do_round(engine, 2, "a", value=4.1)
    engine.finish(c.EngineFinish(outcome="completed"))
    assert "c in round 1" in (world.operator.run(retried.id).quarantine or "")
    touched = {t.run_id: (t.rounds, t.began_from) for t in world.operator.touched("c").touched}
    assert touched[run.id] == ([1], "V3")
    assert touched[retried.id] == ([], f"run {run.id}")


def test_whom_it_cannot_be_done_to(world: World) -> None:
    world.task()
    world.ready_devices("a")
    world.operator.decide_device("a", "revoke")
    assert world.operator.quarantine_device("a", "late").device.enrolment is Enrolment.REVOKED
    with pytest.raises(Conflict, match="device 'a' is revoked, and not quarantined"):
        world.operator.release_device("a", "no")


@pytest.mark.usefixtures("devices")
def test_what_a_device_has_left_that_was_removed_is_put_aside_by_its_id(world: World) -> None:
    operator = world.operator
    id_ = operator.device("c").id
    operator.decide_device("c", "remove")
    found = operator.quarantine_device(id_, "it was stolen")
    assert found.device.enrolment is Enrolment.REMOVED
    assert sorted(_quarantined(world)) == [2, 3]
    assert found.next_steps[0].endswith(f"'fedops model rebuild mnist V3 --without {id_}'")
    assert operator.rebuild_model("mnist", "V3", without=id_).run.from_version == 1


def test_joining_again_does_not_let_it_out(world: World) -> None:
    world.task()
    key = node_key()
    world.join("pi", key)
    world.operator.quarantine_device("pi", "a doubt")
    reply, device = world.join("pi", key)
    assert reply.enrolment is Enrolment.QUARANTINED
    assert device.poll(idle()).problems == [QUARANTINED]
    assert world.operator.device("pi").enrolment is Enrolment.QUARANTINED


def test_it_may_still_say_how_it_is(world: World, devices: dict[str, Device]) -> None:
    """Its log lines are what tells why it was wrong."""
    world.operator.quarantine_device("c", "a doubt")
    line = c.DeviceRecord(id="x" * 16, kind=c.RecordKind.LOG, age_seconds=0.0, text="ouch")
    assert devices["c"].records(c.RecordBatch(records=[line])).accepted == 1
