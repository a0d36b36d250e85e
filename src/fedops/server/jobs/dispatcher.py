"""Carries what a committed change told (``notices``) to those who wait for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedops.server.access.token_cache import TokenCache
from fedops.server.devices.recent_calls import RecentCalls
from fedops.server.events.notifications import (
    AttemptHello,
    AttemptOver,
    AttemptSignal,
    DeviceBack,
    DeviceChanged,
    DeviceGone,
    DeviceLife,
    Notice,
    TokensChanged,
    WorkForEngine,
    WorkForRollouts,
    WorkForScheduler,
    WorkOffered,
    WorkOver,
    WorkReleased,
)
from fedops.server.rounds.attempt_inbox import AttemptInboxes
from fedops.server.rounds.work_hub import WorkHub


@dataclass(frozen=True)
class Dispatcher:
    """The listener of the database. Called after each commit, in their order, from any thread."""

    hub: WorkHub
    inboxes: AttemptInboxes
    presence: RecentCalls
    tokens: TokenCache
    #: Ends what is on its way in for an assignment that is over: (assignment, why).
    forget_upload: Callable[[str, str], None]
    wake_scheduler: Callable[[], None]
    wake_rollouts: Callable[[], None]

    def __call__(self, notice: Notice) -> None:
        match notice:
            case WorkForScheduler():
                self.wake_scheduler()
            case WorkForRollouts():
                self.wake_rollouts()
            case TokensChanged():
                self.tokens.clear()
            case DeviceLife():
                return  # whoever took the call knows
            case DeviceChanged() | DeviceGone() | DeviceBack():
                self._to_devices(notice)
            case WorkOffered() | WorkOver() | WorkReleased():
                self._to_devices(notice)
            case _:
                self._to_engines(notice)

    def _to_devices(self, notice: Notice) -> None:
        match notice:
            case DeviceChanged(device_id):
                self.hub.changed(device_id)
            case DeviceGone(device_id, name, attempt_ids, why):
                self.presence.gone(device_id)
                self.inboxes.presence(attempt_ids, name, why)
            case DeviceBack(_, name, attempt_ids):
                self.inboxes.presence(attempt_ids, name, None)
            case WorkOffered(works):
                self.hub.offered(works)
            case WorkReleased(ids):
                self.hub.released(ids)
            case WorkOver(assignment_id, _, cancelled):
                self.hub.over(notice)
                if cancelled is not None:
                    self.forget_upload(assignment_id, cancelled)

    def _to_engines(self, notice: Notice) -> None:
        match notice:
            case WorkForEngine():
                self.inboxes.deliver(notice)
            case AttemptHello():
                self.inboxes.begin(notice)
            case AttemptSignal(attempt_id):
                self.inboxes.nudge(attempt_id)
            case AttemptOver(attempt_id):
                self.inboxes.forget(attempt_id)
