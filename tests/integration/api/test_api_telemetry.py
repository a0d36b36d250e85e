"""What devices measure of themselves: read by operators, kept for a while."""

from __future__ import annotations

import uuid

import pytest
from managing import World

from fedops.api_client import DeviceClient
from fedops.core import contracts as c
from fedops.core.errors import NotFound
from fedops.server.telemetry import record_limits, system_metrics

DAY = 86_400.0


def _measure(device: DeviceClient, cpu: float, age: float = 0.0) -> None:
    sample = c.DeviceRecord(
        id=uuid.uuid4().hex,
        kind=c.RecordKind.TELEMETRY,
        name="device",
        data={"cpu_percent": cpu, "on_mains": True},
        age_seconds=age,
    )
    device.records(c.RecordBatch(records=[sample]))


def _cpu(world: World, device: str, limit: int = 200) -> list[float]:
    return [s.values["cpu_percent"] for s in world.operator.device_telemetry(device, limit)]


def test_the_newest_samples_of_a_device_oldest_first(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    for age, cpu in ((1.0, 30.0), (3.0, 10.0), (2.0, 20.0)):
        _measure(devices["a"], cpu, age)
    _measure(devices["b"], 99.0)
    assert _cpu(world, "a") == [10.0, 20.0, 30.0]
    assert _cpu(world, "a", limit=2) == [20.0, 30.0]
    newest = world.operator.device_telemetry("a")[-1]
    assert (newest.at, newest.run_id) == (world.clock() - 1.0, None)
    with pytest.raises(NotFound, match="no device 'zz'"):
        world.operator.device_telemetry("zz")


def test_old_samples_go_and_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_metrics, "CHUNK", 2)
    world.task()
    device = world.ready_devices("a")["a"]
    run, engine = world.running()
    world.ask(engine, "a")
    for cpu in (1.0, 2.0, 3.0):
        _measure(device, cpu)
    accuracy = c.DeviceRecord(
        id=uuid.uuid4().hex, kind=c.RecordKind.METRIC, name="own", value=0.5, run_id=run.id, round=1
    )
    device.records(c.RecordBatch(records=[accuracy]))
    world.clock.advance(6 * DAY)
    _measure(device, 4.0)
    world.manager.maintenance.step()
    assert len(_cpu(world, "a")) == 4
    world.clock.advance(1.1 * DAY)
    world.manager.maintenance.step()  # a chunk at a time
    assert len(_cpu(world, "a")) == 2
    world.manager.maintenance.step()
    assert _cpu(world, "a") == [4.0]
    assert device.records(c.RecordBatch(records=[accuracy])).duplicates == 1


def _event(text: str, run: int | None = None, **more: object) -> c.DeviceRecord:
    values = {"id": uuid.uuid4().hex, "kind": "event", "name": "app_problem", "run_id": run}
    return c.DeviceRecord.model_validate({**values, "text": text, **more})


def _refusals(device: DeviceClient, *records: c.DeviceRecord) -> list[str]:
    batch = c.RecordBatch(records=list(records))
    return [text.partition(": ")[2] for text in device.records(batch).refused]


def test_a_device_reports_of_its_own_runs_alone(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    world.ask(engine, "a")
    forged = [
        c.DeviceRecord(id=uuid.uuid4().hex, kind=kind, name="loss", value=0.0, text="x", run_id=1)
        for kind in c.RecordKind
    ]
    why = [f"this device was not asked to work in a run {run.id}"] * len(forged)
    assert _refusals(devices["b"], *forged) == why
    assert world.operator.run_logs(run.id).entries == []
    assert _refusals(devices["a"], *forged) == []
    assert len(world.operator.run_logs(run.id).entries) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "run.completed"}, "is no name of a device's event"),
        ({"name": "x" * 65}, "is no name of a device's event"),
        ({"data": {"x": "y" * 5_000}}, "its data has 5009 bytes, more than 4096"),
        (
            {"name": "explanation_picture", "data": {"png": "y" * (256 << 10)}},
            "bytes, more than 262144",
        ),
    ],
)
def test_what_no_device_may_report(world: World, change: dict[str, object], words: str) -> None:
    _, device = world.join("pi")
    (why,) = _refusals(device, _event("hello", **change))
    assert words in why


def test_a_device_that_never_stops_evicts_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(record_limits.KEPT, c.RecordKind.EVENT, 20)
    world.task()
    devices = world.ready_devices("a", "b")
    assert _refusals(devices["b"], _event("mine")) == []
    before = [e.id for e in world.operator.events() if e.who == "user admin"]
    for batch in range(5):
        assert _refusals(devices["a"], *(_event(f"{batch}.{n}") for n in range(10))) == []
    told = [e for e in world.operator.events() if e.name == "app_problem"]
    assert [e.text for e in told if e.who == "device b"] == ["mine"]
    assert [e.text for e in told if e.who == "device a"][-1] == "4.9"
    assert 10 < len(told) <= 21
    assert [e.id for e in world.operator.events() if e.who == "user admin"] == before


def test_what_would_work_in_a_terminal_is_taken_out(world: World) -> None:
    _, device = world.join("pi")
    assert (
        _refusals(device, _event("\x1b]0;owned\x07red \x1b[31malarm\x1b[0m\r\n\u202etxt\tok")) == []
    )
    line = _event("\x1b[2Jgone", kind="log", name="training_client")
    assert _refusals(device, line) == []
    assert world.operator.device_logs("pi").entries[0].text == "gone"
    assert world.operator.events()[-1].text == "red alarm\ntxt\tok"


def test_an_age_without_end_is_a_long_time_ago(world: World) -> None:
    _, device = world.join("pi")
    assert (
        _refusals(device, _event("old", kind="log", name="training_client", age_seconds=1e300))
        == []
    )
    _measure(device, 1.0, 1e300)
    assert world.operator.device_logs("pi").entries[0].at == world.clock() - 366 * DAY
    assert _cpu(world, "pi") == [1.0]
