"""All devices: who needs somebody first, then the others by name."""

from __future__ import annotations

from typing import Any

from fedops.core.contracts import DeviceRead
from fedops.core.states import Enrolment, ProcessStatus
from fedops.server.dashboard.live.page import Page, Panel
from fedops.server.dashboard.web.view import View
from fedops.server.devices import registry
from fedops.server.events.news import EventNews

_A_PAGE = 100


def state_of(device: DeviceRead) -> str:
    """One word: the state that a chip shows."""
    if device.enrolment is not Enrolment.APPROVED:
        return device.enrolment.value
    if not device.online:
        return "lost" if device.tasks else "offline"
    if device.process.status in (ProcessStatus.FATAL, ProcessStatus.BACKOFF):
        return device.process.status.value
    busy = (ProcessStatus.TRAINING, ProcessStatus.EVALUATING)
    return device.process.status.value if device.process.status in busy else "online"


_FIRST = ("pending", "lost", "fatal", "backoff", "quarantined")


def devices(view: View) -> dict[str, Any]:
    """The devices whose name or state has the text that is looked for."""
    text = view.query.get("text", "").strip().lower()
    found = [
        (state_of(device), device)
        for device in registry.list_devices(view.session, view.now, within=view.tasks)
    ]
    shown = [(state, one) for state, one in found if text in f"{one.name} {state}".lower()]
    shown.sort(key=lambda pair: (pair[0] not in _FIRST, pair[1].name))
    return {
        "devices": shown[:_A_PAGE],
        "more": len(shown) - _A_PAGE,
        "count": len(found),
        "online": sum(device.online for _, device in found),
        "text": text,
    }


def _of_devices(_: View) -> Any:
    def concerns(event: EventNews) -> bool:
        return event.subject.startswith("device ") or event.run_id is not None

    return concerns


PAGES = (
    Page(
        path="/devices",
        template="devices/list.html",
        section="devices",
        title=lambda view: "Devices",
        panels=lambda view: (Panel("devices", "devices/list_table.html", devices),),
        concerns=_of_devices,
    ),
)
