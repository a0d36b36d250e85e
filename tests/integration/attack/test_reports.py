"""A device that reports without end, and bundles that are bombs: what is kept is bounded, and it is said."""

from __future__ import annotations

import io
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from managing import Device, World, bundle, managing

from fedops.core import contracts as c
from fedops.core.errors import Invalid

LINES, NAMES = 100, 50


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    limits = {"device_log_lines_per_minute": LINES / 10, "device_metric_names": NAMES}
    with managing(tmp_path, **limits) as made:
        yield made


def say(device: Device, *records: c.DeviceRecord) -> c.RecordsAccepted:
    return device.records(c.RecordBatch(records=list(records)))


def record(kind: c.RecordKind, **values: object) -> c.DeviceRecord:
    given = {"id": uuid.uuid4().hex, "kind": kind, **values}
    return c.DeviceRecord.model_validate(given)


def lines(count: int, text: str = "again") -> list[c.DeviceRecord]:
    return [record(c.RecordKind.LOG, text=text) for _ in range(count)]


def dropped_events(world: World) -> list[str]:
    events = world.operator.events()
    return [event.text for event in events if event.name == "device.records_dropped"]


def test_log_lines_without_end_are_counted_and_said_once(world: World) -> None:
    world.task()
    devices = world.ready_devices("loud", "quiet")
    assert say(devices["loud"], *lines(LINES)).accepted == LINES
    for _ in range(3):
        told = say(devices["loud"], *lines(100))
        assert (told.accepted, told.dropped) == (0, 100)
    page = world.operator.device_logs("loud", limit=1_000)
    assert (len(page.entries), page.dropped) == (LINES, 300)
    assert len(dropped_events(world)) == 1
    assert "more than 10 a minute" in dropped_events(world)[0]
    assert say(devices["quiet"], *lines(10)).accepted == 10


@pytest.mark.parametrize("text", ["x" * 20_000, "x\n" * 10_000])
def test_long_lines_and_many_in_a_record_count_as_what_they_are(world: World, text: str) -> None:
    _, device = world.join("loud")
    told = say(device, *lines(10, text))
    assert told.accepted <= 2
    assert told.accepted + told.dropped == 10


def test_metric_names_without_end_are_counted_and_said_once(world: World) -> None:
    world.task()
    device = world.ready_devices("a")["a"]
    run, engine = world.running()
    world.ask(engine, "a")

    def metrics(names: range) -> c.RecordsAccepted:
        made = [
            record(c.RecordKind.METRIC, name=f"metric-{n}", value=1.0, run_id=run.id, round=1)
            for n in names
        ]
        return say(device, *made)

    assert metrics(range(NAMES)).dropped == 0
    assert metrics(range(NAMES, 10 * NAMES)).dropped == 9 * NAMES
    assert metrics(range(NAMES)).dropped == 0  # names that it has
    assert len({metric.name for metric in world.operator.metrics(run.id)}) == NAMES
    assert dropped_events(world) == [
        f"metrics are dropped: it has more than {NAMES} names in one run"
    ]


def test_the_names_it_has_are_known_after_a_restart(tmp_path: Path) -> None:
    for names, dropped in ((range(5), 0), (range(2, 7), 2)):
        with managing(tmp_path, device_metric_names=5) as world:
            if names.start == 0:
                _, device = world.join("a")
            told = say(
                world.again(device),
                *(record(c.RecordKind.METRIC, name=f"m{n}", value=1.0) for n in names),
            )
            assert told.dropped == dropped


def bomb() -> bytes:
    """600 MB in 3 MB."""
    made, piece = io.BytesIO(bundle()), b"#" * (60 << 20)
    with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(10):
            archive.writestr(f"toy/bomb{number}.py", piece)
    return made.getvalue()


DEEP_KEY = ".".join("a" * 100_000) + " = 1"


@pytest.mark.parametrize(
    "made",
    [
        bomb,
        partial(bundle, **{"toy/conf/config.toml": DEEP_KEY}),
        partial(bundle, **{"toy/conf/config.toml": "a = " + "[" * 50_000 + "]" * 50_000}),
        partial(bundle, **{"pyproject.toml": DEEP_KEY}),
    ],
    ids=["zip bomb", "deep keys", "deep lists", "deep pyproject"],
)
def test_a_bundle_that_is_a_bomb_is_refused_soon(world: World, made: Callable[[], bytes]) -> None:
    data, begin = made(), time.monotonic()
    with pytest.raises(Invalid):
        world.upload(data)
    assert time.monotonic() - begin < 5.0
    assert world.operator.tasks() == []
