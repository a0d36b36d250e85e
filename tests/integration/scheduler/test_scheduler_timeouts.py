"""FL servers and runs that take too long: silent, without progress, waiting; and what the log says of it."""

from __future__ import annotations

import pytest
from scheduler_world import World

from fedops.core.contracts import (
    EngineProgress,
)
from fedops.core.states import FailureReason, RunStatus
from fedops.server.rounds import engine_session


def _step_and_call(world: World, run_id: int, seconds: float) -> None:
    """Time passes in small steps, and the FL server calls now and then."""
    for _ in range(int(seconds)):
        world.pulse.heard(world.attempt(run_id).id)
        world.step(1.0)


def _say(world: World, run_id: int, phase: str) -> None:
    with world.db.write() as session:
        body = EngineProgress.model_validate({"phase": phase, "round": 1})
        engine_session.progress(session, world.attempt(run_id).id, body, world.clock())


def test_a_fl_server_that_falls_silent_is_ended_and_followed_by_another(world: World) -> None:
    run_id = world.start_run()
    world.step()
    world.hello(run_id)
    first = world.attempt(run_id).id
    _step_and_call(world, run_id, 60)
    assert world.attempt(run_id).number == 1
    world.step(1.0, times=29)
    assert (world.attempt(run_id).number, first in world.engines.running) == (1, True)
    world.step(1.0)
    assert (world.attempt(run_id).number, first in world.engines.running) == (2, False)
    assert "(process 4711) fell silent: last heard 31 s ago, limit 30 s" in world.run(run_id).text
    world.hello(run_id)
    assert world.run(run_id).status is RunStatus.RUNNING


def test_silence_while_the_server_itself_stood_still_is_nobodys_fault(world: World) -> None:
    run_id = world.start_run()
    world.step()
    world.hello(run_id)
    world.step()
    world.step(100.0)
    world.step(1.0, times=29)
    assert (world.attempt(run_id).number, len(world.engines.running)) == (1, 1)


@pytest.mark.parametrize(
    ("phase", "limit"), [("aggregating", 900), ("training", 900 + 4 * 600), ("initialising", 900)]
)
def test_a_fl_server_that_calls_but_does_not_get_on_is_given_up(
    world: World, phase: str, limit: int
) -> None:
    run_id = world.start_run()
    world.step()
    world.hello(run_id)
    _say(world, run_id, phase)
    for _ in range(2):
        world.clock.advance(limit / 2 - 3)
        _step_and_call(world, run_id, 3)
        _say(world, run_id, phase)
    assert world.attempt(run_id).number == 1
    _step_and_call(world, run_id, 3)
    assert world.attempt(run_id).number == 2
    assert f"does not get on: {phase} in round 1 for" in world.run(run_id).text


@pytest.mark.parametrize("state", ["pending", "resuming", "paused"])
def test_runs_that_wait_too_long_fail_with_what_they_waited_for(world: World, state: str) -> None:
    run_id = world.start_run()
    if state != "pending":
        world.step()
        world.hello(run_id)
        world.pause(run_id)
        world.step(2.0, times=3)
    if state == "resuming":
        world.resume(run_id)
    limit = {"paused": world.settings.paused_seconds}.get(state, 3_600.0)
    world.clock.advance(limit - 10)
    world.maintenance.step()
    assert world.run(run_id).status == state
    world.clock.advance(20.0)
    world.maintenance.step()
    run = world.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, FailureReason.TIMEOUT)
    assert (
        "limit 30 d" in run.text if state == "paused" else "for the engine for 60 min" in run.text
    )


def test_the_log_says_why_when_the_reason_changes_and_not_when_only_time_passes(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "fedops.server.runs"):
        run_id = world.start_run()
        world.clock.advance(5)
        for _ in range(3):
            world.maintenance.step()
            world.clock.advance(5)
        world.step()
        world.hello(run_id)
        world.step(3.0)
        _say(world, run_id, "waiting")
        world.step(3.0, times=3)
        world.stop(run_id)
        world.step(3.0, times=3)
    lines = [r.message.partition(": ")[0] for r in caplog.records if r.name.endswith(".runs")]
    said = ["pending", "starting", "running", "running", "stopped"]
    assert lines == [f"run {run_id} of task digits is {state}" for state in said]
    assert any("waiting for 2 more devices: 0 of 2" in r.message for r in caplog.records)
