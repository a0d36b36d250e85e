"""The processes of a server put together: what each of them has, and what only the Server Manager has."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from fedops.server.access import users
from fedops.server.access.admin_token import ensure_admin_token
from fedops.server.access.sign_in import SignIn
from fedops.server.access.token_cache import TokenCache
from fedops.server.assignments import open_work
from fedops.server.blob_app.admission import Admission
from fedops.server.blob_app.app import BlobApp
from fedops.server.blob_app.slots_in_memory import SlotsInMemory
from fedops.server.database.blob_stores import files_of, open_blobs
from fedops.server.database.database import Database
from fedops.server.database.writer import Writer
from fedops.server.delivery.packages.engine_environments import EngineEnvironments
from fedops.server.delivery.packages.preparing import PackagePreparation
from fedops.server.delivery.packages.wheel_index import WheelIndex
from fedops.server.delivery.sources.hooks import HookKey
from fedops.server.devices.cloned_devices import ClonedDevices
from fedops.server.devices.recent_calls import RecentCalls
from fedops.server.devices.wanted.desired_state import WantedStates
from fedops.server.events.notifications import WorkOver
from fedops.server.jobs.config_checks import ConfigChecks
from fedops.server.jobs.delivery.delivery_jobs import DeliveryJobs
from fedops.server.jobs.delivery.package_job import package_job
from fedops.server.jobs.delivery.rollout_job import RolloutJob
from fedops.server.jobs.delivery.schedule_job import Schedules
from fedops.server.jobs.dispatcher import Dispatcher
from fedops.server.jobs.engine_process import EngineProcesses
from fedops.server.jobs.leadership import Alone, Leadership
from fedops.server.jobs.maintenance import Maintenance
from fedops.server.jobs.notification_job import NotificationJob
from fedops.server.jobs.periodic import PeriodicJob
from fedops.server.jobs.scheduler import Scheduler
from fedops.server.jobs.storage_count import StorageCount
from fedops.server.measures.measures import Measures
from fedops.server.peers.clock import DatabaseClock
from fedops.server.peers.lease import Lease
from fedops.server.peers.memory_sync import MemorySync
from fedops.server.peers.shared_slots import SharedSlots
from fedops.server.peers.slot_table import SlotTable
from fedops.server.rounds.attempt_inbox import AttemptInboxes
from fedops.server.rounds.blob_access import WorkBlobAccess
from fedops.server.rounds.engine_liveness import EngineLiveness
from fedops.server.rounds.instructions import Instructions
from fedops.server.rounds.other_managers import Nobody, Others
from fedops.server.rounds.work_hub import WorkHub
from fedops.server.services import levels
from fedops.server.services.services import Services
from fedops.server.telemetry.device_allowance import DeviceAllowance
from fedops.settings import ServerSettings
from fedops.storage.blobs import BlobStore

if TYPE_CHECKING:
    from fedops.server.peers.manager_group import ManagerGroup

#: How long a worker may take to end. Seconds.
JOIN_SECONDS = 10.0


@dataclass(frozen=True)
class Member:
    """What every process has that serves a database: memory that is kept right, files, the way to write."""

    settings: ServerSettings
    db: Database
    writer: Writer
    artifacts: BlobStore
    clock: Callable[[], float]
    twins: ClonedDevices
    tokens: TokenCache
    presence: RecentCalls
    hub: WorkHub
    inboxes: AttemptInboxes
    instructions: Instructions
    blobs: BlobApp
    leadership: Leadership
    others: Others
    #: None: no other process may serve the same database.
    group: ManagerGroup | None
    measures: Measures

    def open(self) -> None:
        """Make the home folder and the database ready, and know what is in it."""
        self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.db.migrate()
        self.artifacts.clean()
        if self.group:
            self.group.greet()
        self._remember()

    def _remember(self) -> None:
        """What is kept in memory, as the database has it."""
        with self.db.write() as session:
            if not self.leadership.shared:  # else others may have heard the devices all the time
                self.presence.load(session, self.clock())
                self.presence.flush(session, self.presence.take(self.clock()), self.clock())
            found = open_work.open_rows(session)
            known = [(open_work.work_of(row), open_work.seen_of(row)) for row in found]
            ended = [
                (open_work.work_of(row), WorkOver(row.id, row.device_id, row.reason))
                for row in open_work.unreleased(session)
            ]
        self.hub.load(known, ended)

    def start(self) -> None:
        """From now on hear what others change."""
        if self.group:
            self.group.start()

    def close(self) -> None:
        """End what was started. What was handed in to be written is written."""
        if self.group:
            self.group.close(JOIN_SECONDS)
        self.blobs.close()
        self.writer.close()
        self.db.close()


class Worker(Protocol):
    """Threads that live as long as the server."""

    @property
    def lags(self) -> Mapping[str, float]: ...

    def start(self) -> None: ...

    def end(self) -> None: ...

    def join(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class ServerManager:
    """The parts that live as long as the server."""

    member: Member
    services: Services
    scheduler: Scheduler
    maintenance: Maintenance
    delivery: DeliveryJobs
    rollouts: RolloutJob
    schedules: Schedules
    environments: EngineEnvironments
    packages: PeriodicJob
    notifications: NotificationJob

    @property
    def workers(self) -> tuple[Worker, ...]:
        """What acts by itself while the server runs, in the order of their beginning."""
        acting = (self.scheduler, self.maintenance, self.rollouts, self.schedules)
        beside = (self.packages, self.delivery, self.services.storage.worker, self.notifications)
        return (*(one.worker for one in acting), *beside)

    @property
    def lags(self) -> dict[str, float]:
        """How long the steps of the workers are overdue, in seconds."""
        return {name: lag for worker in self.workers for name, lag in worker.lags.items()}

    @property
    def blobs(self) -> BlobApp:
        return self.member.blobs

    @property
    def group(self) -> ManagerGroup | None:
        return self.member.group

    def open(self) -> bool:
        """Make the home folder, the database and the admin token ready. Whether there was no user before."""
        self.member.open()
        services = self.services
        with services.db.read() as session:
            is_new = not users.is_any_known(session)
        ensure_admin_token(services.db, services.settings.admin_token_file, services.clock())
        return is_new

    def start(self) -> None:
        """Begin to hear, then to act."""
        self.member.start()
        for worker in self.workers:
            worker.start()

    async def close(self) -> None:
        """End everything that was started, the waiting first."""
        self.services.let_go()
        for worker in self.workers:
            worker.end()
        self.environments.close()
        await asyncio.to_thread(self._close_blocking)

    def _close_blocking(self) -> None:
        for worker in self.workers:
            worker.join(JOIN_SECONDS)
        self.services.checks.close()
        self.services.sign_in.close()
        self.services.engines.close()
        self.member.close()


def assemble_manager(
    settings: ServerSettings,
    engines: EngineProcesses,
    clock: Callable[[], float] = time.time,
    *,
    alone: bool = False,
) -> ServerManager:
    """Connect the parts; nothing is started or written yet. ``alone``: no other server has the database."""
    lease, pulse = Lease(uuid.uuid4().hex), EngineLiveness()
    base = assemble_member(settings, lease, clock, alone=alone)
    db, artifacts, clock, leadership = base.db, base.artifacts, base.clock, base.leadership
    packages = PackagePreparation(db, artifacts, settings.home, clock)
    environments = _engine_environments(base, packages)
    scheduler = Scheduler(
        db,
        engines,
        artifacts,
        settings,
        pulse,
        clock=clock,
        leadership=leadership,
        environment_of=environments.of,
    )
    lease.changed = environments.changed = scheduler.worker.wake
    rollouts = RolloutJob(db, artifacts, clock=clock, leadership=leadership)
    schedules = Schedules(db, clock=clock, leadership=leadership)
    _listen(base, (scheduler.worker.wake, schedules.worker.wake), rollouts.worker.wake)
    delivery = DeliveryJobs(db, settings, artifacts, clock=clock, leadership=leadership)
    notifications = NotificationJob(db, settings, clock=clock, leadership=leadership)
    manager = ServerManager(
        member=base,
        services=_services(base, engines, pulse, packages, delivery, notifications),
        scheduler=scheduler,
        maintenance=Maintenance(
            db, settings, artifacts, base.presence, base.hub, clock=clock, leadership=leadership
        ),
        delivery=delivery,
        rollouts=rollouts,
        schedules=schedules,
        environments=environments,
        packages=package_job(packages, leadership),
        notifications=notifications,
    )
    base.measures.also(lambda: levels.of_database(manager.services))
    base.measures.also(lambda: levels.of_jobs(manager.lags))
    return manager


def _engine_environments(base: Member, packages: PackagePreparation) -> EngineEnvironments:
    """Where FL servers find the packages of their run's commit."""
    settings = base.settings
    return EngineEnvironments(
        base.db,
        packages,
        base.artifacts,
        settings.engine_folder / "engine" / "environments",
        shown=settings.engine_user is not None,
    )


