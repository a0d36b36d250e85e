"""What code the devices of a task run: how each wave is, and the devices that are behind first."""

from __future__ import annotations

from typing import Any

from fedops.server.dashboard.pages.tasks.task_page import task_of
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.rollouts import delivery_views, wave_standings

_DEVICES = 12


def deployed(view: View) -> dict[str, Any]:
    """By wave, how many run what is wanted; and some devices with what each wants and runs."""
    task = task_of(view).name
    return {
        "task": task_of(view),
        "found": wave_standings.read_waves(view.session, task, view.now),
        "devices": delivery_views.first_deployments(view.session, task, view.now, _DEVICES),
    }
