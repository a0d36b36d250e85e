"""A server without HTTP, whose clock and FL servers obey the test."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from fedops.client.device.enrolment import join_request
from fedops.config.loading import parse_config, to_plain
from fedops.core.contracts import DeviceInfo, EngineHello, RunStart, TokenCreate, WorkPoll
from fedops.core.states import TaskStatus
from fedops.server.access import tokens
from fedops.server.database import blob_rows, lookup
from fedops.server.database.database import Database
from fedops.server.database.tables import AttemptRow, BundleRow, RunRow, TaskRow
from fedops.server.devices import enrolment, heartbeats
from fedops.server.devices.recent_calls import RecentCalls
from fedops.server.jobs.leadership import Leadership
from fedops.server.jobs.maintenance import Maintenance
from fedops.server.jobs.scheduler import Scheduler
from fedops.server.rounds import engine_session
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
        self.presence = RecentCalls(self.settings.heartbeat_seconds)
        hub = WorkHub(clock=self.clock, monotonic=self.clock)
        self.maintenance = Maintenance(
            self.db,
            self.settings,
            self.artifacts,
            self.presence,
            hub,
            clock=self.clock,
            monotonic=self.clock,
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
        """Time passes, and the scheduler and maintenance look."""
        for _ in range(times):
            self.clock.advance(seconds)
            self.scheduler.step()
            self.maintenance.step()

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
