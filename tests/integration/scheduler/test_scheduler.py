"""The scheduler against a real database and fake FL servers: runs begin, and go on when one is lost."""

from __future__ import annotations

from pathlib import Path

from scheduler_world import World, a_zip

from fedops.core.contracts import (
    WorkPoll,
)
from fedops.core.states import AttemptStatus, FailureReason, RunStatus
from fedops.server.database import lookup
from fedops.server.devices import registry
from fedops.server.events.event_log import Change
from fedops.server.runs import transitions

# --- beginning -------------------------------------------------------------------------------


def test_a_pending_run_gets_a_fl_server_with_a_ticket_and_the_unpacked_app(world: World) -> None:
    run_id = world.start_run()
    world.step()
    assert world.run(run_id).status is RunStatus.STARTING
    attempt = world.attempt(run_id)
    ticket = world.engines.running[attempt.id]
    assert ticket.token.startswith("fo_attempt_")
    assert (ticket.run_id, ticket.attempt) == (run_id, 1)
    assert ticket.server_url == world.settings.local_url
    assert (Path(ticket.app_dir) / "app.py").read_text() == "app"
    world.hello(run_id)
    world.step(times=5)
    assert world.run(run_id).status is RunStatus.RUNNING
    assert world.attempt(run_id).number == 1


def test_two_tasks_run_at_once(world: World) -> None:
    first, second = world.start_run(), world.start_run(a_zip("other"), "letters")
    world.step()
    assert {world.run(r).status for r in (first, second)} == {RunStatus.STARTING}
    assert len(world.engines.running) == 2


def test_an_app_that_cannot_be_unpacked_fails_the_run(world: World) -> None:
    run_id = world.start_run(b"no zip")
    world.step()
    run = world.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, FailureReason.APP_ERROR)
    assert "bundle" in run.text


def test_a_fl_server_that_does_not_begin_in_time_is_given_up(world: World) -> None:
    run_id = world.start_run()
    world.step(21, times=4)
    assert world.run(run_id).status is RunStatus.RESUMING
    assert "did not begin within 60 s" in world.run(run_id).text
    assert world.attempt(run_id).number == 2


def test_a_fl_server_that_ends_before_it_began_leaves_its_last_words(world: World) -> None:
    run_id = world.start_run()
    world.step()
    attempt_id = world.attempt(run_id).id
    world.engines.words[attempt_id] = "ImportError: no module named torch"
    world.engines.die(attempt_id)
    world.step(1.0)
    assert "no module named torch" in world.run(run_id).text


def test_a_run_waits_while_no_fl_server_can_be_started(world: World) -> None:
    run_id = world.start_run()
    world.engines.broken = "no memory"
    world.step()
    assert world.run(run_id).status is RunStatus.RESUMING
    assert "no memory" in world.run(run_id).text
    world.engines.broken = ""
    world.step(20)
    world.hello(run_id)
    assert world.run(run_id).status is RunStatus.RUNNING


# --- losing ----------------------------------------------------------------------------------


def test_a_killed_fl_server_is_noticed_in_the_next_step_and_followed_by_another(
    world: World,
) -> None:
    run_id = world.start_run()
    world.step()
    first = world.attempt(run_id)
    world.hello(run_id)
    world.engines.die(first.id, "killed by signal 9")
    world.step()
    assert world.attempt(run_id).number == 2
    assert world.run(run_id).status is RunStatus.RESUMING
    assert "killed by signal 9" in world.run(run_id).text
    world.step()
    world.hello(run_id)
    assert world.run(run_id).status is RunStatus.RUNNING


def test_a_lost_attempt_is_killed_before_the_next_begins(world: World) -> None:
    run_id = world.start_run()
    world.step()
    world.hello(run_id)
    first = world.attempt(run_id).id
    with world.db.write() as session:  # whoever else decides so
        run = lookup.require_run(session, run_id)
        attempt = transitions.attempt_of(session, run)
        assert attempt is not None
        who, why = "test", "lost"
        transitions.transition_attempt(
            session, attempt, AttemptStatus.LOST, Change(who, why, world.clock())
        )
        transitions.transition_run(
            session, run, RunStatus.RESUMING, Change(who, why, world.clock())
        )
    world.step()
    assert first not in world.engines.running
    assert world.attempt(run_id).number == 2


def test_attempts_that_are_always_lost_fail_the_run_with_the_last_words(world: World) -> None:
    run_id = world.start_run()
    for number in range(1, 5):
        world.step(30)
        attempt = world.attempt(run_id)
        assert attempt.number == number
        world.engines.words[attempt.id] = "out of memory"
        world.hello(run_id)
        world.engines.die(attempt.id)
        world.step()
    run = world.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, FailureReason.ENGINE_ERROR)
    assert "out of memory" in run.text


def test_a_run_that_is_lost_at_once_again_and_again_pauses_in_between(world: World) -> None:
    run_id = world.start_run()
    for _ in range(2):
        world.step()
        world.hello(run_id)
        world.engines.die(world.attempt(run_id).id)
    world.step()
    assert (world.attempt(run_id).number, world.attempt(run_id).status) == (2, AttemptStatus.LOST)
    world.step(0.5)
    assert world.attempt(run_id).number == 3


def test_after_a_restart_of_the_server_runs_go_on_and_it_is_not_held_against_them(
    world: World,
) -> None:
    run_id = world.start_run()
    world.step()
    world.hello(run_id)
    for number in range(2, 8):
        world.scheduler = world.new_scheduler()
        world.step()
        assert world.attempt(run_id).number == number
    assert world.run(run_id).lost_in_a_row == 0
    assert "restarted" in world.run(run_id).text
    assert len(world.engines.running) == 1


# --- devices ---------------------------------------------------------------------------------


def test_a_device_that_fell_silent_is_noted_once(world: World) -> None:
    device = world.join("pi-1")
    world.beat(device, WorkPoll())
    world.step(1.0, times=5)
    with world.db.read() as session:
        assert registry.read_device(session, "pi-1", world.clock()).online
    world.step(1.0, times=15)
    with world.db.read() as session:
        row = lookup.require_device(session, "pi-1")
        assert not row.noted_online
        assert not registry.read_device(session, "pi-1", world.clock()).online
