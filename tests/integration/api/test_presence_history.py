"""When devices were online is on record, and read without their events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from managing import World, idle, managing

from fedops.core import contracts as c
from fedops.core.delivery.groups import in_group
from fedops.server.devices import presence_history, registry


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path) as made:
        yield made


def _online(world: World, hours: float = 24.0) -> list[tuple[float, int]]:
    with world.manager.services.db.read() as session:
        return presence_history.online_over_time(session, hours, world.clock())


def _spans(world: World, device: str) -> list[tuple[float, float]]:
    now = world.clock()
    with world.manager.services.db.read() as session:
        id_ = registry.read_device(session, device, now).id
        return presence_history.presence_of(session, id_, now - 30 * 86_400, now)


def test_presence_is_on_record_from_the_first_call_to_the_last(world: World) -> None:
    world.task()
    device = world.ready_devices("pi")["pi"]
    begin = world.clock()
    assert _spans(world, "pi") == [(begin, begin)]
    world.clock.advance(3_600)
    world.step()  # it has not called for an hour
    assert _spans(world, "pi") == [(begin, begin)]
    device.poll(idle())
    back = world.clock()
    world.clock.advance(5)
    assert _spans(world, "pi") == [(begin, begin), (back, back + 5)]


def test_devices_online_are_counted_over_time(world: World) -> None:
    world.task()
    world.ready_devices("a", "b")
    counts = _online(world, 1.0)
    assert len(counts) == 97
    assert (counts[0][1], counts[-1]) == (0, (world.clock(), 2))
    world.operator.decide_device("a", "revoke")
    assert _online(world)[-1][1] == 1


def test_what_is_long_past_is_forgotten(world: World) -> None:
    world.task()
    world.ready_devices("pi")
    world.clock.advance(60)
    world.step()
    world.clock.advance(32 * 86_400)
    with world.manager.services.db.write() as session:
        presence_history.forget(session, world.clock())
    with world.manager.services.db.read() as session:
        id_ = registry.read_device(session, "pi", world.clock()).id
        assert presence_history.presence_of(session, id_, 0.0, world.clock()) == []


def test_tags_are_set_and_select_devices(world: World) -> None:
    world.task()
    world.ready_devices("a", "b")
    assert world.operator.tag_device("a", c.DeviceTags(tags=["ward", "gpu"])).tags == [
        "gpu",
        "ward",
    ]
    run = world.operator.start_run("mnist", c.RunStart(devices=["tag:ward"]))
    assert run.id == 1
    assert in_group(["tag:ward"], "a", world.operator.device("a").tags)
    assert not in_group(["tag:ward"], "b", world.operator.device("b").tags)