def _services(
    base: Member,
    engines: EngineProcesses,
    pulse: EngineLiveness,
    packages: PackagePreparation,
    delivery: DeliveryJobs,
    notifications: NotificationJob,
) -> Services:
    """What answers requests."""
    settings = base.settings
    return Services(
        settings=settings,
        db=base.db,
        writer=base.writer,
        artifacts=base.artifacts,
        engines=engines,
        checks=ConfigChecks(engines, base.artifacts, settings.home, settings.check_seconds),
        pulse=pulse,
        twins=base.twins,
        clock=base.clock,
        token_cache=base.tokens,
        sign_in=SignIn(base.db, base.clock),
        presence=base.presence,
        hub=base.hub,
        inboxes=base.inboxes,
        instructions=base.instructions,
        wanted=WantedStates(base.db),
        hook_key=HookKey(settings.home / "hook-key"),
        wake_delivery=delivery.wake,
        wake_notifications=notifications.wake,
        channel_secrets=notifications.secrets,
        slots=base.blobs.admission,
        others=base.others,
        leadership=base.leadership,
        allowance=DeviceAllowance(
            settings.device_log_lines_per_minute, settings.device_metric_names
        ),
        packages=packages,
        index=WheelIndex(settings.home),
        measures=base.measures,
        storage=StorageCount(base.db, settings.home, base.clock),
    )


