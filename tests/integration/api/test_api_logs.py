"""Logs of a run and of a device: in order, once, bounded, by round and device, without secrets."""

from __future__ import annotations

import json
import threading
import uuid
from pathlib import Path

import pytest
from managing import World, managing

from fedops.api_client import DeviceClient
from fedops.cli.logs import lines_of, stream
from fedops.core import contracts as c
from fedops.core.errors import NotFound
from fedops.server.telemetry import log_store


def _line(text: str, run_id: int | None = None, round_: int | None = None) -> c.DeviceRecord:
    return c.DeviceRecord(
        id=uuid.uuid4().hex,
        kind=c.RecordKind.LOG,
        name="training_client",
        text=text,
        run_id=run_id,
        round=round_,
        age_seconds=1.0,
    )


def _say(device: DeviceClient, *records: c.DeviceRecord) -> c.RecordsAccepted:
    return device.records(c.RecordBatch(records=list(records)))


def _texts(page: c.LogPage) -> list[str]:
    return [entry.text for entry in page.entries]


def test_the_logs_of_a_run_by_device_round_and_source(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    run, engine = world.running()
    world.ask(engine, "a", "b")
    first = _line("a1", run.id, 1)
    assert _say(devices["a"], first, _line("a2", run.id, 2), _line("no run")).accepted == 3
    assert _say(devices["a"], first).duplicates == 1
    manager = _line("b1", run.id, 1).model_copy(update={"name": "client_manager"})
    _say(devices["b"], manager, _line("key fo_device_abcdefghijklmnop", run.id, 2))
    said = c.EngineLog(id="engine-log-1", text="round 2 begins", round=2, age_seconds=2.0)
    for _ in range(2):
        engine.logs(c.EngineLogs(entries=[said]))
    get = world.operator.run_logs
    assert _texts(get(run.id)) == ["a1", "a2", "b1", "key fo_device_***", "round 2 begins"]
    assert _texts(get(run.id, device="a")) == ["a1", "a2"]
    assert _texts(get(run.id, round=2)) == ["a2", "key fo_device_***", "round 2 begins"]
    assert _texts(get(run.id, source="server_app")) == ["round 2 begins"]
    assert _texts(get(run.id, source="client_manager", device="b", round=1)) == ["b1"]
    entries = get(run.id, limit=2).entries
    assert _texts(get(run.id, after=entries[-1].id, limit=1)) == ["b1"]
    assert (entries[0].at, entries[0].device) == (world.clock() - 1.0, "a")
    assert (get(run.id).entries[-1].attempt, get(run.id).entries[-1].device) == (1, None)
    assert _texts(world.operator.device_logs("a")) == ["a1", "a2", "no run"]
    with pytest.raises(NotFound, match="no run 999"):
        get(999)
    with pytest.raises(NotFound, match="no device 'zz'"):
        get(run.id, device="zz")


def test_following_ends_with_the_run_and_misses_nothing(world: World) -> None:
    world.task()
    device = world.ready_devices("a")["a"]
    run, engine = world.running()
    world.ask(engine, "a")
    looks = iter(range(100))

    def over() -> bool:
        look = next(looks)
        _say(device, _line(f"line {look}", run.id))
        return look == 1

    def fetch(after: int, limit: int) -> c.LogPage:
        return world.operator.run_logs(run.id, after=after, limit=limit)

    entries = list(stream(fetch, over, True, settle=0.0))
    assert [e.text for e in entries] == ["line 0", "line 1"]
    (shown,) = lines_of(entries[0])
    assert shown.endswith(" a training_client | line 0")


def test_what_devices_deliver_just_after_the_end_is_followed_too(world: World) -> None:
    world.task()
    device = world.ready_devices("a")["a"]
    run, engine = world.running()
    world.ask(engine, "a")
    later = threading.Timer(0.2, lambda: _say(device, _line("last words", run.id)))
    later.start()

    def fetch(after: int, limit: int) -> c.LogPage:
        return world.operator.run_logs(run.id, after=after, limit=limit)

    entries = list(stream(fetch, lambda: True, True, settle=2.0))
    later.join()
    assert [e.text for e in entries] == ["last words"]


def test_a_run_keeps_only_so_much_and_counts_what_went(tmp_path: Path) -> None:
    with managing(tmp_path, log_bytes=64 << 10) as world:
        world.task()
        device = world.ready_devices("a")["a"]
        run, engine = world.running()
        world.ask(engine, "a")
        for batch in range(10):
            _say(device, *(_line(f"{batch}.{n} " + "x" * 2_000, run.id) for n in range(5)))
        page = world.operator.run_logs(run.id)
        kept = [text.split(" ")[0] for text in _texts(page)]
        order = [f"{batch}.{n}" for batch in range(10) for n in range(5)]
        assert kept == order[-len(kept) :]
        assert 20 <= len(kept) <= 31
        assert page.dropped == 50 - len(kept)
        size = sum(len(json.dumps(text)) for text in _texts(page))
        assert size <= 64 << 10


def test_a_page_is_bounded_by_its_text(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_store, "_PAGE_CHARACTERS", 5_000)
    world.task()
    device = world.ready_devices("a")["a"]
    run, engine = world.running()
    world.ask(engine, "a")
    _say(device, *(_line(str(n) * 2_000, run.id) for n in range(5)))
    assert len(world.operator.run_logs(run.id).entries) == 2


def test_the_last_words_of_an_attempt_are_kept_once(world: World) -> None:
    world.task()
    run = world.operator.start_run("mnist", c.RunStart())
    attempt, _ = world.open_attempt(run.id)
    for _ in range(2):
        with world.manager.services.db.write() as session:
            log_store.store_last_words(session, attempt, "ValueError: no", 1 << 20, world.clock())
    assert _texts(world.operator.run_logs(run.id, source="server_app")) == ["ValueError: no"]
