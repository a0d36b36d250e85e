"""A device that says it is not ready is not asked, and everybody who waits is told why."""

from __future__ import annotations

import json
import time

import pytest
from managing import World, bundle, idle, later
from work_calls import collect

from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.core.states import ReadinessStatus

S = ReadinessStatus
MISSING = "the data folder /data (dataset.root) does not exist"


def report(status: ReadinessStatus, reason: str = "", task: str = "mnist") -> c.WorkPoll:
    entry = c.Readiness(task=task, status=status, seconds=2.0, reason=reason)
    poll = idle(task)
    process = poll.process.model_copy(update={"readiness": [entry]})
    return poll.model_copy(update={"process": process})


def test_a_device_that_is_not_ready_is_no_candidate_until_it_is(world: World) -> None:
    world.task()
    devices = world.ready_devices("a", "b")
    _, engine = world.running()
    devices["b"].poll(report(S.REFUSED, MISSING))
    found = {one.device: one.unavailable for one in engine.candidates().candidates}
    assert found == {"a": None, "b": f"not ready: {MISSING}"}
    engine.progress(c.EngineProgress(phase="waiting", round=1, needed=2))
    run = world.operator.runs()[0]
    assert f"waiting for 1 more device: 2 of 2 online, b: not ready: {MISSING}" in run.why
    assert world.operator.device("b").why == f"online, but not ready: {MISSING}"
    sequence = collect(engine).sequence
    began = time.monotonic()
    with later(0.2, lambda: devices["b"].poll(report(S.READY))):
        collect(engine, sequence, 10.0)  # whoever waits for devices hears of it at once
    assert time.monotonic() - began < 5.0
    assert [one.unavailable for one in engine.candidates().candidates] == [None, None]


def test_the_log_says_once_that_a_device_is_not_ready_and_once_that_it_is(world: World) -> None:
    world.task()
    device = world.ready_devices("a")["a"]
    for body in (
        report(S.CHECKING),
        report(S.REFUSED, MISSING),
        report(S.REFUSED, MISSING),
        report(S.READY),
        report(S.READY),
    ):
        device.poll(body)
    said = [(e.name, e.text) for e in world.operator.events() if "ready" in e.name]
    assert [line for line in said if line[0].startswith("device.")] == [
        ("device.not_ready", f"task mnist: {MISSING}"),
        ("device.ready", "task mnist"),
    ]


def test_since_when_it_is_so_goes_on_counting(world: World) -> None:
    world.task()
    device = world.ready_devices("a")["a"]
    body = report(S.REFUSED, MISSING)
    refusal = c.Refusal(task="mnist", run_id=3, round=1, reason="no layer 'x'", seconds=60.0)
    process = body.process.model_copy(update={"refusal": refusal})
    device.poll(body.model_copy(update={"process": process}))
    world.clock.advance(3)
    found = world.operator.device("a").process
    assert [entry.seconds for entry in found.readiness] == [5.0]
    assert found.refusal is not None
    assert found.refusal.seconds == 63.0
    assert world.operator.device("a").why == (
        f"online, but not ready: {MISSING}; could not do round 1 of run 3, 63 s ago: no layer 'x'"
    )


def test_a_device_is_told_what_to_be_ready_for(world: World) -> None:
    world.task(overrides=["batch_size=8"])
    world.task("other")
    device = world.ready_devices("a")["a"]
    (before,) = device.configs()
    assert (before.task, before.run_id, before.config["batch_size"]) == ("mnist", None, 8)
    run = world.operator.start_run("mnist", c.RunStart(overrides=["batch_size=4"]))
    (during,) = device.configs()
    assert (during.run_id, during.config["batch_size"]) == (run.id, 4)
    assert during.config["wandb"]["key"] != "a secret of mine"
    world.operator.stop_run(run.id)
    assert device.configs() == [before]


# --- what is wrong for everyone ------------------------------------------------------------------


def test_what_is_wrong_for_every_device_makes_neither_task_nor_run(world: World) -> None:
    engines = world.engines
    engines.problem = "the model has no layer 'x'"
    with pytest.raises(Invalid, match="no layer 'x'"):
        world.task()
    assert world.operator.tasks() == []
    engines.problem = ""
    world.task()
    engines.problem = "the model has no layer 'y'"
    with pytest.raises(Invalid, match="no layer 'y'"):
        world.operator.start_run("mnist", c.RunStart(overrides=["xai.layer=y"]))
    with pytest.raises(Invalid, match="no layer 'y'"):
        world.operator.update_task("mnist", c.TaskUpdate(overrides=["xai.layer=y"]))
    assert world.operator.runs() == []
    assert engines.examined[-1]["xai"]["layer"] == "y"
    world.operator.update_task("mnist", c.TaskUpdate(description="only words"))


def test_what_was_found_right_is_not_examined_again(world: World) -> None:
    engines = world.engines
    world.task()
    assert len(engines.examined) == 1
    run = world.operator.start_run("mnist", c.RunStart(overrides=["num_rounds=2", "batch_size=8"]))
    world.operator.stop_run(run.id)
    world.task("same")
    world.operator.retry_run(run.id)
    assert len(engines.examined) == 1
    world.operator.update_task("same", c.TaskUpdate(overrides=["xai.enabled=true"]))
    ref = world.upload(bundle(**{"toy/more.py": "x = 1"}))
    world.operator.update_task("same", c.TaskUpdate(bundle=ref.sha256))
    assert len(engines.examined) == 3


def test_of_a_config_that_was_found_right_only_another_strategy_is_examined(world: World) -> None:
    engines = world.engines
    world.task(overrides=["xai.enabled=true"])
    other = "server.strategy.fraction_evaluate=0.5"
    run = world.operator.start_run("mnist", c.RunStart(overrides=["xai.enabled=false", other]))
    world.operator.stop_run(run.id)
    world.operator.retry_run(run.id)
    assert engines.only_strategy == [False, True]
    world.operator.update_task("mnist", c.TaskUpdate(overrides=["xai.enabled=true", other]))
    assert engines.only_strategy == [False, True]
    world.operator.update_task("mnist", c.TaskUpdate(overrides=["xai.layer=y", other]))
    assert engines.only_strategy == [False, True, False]
    selection = "server.selection.selector=oort"
    world.operator.update_task("mnist", c.TaskUpdate(overrides=["xai.enabled=true", selection]))
    assert engines.only_strategy == [False, True, False, True]


def test_what_cannot_be_judged_is_let_through(world: World) -> None:
    world.engines.problem = None
    world.task()
    world.operator.start_run("mnist", c.RunStart())
    assert len(world.engines.examined) == 1


def test_what_could_not_be_judged_is_judged_by_a_later_life(world: World) -> None:
    kept = world.manager.member.settings.home / "checked-configs.json"
    world.engines.problem = None
    world.task()
    assert not kept.exists()
    world.engines.problem = ""
    world.operator.update_task("mnist", c.TaskUpdate(overrides=["xai.layer=y"]))
    assert (
        len(json.loads(kept.read_text())) == 2
    )  # this strategy and this model, not the one of before
