"""The device that a page is about, read once for all of its panels."""

from __future__ import annotations

from fedops.core.contracts import DeviceRead
from fedops.server.dashboard.web.view import View
from fedops.server.devices import registry


def device_of(view: View) -> DeviceRead:
    """The device."""
    return view.once(
        "device",
        lambda: registry.read_device(view.session, view.path["device"], view.now, view.tasks),
    )
