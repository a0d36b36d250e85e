"""Schedules on a real database: what fires, what waits, what is promoted, and what pauses."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from managing import Device, Engine, World, bundle, idle, managing

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Invalid, NotFound
from fedops.core.states import FiringStatus as F
from fedops.core.states import RolloutStatus, RunStatus
from fedops.server.database.tables import RolloutRow, SourceRow
from fedops.storage.payloads import Payload, pack_payload

HOURLY = c.Every(seconds=3_600)
ONE_ROUND = ["num_rounds=1"]


def put(world: World, name: str = "s", trigger: Any = HOURLY, **more: Any) -> c.ScheduleRead:
    body = {"trigger": trigger, "overrides": ONE_ROUND, **more}
    return world.operator.set_schedule("mnist", name, c.ScheduleSet(**body))


def step(world: World, seconds: float = 0.0) -> None:
    world.clock.advance(seconds)
    world.manager.schedules.step()


def firings(world: World, name: str = "s") -> list[tuple[F, str]]:
    return [(one.status, one.outcome) for one in world.operator.firings("mnist", name)]


def runs(world: World) -> list[c.RunRead]:
    return world.operator.runs("mnist")


def play(
    world: World, run_id: int, accuracy: float | None = None, before: float | None = None
) -> c.RunRead:
    """The run to its end, with one round. ``before``: what clients say of the model that they are given."""
    _, engine = world.open_attempt(run_id)
    spec = engine.hello(c.EngineHello(pid=1))
    if spec.model is None:
        ref = engine.upload(world.model(0.0))
        engine.initial_model(c.ModelInit(model=ref.sha256, contract=_contract()))
    _round(world, engine, spec.next_round, before)
    after = {} if accuracy is None else {"accuracy": accuracy}
    engine.finish(c.EngineFinish(outcome="completed", client_metrics=after, evaluated=True))
    return world.operator.run(run_id)


def _contract() -> c.ParameterContract:
    spec = c.ParameterSpec(name="w", shape=(2,), dtype="float32", rule=c.ExchangeRule.MEAN)
    return c.ParameterContract(parameters=(spec,))


def _round(world: World, engine: Engine, number: int, before: float | None) -> None:
    engine.begin_round(number, c.RoundBegin(selected={"a": "all of them"}))
    said = {"metrics": {}, "client_metrics": {} if before is None else {"accuracy": before}}
    engine.commit(world.commit(engine, number, "a", value=0.5).model_copy(update=said))


def fail(world: World, run_id: int) -> None:
    _, engine = world.open_attempt(run_id)
    engine.hello(c.EngineHello(pid=1))
    engine.finish(c.EngineFinish(outcome="failed", text="the app is broken"))


@pytest.fixture
def alone(world: World) -> World:
    """A task without devices."""
    world.task()
    return world


@pytest.fixture
def ready(world: World) -> World:
    world.task()
    world.ready_devices("a", "b")
    return world


# --- the clock -------------------------------------------------------------------------------


def test_a_tick_begins_a_run_that_says_who_began_it(alone: World) -> None:
    put(alone)
    step(alone, 3_599)
    assert runs(alone) == []
    step(alone, 1)
    step(alone, 1)
    (run,) = runs(alone)
    assert (run.status, run.schedule, run.rounds) == (RunStatus.PENDING, "s", 1)
    assert "begun by firing 1 of schedule 's' (every 1 h)" in run.why
    (read,) = alone.operator.schedules("mnist")
    assert read.next == f"run {run.id} is going on"
    assert read.next_at == 1_000_000 + 7_200
    (event,) = [e for e in alone.operator.events() if e.name == "run.pending"]
    assert event.who == "schedule s"


def test_ticks_that_come_while_a_run_goes_on_are_remembered_once(ready: World) -> None:
    put(ready)
    step(ready, 3_600)
    for _ in range(3):
        step(ready, 3_600)
    (waiting, going) = ready.operator.firings("mnist", "s")
    assert (waiting.status, waiting.more, going.status) == (F.WAITING, 2, F.RUNNING)
    assert waiting.outcome == f"run {going.run_id} is going on"
    play(ready, going.run_id or 0, 0.5)
    step(ready)
    assert [status for status, _ in firings(ready)] == [F.RUNNING, F.PROMOTED]
    assert len(runs(ready)) == 2


def test_a_schedule_that_skips_says_so_once_and_fills_no_table(alone: World) -> None:
    put(alone, missed="skip")
    step(alone, 3_600)
    for _ in range(3):
        step(alone, 3_600)
    (skipped, going) = alone.operator.firings("mnist", "s")
    assert (skipped.status, skipped.more) == (F.SKIPPED, 2)
    assert skipped.outcome == f"run {going.run_id} is going on"
    with pytest.raises(Conflict, match="skips what comes meanwhile"):
        alone.operator.fire_schedule("mnist", "s")


@pytest.mark.parametrize(("missed", "expected"), [("once", F.RUNNING), ("skip", F.SKIPPED)])
def test_ticks_of_a_server_that_was_down_are_made_up_for_once_or_not(
    tmp_path: Path, database_url: str | None, missed: str, expected: F
) -> None:
    with managing(tmp_path, database_url) as world:
        world.task()
        put(world, missed=missed)
    with managing(tmp_path, database_url, now=1_000_000.0 + 5 * 3_600 + 120) as world:
        step(world)
        step(world, 1)
        (firing,) = world.operator.firings("mnist", "s")
        assert firing.status is expected
        if missed == "once":
            assert firing.why == "every 1 h, 5 ticks together (missed, now made up for)"
        else:
            assert firing.outcome.startswith("it was missed: the server was down")
        (read,) = world.operator.schedules("mnist")
        assert read.next_at == 1_000_000.0 + 6 * 3_600


def test_a_clock_that_is_set_back_lets_a_schedule_neither_rest_nor_fire_twice(
    alone: World,
) -> None:
    put(alone)
    step(alone, 3_600)
    step(alone, -10 * 3_600)
    (read,) = alone.operator.schedules("mnist")
    assert read.next_at == alone.clock() + 3_600
    step(alone, 3_599)
    assert len(firings(alone)) == 1


def test_cron_fires_at_the_zones_time_and_mistakes_are_said(alone: World) -> None:
    cron = c.Cron(expression="30 2 * * *", zone="Europe/Berlin")
    read = put(alone, trigger=cron)
    assert read.next_at is not None
    at = datetime.fromtimestamp(read.next_at, ZoneInfo("Europe/Berlin"))
    assert (at.hour, at.minute) == (2, 30)
    step(alone, read.next_at - alone.clock())
    assert len(runs(alone)) == 1
    for expression, zone, said in (
        ("61 * * * *", "UTC", "bad minute"),
        ("x", "UTC", "it has five fields"),
        ("0 2 * * *", "Berlin", "no time zone 'Berlin'"),
    ):
        with pytest.raises(Invalid, match=said):
            put(alone, trigger=c.Cron(expression=expression, zone=zone))
    with pytest.raises(Invalid, match="num_rond"):
        put(alone, "other", overrides=["num_rond=1"])
    assert [one.name for one in alone.operator.schedules("mnist")] == ["s"]


# --- several triggers ------------------------------------------------------------------------


def test_two_triggers_at_once_make_one_run(alone: World) -> None:
    put(alone, "one")
    put(alone, "two", trigger=c.OnCommit())
    _update(alone)
    step(alone, 3_600)
    step(alone, 1)
    (run,) = runs(alone)
    assert firings(alone, "one") == [(F.RUNNING, f"run {run.id} has begun")]
    why = f"run {run.id}, begun by schedule 'one', does the same"
    assert firings(alone, "two") == [(F.SKIPPED, why)]


def test_groups_of_devices_take_turns(ready: World) -> None:
    put(ready, "day", devices=["a*"])
    put(ready, "night", devices=["b"])
    step(ready, 3_600)
    with pytest.raises(Conflict):
        ready.operator.start_run("mnist", c.RunStart())
    (day,) = runs(ready)
    assert (day.schedule, day.devices) == ("day", ["a*"])
    _, engine = ready.open_attempt(day.id)
    engine.hello(c.EngineHello(pid=1))
    found = {one.device: one.unavailable for one in engine.candidates().candidates}
    assert found["b"] == "not in this run's group: a*"
    assert str(found["a"]).startswith("offline")
    assert firings(ready, "night") == [(F.WAITING, f"run {day.id} is going on")]
    engine.finish(c.EngineFinish(outcome="failed", text="x"))
    step(ready, 1)
    assert [run.schedule for run in runs(ready)] == ["night", "day"]


def test_a_plain_run_may_be_for_a_group_too(ready: World) -> None:
    run = ready.operator.start_run("mnist", c.RunStart(devices=["b"]))
    assert (run.devices, run.schedule) == (["b"], None)
    assert "1 device ready" in run.plan
    ready.operator.stop_run(run.id)
    forecast = ready.operator.forecast_run("mnist", c.RunStart(devices=["b"]))
    assert [one.unavailable for one in forecast.devices] == ["not in this run's group: b", None]


# --- code ------------------------------------------------------------------------------------


def _update(world: World, text: str = "# other code") -> None:
    ref = world.upload(bundle(**{"toy/more.py": text}))
    world.operator.update_task("mnist", c.TaskUpdate(bundle=ref.sha256))


def test_other_code_fires_once_and_a_rollout_is_waited_for(ready: World) -> None:
    put(ready, trigger=c.OnCommit())
    step(ready, 10)
    assert firings(ready) == []
    _rollout(ready, RolloutStatus.WAVING)
    _update(ready)
    step(ready, 10)
    step(ready, 10)
    assert firings(ready) == [(F.WAITING, "rollout 1 of commit cccccccccc is on its way")]
    _rollout(ready, RolloutStatus.HOLDING)
    step(ready, 10)
    (run,) = runs(ready)
    play(ready, run.id, 0.5)
    step(ready, 10)
    assert [status for status, _ in firings(ready)] == [F.PROMOTED]


def test_a_rollout_that_waits_for_a_window_keeps_nobody_from_training(ready: World) -> None:
    put(ready)
    _rollout(ready, RolloutStatus.WAVING, hold="outside of the windows in which devices may switch")
    step(ready, 3_600)
    step(ready)
    assert [status for status, _ in firings(ready)] == [F.RUNNING]


def _rollout(world: World, status: RolloutStatus, hold: str = "") -> None:
    now = world.clock()
    with world.manager.services.db.write() as session:
        row = session.get(RolloutRow, 1) or RolloutRow(task="mnist", commit="c" * 40, policy={})
        row.status, row.status_since, row.wave_since, row.hold = status, now, now, hold
        row.created_at = now
        session.add(row)


# --- promotion -------------------------------------------------------------------------------


def scheduled(world: World, accuracy: float | None, before: float | None = None) -> tuple[F, str]:
    run_id = world.operator.fire_schedule("mnist", "s").run_id
    assert run_id is not None
    play(world, run_id, accuracy, before)
    step(world)
    step(world)  # decided once
    return firings(world)[0]


def test_a_version_serves_when_it_is_better_by_the_margin(ready: World) -> None:
    put(ready, trigger=c.OnDemand(), promotion=c.PromotionRule(metric="accuracy", margin=0.05))
    assert scheduled(ready, 0.8) == (F.PROMOTED, "V1 is serving: nothing was serving")
    status, why = scheduled(ready, 0.84)
    assert (status, why) == (
        F.KEPT,
        "V2 is kept and not promoted: accuracy is 0.84, and 0.8 of V1: it must be better by 0.05",
    )
    (kept, first) = runs(ready)
    assert "V2 is kept and not promoted" in kept.why
    assert (first.from_version, kept.from_version) == (0, 1)
    status, why = scheduled(ready, 0.9)
    assert (status, why) == (F.PROMOTED, "V3 is serving: accuracy is 0.9, and 0.8 of V1")
    assert runs(ready)[0].from_version == 1, "it starts from what serves, not from the latest"
    (alias,) = [one for one in ready.operator.aliases("mnist") if one.name == "serving"]
    assert [(move.version, move.who) for move in alias.moves] == [
        (3, "schedule s"),
        (1, "schedule s"),
    ]
    assert ready.operator.schedules("mnist")[0].paused_at is None, "V3 was promoted in between"
    scheduled(ready, 0.7)
    plain = ready.operator.start_run("mnist", c.RunStart(overrides=ONE_ROUND))
    assert plain.from_version == 4, "a plain run starts from the latest"
    play(ready, plain.id, 0.99)
    step(ready)
    assert ready.operator.model("mnist", "serving").version == 3, "and nobody promotes it"


def test_both_are_compared_on_the_data_of_today(ready: World) -> None:
    put(ready, trigger=c.OnDemand())
    scheduled(ready, 0.9)
    found = scheduled(ready, 0.8, before=0.6)  # the data has become harder
    assert found == (F.PROMOTED, "V2 is serving: accuracy is 0.8, and 0.6 of V1")


def test_a_quarantined_version_is_never_promoted(ready: World) -> None:
    always = c.PromotionRule(rule="always")
    put(ready, trigger=c.OnDemand(), promotion=always)
    scheduled(ready, 0.8)
    status, why = scheduled(ready, 0.1)
    assert status is F.KEPT
    assert why.startswith("V2 is kept and not promoted: it is quarantined: its accuracy is 0.1")
    assert ready.operator.model("mnist", "serving").version == 1


def test_the_second_run_in_a_row_that_is_not_promoted_pauses_the_schedule(ready: World) -> None:
    put(ready, trigger=c.OnDemand())
    scheduled(ready, 0.8)
    scheduled(ready, 0.7)
    with ready.manager.services.db.write() as session:
        row = SourceRow(task="mnist", url="file:///x", poll_seconds=60.0, policy={}, changed_at=1.0)
        session.add(row)
    stopped = ready.operator.fire_schedule("mnist", "s").run_id
    ready.operator.stop_run(stopped or 0)
    step(ready)
    assert firings(ready)[0] == (F.STOPPED, f"run {stopped} was stopped")
    assert ready.operator.schedules("mnist")[0].paused_at is None, "a person did that"
    run_id = ready.operator.fire_schedule("mnist", "s").run_id
    fail(ready, run_id or 0)
    step(ready)
    (read,) = ready.operator.schedules("mnist")
    assert read.paused_why == (
        f"2 of its runs in a row were not promoted; the last: run {run_id} failed: the app is broken; "
        "'fedops task roll-back mnist' goes back to the commit before, "
        "'fedops schedule resume mnist s' lets it go on"
    )
    assert read.next == "paused"
    ready.operator.resume_schedule("mnist", "s")
    scheduled(ready, 0.7)
    assert ready.operator.schedules("mnist")[0].paused_at is None, "one is not two"


def test_what_the_server_had_no_time_to_decide_is_decided_after_its_restart(
    tmp_path: Path, database_url: str | None
) -> None:
    with managing(tmp_path, database_url) as world:
        world.task()
        world.ready_devices("a")
        put(world, trigger=c.OnDemand())
        run_id = world.operator.fire_schedule("mnist", "s").run_id
        play(world, run_id or 0, 0.8)
    with managing(tmp_path, database_url, now=1_000_100.0) as world:
        step(world)
        assert firings(world) == [(F.PROMOTED, "V1 is serving: nothing was serving")]


# --- data ------------------------------------------------------------------------------------


def look(world: World, device: Device, **found: Any) -> dict[str, Any]:
    """The device does the look that it is offered; returns what it was told."""
    instruction = device.take()
    assert (instruction.kind, instruction.run_id) == (c.WATCH, None)
    told: dict[str, Any] = instruction.content["records"]
    metrics = found.pop("metrics", {})
    said = {"examples": 100, "fingerprint": "a" * 64, "validation_examples": 10, **found}
    report = c.DataReport(version=told["config"]["values"]["version"], metrics=metrics, **said)
    payload = Payload(configs={c.WATCH: report.values()}, metrics={"metrics": metrics})
    device.deliver(instruction.id, pack_payload(payload))
    device.drop(instruction.id)
    return told


@pytest.fixture
def devices(world: World) -> dict[str, Device]:
    world.task()
    return world.ready_devices("a", "b")


def again(world: World, devices: dict[str, Device]) -> None:
    """Devices are there, and the next look is due."""
    world.clock.advance(300)
    for device in devices.values():
        device.poll(idle())
    world.step()
    step(world)


def test_new_data_fires_once_for_one_change(world: World, devices: dict[str, Device]) -> None:
    put(world, trigger=c.OnNewData(examples=50))
    step(world)
    told = look(world, devices["a"])
    assert (told["config"]["values"]["version"], "model" in told) == (-1, False)
    look(world, devices["b"])
    step(world, 10)
    assert devices["a"].poll(idle()).offers == [], "it was asked a moment ago"
    assert firings(world) == [], "what was there at first is not new"
    again(world, devices)
    look(world, devices["a"], examples=130)
    look(world, devices["b"], examples=125)
    step(world)
    step(world, 5)
    (firing,) = world.operator.firings("mnist", "s")
    assert (firing.status, firing.why) == (F.RUNNING, "55 new examples")
    play(world, firing.run_id or 0, 0.5)
    again(world, devices)
    look(world, devices["a"], examples=130)
    look(world, devices["b"], examples=125)
    step(world)
    assert len(firings(world)) == 1


def test_other_data_of_any_device_fires_and_so_does_a_device_that_is_new(
    world: World, devices: dict[str, Device]
) -> None:
    put(world, trigger=c.OnNewData(), devices=["a", "new"])
    step(world)
    look(world, devices["a"])
    assert devices["b"].poll().offers == [], "it is not of the group"
    again(world, devices)
    look(world, devices["a"], fingerprint="b" * 64)
    step(world)
    (firing,) = world.operator.firings("mnist", "s")
    assert firing.why == "the data of a has changed"
    play(world, firing.run_id or 0, 0.5)
    devices = {**devices, **world.ready_devices("new")}
    again(world, devices)
    look(world, devices["new"])
    step(world)
    assert world.operator.firings("mnist", "s")[0].why == "the data of new has changed"


def test_drift_of_the_serving_version_fires_once(world: World, devices: dict[str, Device]) -> None:
    put(world, "s", trigger=c.OnDemand())
    scheduled(world, 0.8)
    put(world, "drift", trigger=c.OnDrift(metric="accuracy", worse_by=0.05))
    again(world, devices)
    for device, accuracy in (("a", 0.9), ("b", 0.7)):
        told = look(world, devices[device], metrics={"accuracy": accuracy})
        assert (told["config"]["values"]["version"], "blob" in told["model"]) == (1, True)
    for a, expected in ((0.86, 0), (0.8, 1), (0.79, 1)):
        again(world, devices)
        look(world, devices["a"], metrics={"accuracy": a})
        look(world, devices["b"], metrics={"accuracy": 0.7}, validation_examples=10)
        step(world)
        found = world.operator.firings("mnist", "drift")
        assert len(found) == expected
        if expected and found[0].status is F.RUNNING:
            said = "accuracy of V1 is worse by 0.05 on 2 devices (threshold 0.05)"
            assert found[0].why == said
            play(world, found[0].run_id or 0, 0.1 if a == 0.8 else 0.5)
            step(world)


def test_other_inputs_fire_once_by_their_stability_index(
    world: World, devices: dict[str, Device]
) -> None:
    put(world, trigger=c.OnDrift(psi=0.2))
    step(world)
    for device in devices.values():
        assert "model" not in look(world, device, psi=0.0)
    for psi, expected in ((0.22, 0), (0.3, 1), (0.31, 1)):
        again(world, devices)
        for device in devices.values():
            look(world, device, psi=psi, psi_by_chance=0.05)
        step(world)
        found = world.operator.firings("mnist", "s")
        assert len(found) == expected
        if expected and found[0].status is F.RUNNING:
            world.operator.stop_run(found[0].run_id or 0)
            step(world)


def test_a_device_that_cannot_look_or_says_nonsense_changes_nothing(
    world: World, devices: dict[str, Device]
) -> None:
    put(world, trigger=c.OnNewData())
    step(world)
    id_ = devices["a"].take().id
    devices["a"].deliver(id_, pack_payload(Payload(configs={c.WATCH: {"examples": -1}})))
    id_ = devices["b"].take().id
    devices["b"].end(id_, c.WorkEnd(outcome="refused", reason="the data folder is gone"))
    step(world, 10)
    assert firings(world) == []


# --- by hand ---------------------------------------------------------------------------------


def test_schedules_are_paused_resumed_fired_and_removed(ready: World) -> None:
    put(ready)
    paused = ready.operator.pause_schedule("mnist", "s", "a holiday")
    assert paused.paused_why.startswith("paused by user admin: a holiday; 'fedops schedule resume")
    step(ready, 7_200)
    assert firings(ready) == []
    assert ready.operator.fire_schedule("mnist", "s").status is F.RUNNING
    assert ready.operator.fire_schedule("mnist", "s").status is F.WAITING
    assert ready.operator.fire_schedule("mnist", "s").id == 2, "it is remembered once"
    ready.operator.resume_schedule("mnist", "s")
    assert ready.operator.remove_schedule("mnist", "s").name == "s"
    play(ready, 1, 0.9)
    step(ready)
    assert "the schedule was removed meanwhile" in ready.operator.run(1).why
    with pytest.raises(NotFound, match="task 'mnist' has no schedule 's'; it has none yet"):
        ready.operator.firings("mnist", "s")
