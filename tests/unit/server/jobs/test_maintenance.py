"""Maintenance when the database fails for a moment: nothing that memory had is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.orm import Session

from fedops.core.contracts import ProcessReport, WorkPoll
from fedops.core.errors import Unavailable
from fedops.core.states import Enrolment, ProcessStatus
from fedops.server.database.database import Database
from fedops.server.database.tables import DeviceRow
from fedops.server.devices import going_offline
from fedops.server.devices.recent_calls import RecentCalls
from fedops.server.jobs.leadership import Alone, Leadership
from fedops.server.jobs.maintenance import Maintenance
from fedops.server.rounds.work_hub import WorkHub
from fedops.settings import ServerSettings
from fedops.storage.folder_blobs import FolderBlobs
from fedops.testing import FakeClock


class FailingDatabase(Database):
    """Its transactions fail at their commits while there are troubles."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.troubles: list[Exception] = []

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Session]:
        with super().write(durable=durable) as session:
            yield session
            if self.troubles:
                raise self.troubles.pop()


class World:
    """Maintenance, and one device that is there."""

    def __init__(self, home: Path, leadership: Leadership) -> None:
        settings = ServerSettings(home=home)
        self.clock = FakeClock()
        self.db = FailingDatabase(settings.database)
        self.db.migrate()
        self.presence = RecentCalls(settings.heartbeat_seconds)
        self.maintenance = Maintenance(
            self.db,
            settings,
            FolderBlobs(home / "artifacts"),
            self.presence,
            WorkHub(clock=self.clock, monotonic=self.clock),
            clock=self.clock,
            monotonic=self.clock,
            leadership=leadership,
        )
        with self.db.write() as session:
            session.add(_device(self.clock()))
        self.say(ProcessStatus.IDLE)
        self.presence.wrote("d", _poll(ProcessStatus.IDLE), False, self.clock())

    def say(self, status: ProcessStatus) -> None:
        self.presence.polled("d", _poll(status), False, self.clock())

    @property
    def device(self) -> DeviceRow:
        with self.db.read() as session:
            return session.get_one(DeviceRow, "d")


def _device(now: float) -> DeviceRow:
    return DeviceRow(
        id="d",
        name="pi",
        public_key="",
        fingerprint="",
        enrolment=Enrolment.APPROVED,
        info={},
        created_at=now,
        node_number=1 << 62,
        process=ProcessReport().model_dump(mode="json"),
        problems=[],
        noted_online=True,
        present_until=now + 60.0,
    )


def _poll(status: ProcessStatus) -> WorkPoll:
    return WorkPoll(life="l", tasks=["t"], process=ProcessReport(status=status))


@pytest.mark.parametrize("trouble", [Unavailable("the disk is full"), ValueError("a bug")])
def test_who_called_is_written_after_a_failed_commit(tmp_path: Path, trouble: Exception) -> None:
    world = World(tmp_path, Alone())
    world.clock.advance(1.5)
    world.say(ProcessStatus.TRAINING)
    called_at = world.clock()
    world.db.troubles = [trouble]
    with pytest.raises(type(trouble)):
        world.maintenance.step()
    assert world.device.last_heartbeat_at is None
    world.clock.advance(1.5)
    world.maintenance.step()
    assert world.device.last_heartbeat_at == called_at
    assert world.device.process["status"] == ProcessStatus.TRAINING.value


def test_who_begins_to_lead_gives_devices_grace_though_its_first_write_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgiven: list[float] = []
    monkeypatch.setattr(
        going_offline, "grant_grace", lambda session, least, now: forgiven.append(now)
    )
    leads = SimpleNamespace(shared=True, leads=True, confirm=lambda session: None)
    world = World(tmp_path, leads)
    world.db.troubles = [Unavailable("the database is not available")]
    with pytest.raises(Unavailable):
        world.maintenance.step()
    for _ in range(2):
        world.clock.advance(0.5)
        world.maintenance.step()
    assert len(forgiven) == 2, "what failed is done again, and then it is done"
