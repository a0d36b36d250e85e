"""Devices: who needs somebody first, then the others."""

from __future__ import annotations

from typing import Any

from fedops.core.contracts import DeviceRead
from fedops.core.states import ENROLMENT_OUT, Enrolment, ProcessStatus
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.devices import enrolment, registry
from fedops.server.tasks.task_members import LOST, NEVER

PAGE = 100
#: By how much each needs somebody, the most first.
STATES = (LOST, "fatal", "refused", "pending", "quarantined", "backoff")


def state_of(device: DeviceRead) -> str:
    """What matters most about a device, in one word."""
    if device.enrolment is not Enrolment.APPROVED:
        return device.enrolment.value
    if not device.online:
        return NEVER if device.last_seen_at is None else LOST
    process = device.process
    refused = process.refusal or any(one.status == "refused" for one in process.readiness)
    if process.status is ProcessStatus.IDLE and refused:
        return "refused"
    return process.status.value


def _order(device: DeviceRead) -> tuple[int, bool, str]:
    state = state_of(device)
    place = STATES.index(state) if state in STATES else len(STATES)
    return place, device.enrolment in ENROLMENT_OUT, device.name


def _matches(device: DeviceRead, query: View) -> bool:
    asked = query.query
    state, task, tag = (asked.get(name, "") for name in ("state", "task", "tag"))
    text = asked.get("text", "").lower()
    return (
        state in ("", state_of(device), "online" if device.online else "")
        and (not task or task in device.tasks)
        and (not tag or tag in device.tags)
        and text in f"{device.name} {device.info.hostname} {device.why}".lower()
    )


def devices(view: View) -> dict[str, Any]:
    """A page of those that the filters leave."""
    known = registry.list_devices(view.session, view.now, within=view.tasks)
    found = sorted((one for one in known if _matches(one, view)), key=_order)
    asked = view.query.get("page", "1")
    last = max((len(found) - 1) // PAGE + 1, 1)
    number = min(max(whole_number(asked) or 1, 1), last)
    return {
        "devices": [(one, state_of(one)) for one in found[(number - 1) * PAGE : number * PAGE]],
        "found": len(found),
        "known": len(known),
        "online": sum(one.online for one in known),
        "pending": sum(one.enrolment is Enrolment.PENDING for one in known),
        "states": sorted({state_of(one) for one in known}),
        "tasks": sorted({task for one in known for task in one.tasks}),
        "tags": sorted({tag for one in known for tag in one.tags}),
        "number": number,
        "last": last,
        "asked": {n: view.query.get(n, "") for n in ("state", "task", "tag", "text")},
    }


def _waiting(view: View) -> dict[str, Any]:
    known = registry.list_devices(view.session, view.now)
    return {"devices": [one for one in known if one.enrolment is Enrolment.PENDING]}


async def _approve(sent: Submission) -> Done:
    names, services = list(sent.fields.get("device", [])), sent.services

    def work(session: Any) -> None:
        for name in names:
            enrolment.decide(session, name, "approve", services.clock())

    await services.change(work)
    return Done("/devices", f"{len(names)} devices are approved.")


PAGES = (
    Page(
        path="/devices",
        template="devices/list_page.html",
        section="devices",
        title=lambda view: "Devices",
        panels=lambda view: (Panel("devices", "devices/list.html", devices),),
        concerns=any_event,
    ),
)
FORMS = (
    Form(
        path="/approve-devices",
        template="devices/approve_many.html",
        section="devices",
        title=lambda view: "Approve devices",
        show=_waiting,
        submit=_approve,
    ),
)
