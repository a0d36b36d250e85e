"""Carries what a committed change told (``notices``) to those who wait for it."""

from __future__ import annotations

from collections.abc import Callable

from fedops.server.doorbell import Doorbell
from fedops.server.node_auth import NodeAuth
from fedops.server.notices import (
    AttemptOver,
    AttemptSignal,
    DeviceChanged,
    DeviceGone,
    Notice,
    WorkForScheduler,
)


class Dispatch:
    """The listener of the database. Called after each commit, from any thread."""

    def __init__(self, doorbell: Doorbell, node_auth: NodeAuth, wake: Callable[[], None]) -> None:
        self._doorbell = doorbell
        self._node_auth = node_auth
        self._wake_scheduler = wake

    def __call__(self, notice: Notice) -> None:
        match notice:
            case DeviceChanged(device_id):
                self._node_auth.devices_changed()
                self._doorbell.bump_device(device_id)
            case DeviceGone():
                self._gone(notice)
            case AttemptSignal(attempt_id, kind, device, text):
                self._doorbell.signal(attempt_id, kind, device=device, text=text)
            case AttemptOver(attempt_id):
                self._doorbell.forget(attempt_id)
            case WorkForScheduler():
                self._wake_scheduler()

    def _gone(self, notice: DeviceGone) -> None:
        if notice.node_id is not None:
            self._doorbell.release_node(notice.node_id)
        for attempt_id in notice.attempt_ids:
            self._doorbell.signal(attempt_id, "gone", device=notice.name, text=notice.why)
