"""The scheduler and the sweeper against a real database and a fake engine."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.client.device.enrolment import join_request
from fedops.config.loading import parse_config, to_plain
from fedops.core.contracts import (
    DeviceInfo,
    EngineFinish,
    EngineHello,
    EngineProgress,
    RunStart,
    TokenCreate,
    WorkPoll,
)
from fedops.core.errors import Conflict
from fedops.core.states import AttemptStatus, FailureReason, RunStatus, TaskStatus
from fedops.server.access import tokens
from fedops.server.database import blob_rows, lookup
from fedops.server.database.database import Database
from fedops.server.database.tables import AttemptRow, BundleRow, RunRow, TaskRow
from fedops.server.devices import enrolment, heartbeats, registry
from fedops.server.devices.presence import Presence
from fedops.server.events.event_log import Change
from fedops.server.jobs.leadership import Leadership
from fedops.server.jobs.maintenance import Maintenance
from fedops.server.jobs.scheduler import Scheduler
from fedops.server.rounds import engine_session, outcomes
from fedops.server.rounds.engine_liveness import EngineLiveness
from fedops.server.rounds.work_hub import WorkHub
from fedops.server.runs import control, transitions
from fedops.settings import ServerSettings
from fedops.storage.folder_blobs import FolderBlobs
from fedops.testing import FakeClock, FakeEngines


@dataclass
class World:
    """A server without HTTP."""

    home: Path
    engines: FakeEngines = field(default_factory=FakeEngines)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.settings = ServerSettings(
            home=self.home, attempt_start_seconds=60.0, attempt_work_seconds=900.0
        )
        self.pulse = EngineLiveness(self.clock)
        self.db = Database(self.settings.database)
        self.db.migrate()
        self.artifacts = FolderBlobs(self.home / "artifacts")
        self.scheduler = self.new_scheduler()
        self.presence = Presence(self.settings.heartbeat_seconds)
        hub = WorkHub(self.clock, self.clock)
        self.sweeper = Maintenance(
            self.db, self.settings, self.artifacts, self.presence, hub, self.clock, self.clock
        )

    def new_scheduler(self, leadership: Leadership | None = None) -> Scheduler:
        return Scheduler(
            self.db,
            self.engines,
            self.artifacts,
            self.settings,
            self.pulse,
            clock=self.clock,
            monotonic=self.clock,
            leadership=leadership,
        )

    def step(self, seconds: float = 0.25, times: int = 1) -> None:
        """Time passes, and the scheduler and the sweeper look."""
        for _ in range(times):
            self.clock.advance(seconds)
            self.scheduler.step()
            self.sweeper.step()

    def start_run(self, bundle: bytes | None = None, name: str = "digits") -> int:
        upload = self.artifacts.begin()
        upload.write(bundle or a_zip())
        ref = upload.finish()
        now = self.clock()
        config = to_plain(parse_config({"num_rounds": 3}, "test"))
        with self.db.write() as session:
            blob_rows.record_blob(session, ref, now)
            session.add(BundleRow(sha256=ref.sha256, package="pkg", created_at=now))
            session.flush()
            session.add(
                TaskRow(
                    name=name,
                    status=TaskStatus.READY,
                    bundle=ref.sha256,
                    overrides=[],
                    config=config,
                    created_at=now,
                    updated_at=now,
                )
            )
            session.flush()
            return control.start_run(session, name, RunStart(), self.clock())

    def run(self, run_id: int) -> RunRow:
        with self.db.read() as session:
            return lookup.require_run(session, run_id)

    def attempt(self, run_id: int) -> AttemptRow:
        with self.db.read() as session:
            found = transitions.attempt_of(session, lookup.require_run(session, run_id))
            assert found is not None
            return found

    def attempts(self, run_id: int) -> list[AttemptRow]:
        query = select(AttemptRow).where(AttemptRow.run_id == run_id).order_by(AttemptRow.number)
        with self.db.read() as session:
            return list(session.scalars(query))

    def hello(self, run_id: int) -> None:
        """The FL server of the current attempt is up."""
        with self.db.write() as session:
            body = EngineHello(pid=self.attempt(run_id).pid or 0)
            engine_session.start_attempt(
                session, self.attempt(run_id).id, body, self.home, self.clock()
            )

    def stop(self, run_id: int) -> None:
        with self.db.write() as session:
            control.request_stop(session, run_id, self.settings, self.clock())

    def pause(self, run_id: int) -> None:
        with self.db.write() as session:
            control.request_pause(session, run_id, self.settings, self.clock())

    def resume(self, run_id: int) -> None:
        with self.db.write() as session:
            control.request_resume(session, run_id, self.clock())

    def join(self, name: str) -> str:
        """A new approved device; returns its id."""
        key = ec.generate_private_key(ec.SECP384R1())
        with self.db.write() as session:
            token = tokens.create_join_token(session, TokenCreate(), self.clock()).token or ""
            body = join_request(token, name, key, DeviceInfo())
            return enrolment.join(session, body, self.settings, self.clock()).device_id

    def beat(self, device_id: str, body: WorkPoll) -> None:
        now = self.clock()
        with self.db.write() as session:
            heartbeats.record_heartbeat(session, device_id, body, self.presence.interval, now)
        self.presence.wrote(device_id, body, False, now)


def a_zip(content: str = "app") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", content)
    return buffer.getvalue()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.db.close()


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


# --- what takes too long -------------------------------------------------------------------


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
    world.sweeper.step()
    assert world.run(run_id).status == state
    world.clock.advance(20.0)
    world.sweeper.step()
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
            world.sweeper.step()
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


# --- stopping --------------------------------------------------------------------------------


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


@dataclass
class Lent:
    """Leadership as a test gives and takes it. ``truly``: what the database says."""

    leads: bool = True
    truly: bool = True
    shared: bool = True

    def confirm(self, session: Session) -> None:
        if not self.truly:
            raise Conflict("another one leads")


def test_who_leads_no_more_ends_its_engines_and_leaves_the_rest_to_the_other(
    world: World,
) -> None:
    office = Lent()
    world.scheduler = world.new_scheduler(office)
    run_id = world.start_run()
    world.step()
    assert len(world.engines.running) == 1
    office.leads = False
    world.step(times=3)
    assert world.engines.running == {}
    assert [a.status for a in world.attempts(run_id)] == [AttemptStatus.STARTING]
    office.leads = True
    world.step()
    found = world.attempts(run_id)
    assert [a.status for a in found] == [AttemptStatus.LOST, AttemptStatus.STARTING]
    assert "another Server Manager leads" in (found[0].reason or "")
    assert world.run(run_id).lost_in_a_row == 0


def test_who_only_believes_to_lead_begins_and_ends_nothing(world: World) -> None:
    office = Lent()
    world.scheduler = world.new_scheduler(office)
    run_id = world.start_run()
    world.step()
    attempt = world.attempts(run_id)[0]
    office.truly = False
    world.engines.die(attempt.id)
    with pytest.raises(Conflict, match="another one leads"):
        world.step()
    assert [a.status for a in world.attempts(run_id)] == [AttemptStatus.STARTING]
