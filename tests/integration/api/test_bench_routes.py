"""Benchmarks of devices: asked for by people, measured by devices, gone by in selections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from managing import Device, World, idle, managing, replied
from people import user_token
from work_calls import status_of, upload_result

from fedops.api_client import BlobClient, OperatorClient
from fedops.core import contracts as c
from fedops.core.errors import Conflict, Forbidden, NotFound
from fedops.core.states import AssignmentStatus as A
from fedops.core.states import Role
from fedops.storage.payloads import Payload, pack_payload

STRAGGLERS = "server.selection.selector=stragglers"
MEASURED = c.BenchMeasured(
    examples=6_400,
    epochs=2,
    first_examples=32,
    first_seconds=0.6,
    chunk_examples=128,
    chunk_seconds=0.9,
    wanted_examples=128,
)
#: 0.3 s for 96 examples more, and half a second whatever their number is.
TRAINING = 0.5 + 0.3 / 96 * 6_400


def result(**changed: Any) -> bytes:
    measured = MEASURED.model_copy(update=changed)
    return pack_payload(Payload(metrics={c.BENCH: measured.values()}))


def start(world: World, *devices: str, task: str = "mnist", **more: Any) -> c.BenchesRead:
    return world.operator.start_benches(task, c.BenchRequest(devices=list(devices), **more))


def bench_of(client: OperatorClient, device: str, task: str = "mnist") -> c.BenchRead:
    return next(one for one in client.benches(task).benches if one.device == device)


def take_bench(device: Device) -> str:
    instruction = device.take()
    assert (instruction.kind, instruction.run_id) == (c.BENCH, None)
    return instruction.id


def do_bench(world: World, device: Device, **changed: Any) -> None:
    device.deliver(take_bench(device), result(**changed))


# --- asking ----------------------------------------------------------------------------------


def test_each_device_that_is_ready_is_asked_and_the_others_are_named(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "away", "on-battery", "shut-out", "watcher")
    process = idle().process
    unmet = process.model_copy(update={"unmet_conditions": "not charging"})
    devices["on-battery"].poll(c.WorkPoll(tasks=["mnist"], process=unmet))
    empty = process.model_copy(update={"training_examples": 0})
    devices["watcher"].poll(c.WorkPoll(tasks=["mnist"], process=empty))
    world.operator.quarantine_device("shut-out", "a doubt")
    world.clock.advance(600)
    for name in ("a", "on-battery", "watcher"):
        devices[name].poll()
    world.step()
    found = start(world, fraction=0.05)
    assert [(one.device, one.status, one.fraction) for one in found.benches] == [
        ("a", A.OFFERED, 0.05)
    ]
    assert {one.device: one.reason for one in found.left_out} == {
        "away": "offline, last seen 10 min ago",
        "on-battery": "takes no new work by its owner's conditions: not charging",
        "watcher": "evaluates only: it has no training example",
    }
    assert devices["on-battery"].poll().offers == []
    (offer,) = devices["a"].poll().offers
    assert (offer.kind, offer.task, offer.run_id, offer.round) == ("bench", "mnist", None, None)
    (event,) = [e for e in world.operator.events() if e.name == "task.bench"]
    assert event.text == "1 device, a chunk of 0.05 of the examples"


def test_devices_that_are_not_of_the_task_are_no_devices_of_it(world: World) -> None:
    world.task()
    world.task("digits")
    world.ready_devices("a")
    world.ready_devices("b", task="digits")
    for name in ("b", "nobody"):
        with pytest.raises(
            NotFound, match=f"task 'mnist' has no approved device '{name}'; it has: a"
        ):
            start(world, "a", name)
    assert world.operator.benches("mnist").benches == []
    with pytest.raises(NotFound, match="there is no task 'letters'"):
        start(world, task="letters")
    world.operator.archive_task("digits")
    with pytest.raises(Conflict, match="task 'digits' is archived"):
        start(world, task="digits")


def test_who_may_ask_and_who_may_read(world: World) -> None:
    world.task()
    world.task("digits")
    world.ready_devices("a")
    for role in (Role.VIEWER, Role.AUDITOR):
        reader = world.with_token(user_token(world, role))
        assert reader.benches("mnist").benches == []
        with pytest.raises(Forbidden):
            reader.start_benches("mnist", c.BenchRequest())
    limited = world.with_token(user_token(world, Role.OPERATOR, ["mnist"]))
    assert [one.device for one in limited.start_benches("mnist", c.BenchRequest()).benches] == ["a"]
    for call in (
        lambda: limited.start_benches("digits", c.BenchRequest()),
        lambda: limited.benches("digits"),
    ):
        with pytest.raises(NotFound, match="no task 'digits'"):
            call()


def test_what_a_device_does_for_another_task_is_not_told_to_who_may_not_know(world: World) -> None:
    for task in ("mnist", "secret"):
        world.task(task)
    _, device = world.join("a")
    device.poll(idle().model_copy(update={"tasks": ["mnist", "secret"]}))
    run, engine = world.running("secret")
    made = world.begin(engine, 1, "a")
    device.take()
    device.progress(made["a"], c.Progress(stage=c.Stage.TRAINING))
    start(world)
    world.clock.advance(1)
    world.step()
    assert bench_of(world.operator, "a").why == f"works for run {run.id} of task 'secret' first"
    limited = world.with_token(user_token(world, Role.VIEWER, ["mnist"]))
    assert bench_of(limited, "a").why == "works for another run first"


# --- doing -----------------------------------------------------------------------------------


def test_what_a_device_measured_becomes_an_estimate(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    start(world)
    instruction = a.take()
    records = instruction.content["records"]
    assert records["config"]["values"]["fraction"] == 0.01
    assert '"batch_size": 32' in records["config"]["values"]["config-json"]
    assert "model" not in records, "the task has none yet"
    assert start(world).benches[0].status in (A.OFFERED, A.ACCEPTED), "it goes on already"
    assert a.poll().offers == [], "and is no second one"
    a.deliver(instruction.id, result())
    a.deliver(instruction.id, result(chunk_seconds=99.0))  # repeated: the first counts
    found = bench_of(world.operator, "a")
    assert (found.status, found.why, found.measured) == (A.CHECKED, "", MEASURED)
    assert found.round_seconds == pytest.approx(TRAINING)
    assert found.measured_at == world.clock()
    assert found.notes == ["without transfer: the task has no model version yet"]
    assert a.poll().forget == [instruction.id]
    assert status_of(world, instruction.id) is A.CHECKED


def test_the_newest_version_is_what_a_device_downloads(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    world.running()  # its engine made V0
    start(world)
    instruction = a.take()
    blob = instruction.content["records"]["model"]["blob"]
    with (
        BlobClient(world.url, token=a.token) as blobs,
        blobs.download(blob["sha256"], start=0) as coming,
    ):
        assert sum(map(len, coming.blocks())) == blob["size"]
    a.deliver(instruction.id, result(model_bytes=blob["size"], download_seconds=2.5))
    found = bench_of(world.operator, "a")
    assert found.round_seconds == pytest.approx(TRAINING + 5.0), "down, and up as fast"
    assert found.notes == []


@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_a_device_that_cannot_says_why_and_the_estimate_of_before_stays(
    world: World, outcome: str
) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    start(world)
    do_bench(world, a)
    start(world)
    end = c.WorkEnd.model_validate({"outcome": outcome, "reason": "the data folder is gone"})
    a.end(take_bench(a), end)
    found = bench_of(world.operator, "a")
    assert (found.status, found.why) == (A(outcome), "the data folder is gone")
    assert found.round_seconds == pytest.approx(TRAINING)


@pytest.mark.parametrize(
    "data",
    [
        b"no payload at all",
        pack_payload(Payload(metrics={"other": {"examples": 3}})),
        pack_payload(Payload(metrics={c.BENCH: {**MEASURED.values(), "examples": 0}})),
        pack_payload(
            Payload(metrics={c.BENCH: {**MEASURED.values(), "chunk-seconds": float("nan")}})
        ),
    ],
)
def test_numbers_that_are_none_are_rejected(world: World, data: bytes) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    start(world)
    a.deliver(take_bench(a), data)
    found = bench_of(world.operator, "a")
    assert (found.status, found.round_seconds) == (A.REJECTED, None)
    assert found.why == "the device sent numbers that are none of a benchmark"


def test_a_benchmark_has_numbers_and_no_file(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    start(world)
    id_ = take_bench(a)
    assert upload_result(world, a, id_, b"x" * (c.INLINE_BYTES + 1)).status_code == 413
    assert upload_result(world, a, id_, result()).status_code == 201
    found = bench_of(world.operator, "a")
    assert (found.status, found.round_seconds) == (A.REJECTED, None)
    assert found.why == "the result of a benchmark is numbers only, no file"


# --- ends ------------------------------------------------------------------------------------


def test_a_benchmark_ends_with_the_device_the_task_and_its_time(world: World) -> None:
    world.task()
    world.task("digits")
    devices = world.ready_devices("revoked", "leaves", "late")
    other = world.ready_devices("other", task="digits")["other"]
    start(world)
    start(world, task="digits")
    made = {name: take_bench(device) for name, device in devices.items()}
    take_bench(other)
    world.operator.decide_device("revoked", "revoke")
    devices["leaves"].poll(idle("digits"))
    world.operator.archive_task("digits")
    for call in (devices["leaves"], other):
        (cancelled,) = call.poll().cancel
        assert cancelled.id in call.held
    world.clock.advance(3_600)
    for device in (devices["late"], other):
        device.poll()
    world.step()
    with pytest.raises(Conflict, match="its deadline passed"):
        devices["late"].deliver(made["late"], result())
    found = {one.device: (one.status, one.why) for one in world.operator.benches("mnist").benches}
    assert found == {
        "revoked": (A.CANCELLED, "device revoked"),
        "leaves": (A.CANCELLED, "the device left the task"),
        "late": (A.EXPIRED, "its deadline passed"),
    }
    assert bench_of(world.operator, "other", "digits").why == "the task was archived"


def test_a_benchmark_outlives_a_restart_of_the_server(
    tmp_path: Path, database_url: str | None
) -> None:
    with managing(tmp_path, database_url) as world:
        world.task()
        a = world.ready_devices("a")["a"]
        start(world)
        id_ = take_bench(a)
        world.step()
    with managing(tmp_path, database_url, now=1_000_010.0) as world:
        again = world.again(a)
        work = again.poll()
        assert (work.cancel, work.forget, work.offers) == ([], [], [])
        again.deliver(id_, result())
        assert bench_of(world.operator, "a").round_seconds == pytest.approx(TRAINING)


# --- rounds ----------------------------------------------------------------------------------


def test_a_round_is_offered_first_and_people_are_told_of_the_benchmark(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    start(world)
    run, engine = world.running()
    made = world.begin(engine, 1, "a")
    assert [offer.kind for offer in a.poll().offers] == ["train", "bench"]
    engine.progress(c.EngineProgress(phase="training", round=1, selected=["a"]))
    id_ = next(offer.id for offer in a.last.offers if offer.kind == "bench")
    a.instruction(id_)
    a.progress(id_, c.Progress(stage=c.Stage.TRAINING))
    a.instruction(made["a"])
    world.clock.advance(1)
    world.step()
    assert world.operator.device("a").why == "online; training for the benchmark of task 'mnist'"
    why = "works for the benchmark of task 'mnist' first"
    assert why in world.operator.run(run.id).why
    assert bench_of(world.operator, "a").why == "training"


def test_selections_know_the_estimate_until_a_round_was_measured(world: World) -> None:
    world.task(overrides=[STRAGGLERS])
    devices = world.ready_devices("a", "b", "c")
    start(world, "a", "b")
    for name in ("a", "b"):
        do_bench(world, devices[name])
    _, engine = world.running()

    def known() -> dict[str, tuple[float | None, float | None]]:
        found = engine.candidates().candidates
        return {one.device: (one.bench_seconds, one.round_seconds) for one in found}

    estimate = pytest.approx(TRAINING)
    assert known() == {"a": (estimate, None), "b": (estimate, None), "c": (None, None)}
    made = world.begin(engine, 1, "a")
    devices["a"].take()
    world.clock.advance(4.0)
    devices["a"].deliver(made["a"], b"an update")
    commit = world.commit(engine, 1, "a").model_copy(update={"participations": [replied("a")]})
    engine.commit(commit)
    assert known()["a"] == (estimate, 4.0)


def test_a_run_that_goes_by_no_seconds_is_told_none(world: World) -> None:
    world.task()
    a = world.ready_devices("a")["a"]
    start(world)
    do_bench(world, a)
    _, engine = world.running()
    assert [one.bench_seconds for one in engine.candidates().candidates] == [None]
