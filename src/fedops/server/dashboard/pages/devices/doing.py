"""What a device does now, how its training client is, and what it is asked to run."""

from __future__ import annotations

from typing import Any

from fedops.server.assignments import work_in_hand
from fedops.server.dashboard.pages.devices.device_view import device_of
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.rollouts import delivery_views
from fedops.server.delivery.upgrades import upgrade_views


def doing(view: View) -> dict[str, Any]:
    """Its work in hand, its training client, its code by task, and its place in an upgrade."""
    device = device_of(view)
    process = device.process
    return {
        "device": device,
        "work": work_in_hand.work_in_hand(view.session, device.id, view.tasks),
        "process": process,
        "since": view.now - process.seconds_in_state,
        "deployments": delivery_views.deployments_of_device(
            view.session, device.id, view.now, view.tasks
        ),
        "upgrade": upgrade_views.upgrade_of_device(view.session, device.id, view.now)
        if view.tasks is None
        else None,
    }
