"""What the request handlers work with: one set a Server Manager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from fedops.core.contracts import TransferSlot
from fedops.server.access.sign_in import SignIn
from fedops.server.access.token_cache import TokenCache
from fedops.server.database.database import Database
from fedops.server.database.writer import Writer
from fedops.server.delivery.packages.preparing import PackagePreparation
from fedops.server.delivery.packages.wheel_index import WheelIndex
from fedops.server.delivery.sources.hooks import HookKey
from fedops.server.devices.cloned_devices import ClonedDevices
from fedops.server.devices.recent_calls import RecentCalls
from fedops.server.devices.wanted.desired_state import WantedStates
from fedops.server.jobs.config_checks import ConfigChecks
from fedops.server.jobs.engine_process import EngineProcesses
from fedops.server.jobs.leadership import Leadership
from fedops.server.jobs.storage_count import StorageCount
from fedops.server.measures.measures import Measures
from fedops.server.notifications.channel_secrets import ChannelSecrets
from fedops.server.rounds.attempt_inbox import AttemptInboxes
from fedops.server.rounds.engine_liveness import EngineLiveness
from fedops.server.rounds.instructions import Instructions
from fedops.server.rounds.other_managers import Others
from fedops.server.rounds.work_hub import WorkHub
from fedops.server.tasks.tasks import Planned
from fedops.server.telemetry.device_allowance import DeviceAllowance
from fedops.settings import ServerSettings
from fedops.storage.blobs import BlobStore

T = TypeVar("T")


@dataclass(frozen=True)
class Services:
    """Everything a request may need."""

    settings: ServerSettings
    db: Database
    writer: Writer
    artifacts: BlobStore
    engines: EngineProcesses
    checks: ConfigChecks
    pulse: EngineLiveness
    twins: ClonedDevices
    clock: Callable[[], float]
    token_cache: TokenCache
    sign_in: SignIn
    presence: RecentCalls
    hub: WorkHub
    inboxes: AttemptInboxes
    instructions: Instructions
    wanted: WantedStates
    hook_key: HookKey
    #: Sources and commits are looked at now, if this Server Manager leads.
    wake_delivery: Callable[[], None]
    #: Messages are sent now, if this Server Manager leads.
    wake_notifications: Callable[[], None]
    channel_secrets: ChannelSecrets
    slots: Slots
    others: Others
    leadership: Leadership
    allowance: DeviceAllowance
    packages: PackagePreparation
    index: WheelIndex
    measures: Measures
    storage: StorageCount

    async def require_sound(self, plan: Callable[[Session], Planned]) -> None:
        """``Invalid`` when what a task or run is to use would be wrong on every device.

        It is read, then tried: no transaction is open meanwhile, and no other request waits.
        """

        await self.checks.require_sound(await self.look(plan))

    async def change(self, use_case: Callable[[Session], T]) -> T:
        """One transaction, beside the event loop."""

        def work() -> T:
            with self.db.write() as session:
                return use_case(session)

        return await asyncio.to_thread(work)

    async def look(self, read: Callable[[Session], T]) -> T:
        """One reading transaction, beside the event loop."""

        def work() -> T:
            with self.db.read() as session:
                return read(session)

        return await asyncio.to_thread(work)

    @property
    def engine_why(self) -> str:
        """One sentence on the FL servers, for operators."""
        if self.leadership.leads:
            return self.engines.why()
        return "another Server Manager of this database starts the FL servers"

    def let_go(self) -> None:
        """Answer everybody who waits for news, now and from now on: the server is ending."""
        self.hub.close()
        self.inboxes.close()


class Slots(Protocol):
    """Leave to upload, a few at a time."""

    async def acquire(self, holder: str, wait: float) -> TransferSlot: ...

    def release(self, holder: str) -> None: ...
