"""What a device's call asks of the other Server Managers of the same database, where there may be any.

A device may call any of them. What another one offered, ended or took in may not have come here yet.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from fedops.server.devices.wanted.desired_state import Wanted


class Others(Protocol):
    """Used in the event loop."""

    async def learn(self, device_id: str, ids: Sequence[str]) -> None:
        """See that what there is of these assignments of a device is in memory."""
        ...

    async def learn_all(self, device_id: str) -> None:
        """See that all open work of a device is in memory."""
        ...

    async def still_open(self, ids: Sequence[str]) -> Collection[str]:
        """Those of these assignments that may be offered."""
        ...

    def revision(self, ours: int, wanted: Wanted) -> int:
        """What the device is told of what is wanted of it: ``ours``, or what every other would say too."""
        ...


class Nobody:
    """There is no other Server Manager: memory is right."""

    async def learn(self, device_id: str, ids: Sequence[str]) -> None:
        """Nothing to learn."""

    async def learn_all(self, device_id: str) -> None:
        """Nothing to learn."""

    async def still_open(self, ids: Sequence[str]) -> Collection[str]:
        return ids

    def revision(self, ours: int, wanted: Wanted) -> int:
        return ours
