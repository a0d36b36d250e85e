"""Devices: who needs somebody first, then the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedops.core.contracts import DeviceRead
from fedops.core.states import ENROLMENT_OUT, Enrolment
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.devices import enrolment, membership, registry
from fedops.server.devices.registry import LOST, REFUSED, DeviceGlance

PAGE = 50
#: By how much each needs somebody, the most first.
STATES = (LOST, "fatal", REFUSED, "pending", "quarantined", "backoff")


def _order(device: DeviceGlance) -> tuple[int, bool, str]:
    place = STATES.index(device.state) if device.state in STATES else len(STATES)
    return place, device.enrolment in ENROLMENT_OUT, device.name


def _matching(view: View, known: Sequence[DeviceGlance]) -> Sequence[DeviceGlance]:
    """Those with the state, the task and the tag that are asked for."""
    state, task, tag = (view.query.get(name, "") for name in ("state", "task", "tag"))
    if state:
        known = [
            one for one in known if state in (one.state, registry.ONLINE if one.online else "")
        ]
    if task:
        seen = () if view.tasks is not None and task not in view.tasks else (task,)
        members = membership.members(view.session, seen)
        known = [one for one in known if one.id in members]
    return [one for one in known if tag in one.tags] if tag else known


def _read(view: View, found: Sequence[DeviceGlance]) -> list[tuple[DeviceRead, str]]:
    """These devices in this order, with their states."""
    ids = [one.id for one in found]
    read = registry.these_devices(view.session, ids, view.now, view.tasks)
    return [(read[one.id], one.state) for one in found]


def _saying(view: View, found: Sequence[DeviceGlance], text: str) -> list[DeviceGlance]:
    """Those with this text in their names, or in why they are as they are: for that, all are read."""
    said = {one.id: f"{one.name} {one.info.hostname} {one.why}" for one, _ in _read(view, found)}
    return [one for one in found if text in said[one.id].lower()]


def devices(view: View) -> dict[str, Any]:
    """A page of those that the filters leave."""
    known = registry.glance_at_devices(view.session, view.now, view.tasks)
    found = sorted(_matching(view, known), key=_order)
    if text := view.query.get("text", "").lower():
        found = _saying(view, found, text)
    asked = view.query.get("page", "1")
    last = max((len(found) - 1) // PAGE + 1, 1)
    number = min(max(whole_number(asked) or 1, 1), last)
    shown = found[(number - 1) * PAGE : number * PAGE]
    return {
        "devices": _read(view, shown),
        "found": len(found),
        "known": len(known),
        "online": sum(one.online for one in known),
        "pending": sum(one.enrolment is Enrolment.PENDING for one in known),
        "states": sorted({one.state for one in known}),
        "tasks": membership.tasks_with_devices(view.session, view.tasks),
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
        panels=lambda view: (
            Panel("devices", "devices/list.html", devices, on=("device.", "task.")),
        ),
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
