"""Runs that are stopped, paused and resumed, as the scheduler sees them."""

from __future__ import annotations

import pytest
from scheduler_world import World

from fedops.core.contracts import (
    EngineFinish,
)
from fedops.core.states import AttemptStatus, RunStatus
from fedops.server.rounds import engine_session, outcomes


def test_a_stopped_run_whose_fl_server_does_not_end_by_itself_is_ended(world: World) -> None:
    run_id = world.start_run()
    world.step()
    world.hello(run_id)
    attempt_id = world.attempt(run_id).id
    world.engines.stubborn.add(attempt_id)
    world.stop(run_id)
    world.step(0.5, times=3)
    assert attempt_id in world.engines.running
    world.step(1.5)
    assert attempt_id not in world.engines.running
    assert world.run(run_id).status is RunStatus.STOPPED
    assert world.attempt(run_id).status is AttemptStatus.CANCELLED
    world.step(times=3)
    assert world.attempt(run_id).cleared_at is not None
    assert world.attempt(run_id).number == 1


def test_a_stopped_run_that_says_goodbye_is_left_to_end(world: World) -> None:
    run_id = world.start_run()
    world.step()
    world.hello(run_id)
    world.stop(run_id)
    with world.db.write() as session:
        body, attempt_id = EngineFinish(outcome="stopped"), world.attempt(run_id).id
        outcomes.finish_attempt(session, attempt_id, body, world.settings, world.clock())
    assert world.run(run_id).status is RunStatus.STOPPED
    world.step(4.0)
    assert len(world.engines.running) == 1
    world.step(2.0)
    assert world.attempt(run_id).status is AttemptStatus.ENDED
    assert world.engines.running == {}


def test_a_run_stopped_while_it_starts_never_runs(world: World) -> None:
    run_id = world.start_run()
    world.step()
    world.stop(run_id)
    world.step(1.0, times=3)
    assert world.run(run_id).status is RunStatus.STOPPED
    assert world.engines.running == {}


def test_a_paused_run_that_does_not_end_by_itself_is_ended_and_goes_on_when_resumed(
    world: World,
) -> None:
    run_id = world.start_run()
    world.step()
    world.hello(run_id)
    world.pause(run_id)
    world.step(0.5)
    assert len(world.engines.running) == 1
    world.step(2.0, times=2)
    assert world.engines.running == {}
    assert world.run(run_id).status is RunStatus.PAUSED
    assert world.attempt(run_id).status is AttemptStatus.CANCELLED
    world.step(times=3)
    assert (world.engines.running, world.attempt(run_id).number) == ({}, 1)
    world.resume(run_id)
    world.step()
    world.hello(run_id)
    assert (world.run(run_id).status, world.attempt(run_id).number) == (RunStatus.RUNNING, 2)


@pytest.mark.parametrize("moment", ["pausing", "paused", "resuming"])
def test_a_restarted_server_keeps_a_pause_and_goes_on_by_itself(world: World, moment: str) -> None:
    run_id = world.start_run()
    world.step()
    world.hello(run_id)
    world.pause(run_id)
    if moment != "pausing":
        world.step(2.0, times=3)
    if moment == "resuming":
        world.resume(run_id)
    assert world.run(run_id).status == moment
    world.scheduler = world.new_scheduler()
    world.step(times=2)
    expected = RunStatus.RESUMING if moment == "resuming" else RunStatus.PAUSED
    assert world.run(run_id).status is expected
    assert world.attempt(run_id).number == (2 if moment == "resuming" else 1)
    assert len(world.engines.running) == (1 if moment == "resuming" else 0)


def test_the_spool_of_an_attempt_goes_with_it(world: World) -> None:
    run_id = world.start_run()
    world.step()
    world.hello(run_id)
    spool = engine_session.spool_dir(world.home, run_id, 1)
    spool.mkdir(parents=True)
    (spool / "update").touch()
    world.engines.die(world.attempt(run_id).id)
    world.step(times=2)
    assert not spool.exists()
