"""What devices measure of themselves: read by operators, kept for a while."""

from __future__ import annotations

import uuid

import pytest
from managing import World

from fedops.api_client import DeviceClient
from fedops.core import contracts as c
from fedops.core.errors import NotFound
from fedops.server.telemetry import system_metrics

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
    run, _ = world.running()
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