def assemble_file_server(settings: ServerSettings) -> Member:
    """What a file server has: it never leads, and decides nothing."""
    member = assemble_member(settings, Lease(uuid.uuid4().hex, candidate=False))
    _listen(member, (), lambda: None)
    return member


def _listen(
    member: Member, of_runs: Sequence[Callable[[], None]], wake_rollouts: Callable[[], None]
) -> None:
    """``of_runs``: those who act when a run has changed."""

    def runs_changed() -> None:
        for wake in of_runs:
            wake()

    member.db.listener = Dispatcher(
        member.hub,
        member.inboxes,
        member.presence,
        member.tokens,
        member.blobs.forget,
        runs_changed,
        wake_rollouts,
    )


def assemble_member(
    settings: ServerSettings,
    lease: Lease,
    clock: Callable[[], float] = time.time,
    *,
    alone: bool = False,
) -> Member:
    """Connect what every process has. Whoever has it sets the listener of its database."""
    db, there = Database(settings.database), DatabaseClock()
    measures = Measures()
    db.waited = measures.waited_to_write
    shared = not (alone or db.is_sqlite)
    artifacts = open_blobs(settings, shared=shared)
    leadership: Leadership = lease if shared else Alone()
    twins = ClonedDevices(there if shared else time.monotonic)
    clock = there if shared else clock
    hub, inboxes = WorkHub(clock=clock, shared=shared), AttemptInboxes()
    presence = RecentCalls(settings.heartbeat_seconds, shared=shared)
    tokens, writer, instructions = TokenCache(db, clock), Writer(db), Instructions(db)
    group = _manager_group(settings, db, lease, there, hub, inboxes, twins) if shared else None
    others: Others = group or Nobody()
    access = WorkBlobAccess(
        db, writer, tokens, hub, instructions, presence, clock, settings.max_update_bytes, others
    )
    slots = Admission(group.slots if group else SlotsInMemory(settings.upload_slots))
    return Member(
        settings=settings,
        db=db,
        writer=writer,
        artifacts=artifacts,
        clock=clock,
        twins=twins,
        tokens=tokens,
        presence=presence,
        hub=hub,
        inboxes=inboxes,
        instructions=instructions,
        blobs=BlobApp(access, artifacts, slots, accel_prefix=settings.accel_prefix),
        leadership=leadership,
        others=others,
        group=group,
        measures=measures,
    )


def _manager_group(
    settings: ServerSettings,
    db: Database,
    lease: Lease,
    there: DatabaseClock,
    hub: WorkHub,
    inboxes: AttemptInboxes,
    twins: ClonedDevices,
) -> ManagerGroup:
    from fedops.server.peers.manager_group import ManagerGroup  # needs PostgreSQL's driver

    memory = MemorySync(db, hub, inboxes, twins, there)
    slots = SharedSlots(SlotTable(db, lease.me, settings.upload_slots))
    return ManagerGroup(db, lease, there, memory, hub, partial(files_of, settings), slots)
