"""A device: whether one can rely on it, and what one can do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedops.core.contracts import DeviceRead
from fedops.server.dashboard.live.page import Page, Panel
from fedops.server.dashboard.pages.devices.devices_list import state_of
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.devices import enrolment, registry
from fedops.server.events.news import EventNews
from fedops.server.telemetry import system_metrics

_SAMPLES = 60


def device_of(view: View) -> DeviceRead:
    """The device that the page is about."""
    name = view.path["device"]
    return view.once(
        "device", lambda: registry.read_device(view.session, name, view.now, view.tasks)
    )


def head(view: View) -> dict[str, Any]:
    """What it does and why, what it is, and its buttons."""
    device = device_of(view)
    return {"device": device, "state": state_of(device)}


def telemetry(view: View) -> dict[str, Any]:
    """What it measured of itself lately: of each name the series and its last value."""
    name = device_of(view).name
    samples = system_metrics.latest_samples(view.session, name, _SAMPLES, view.tasks)
    names = sorted({key for sample in samples for key in sample.values})
    series = {key: [_number(sample.values.get(key)) for sample in samples] for key in names}
    return {"series": {key: values for key, values in series.items() if any(values)}}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _of_device(view: View) -> Callable[[EventNews], bool]:
    subject = f"device {device_of(view).name}"
    return lambda event: event.subject == subject


def _decision(what: str, done: str) -> Callable[[Submission], Any]:
    async def decide(sent: Submission) -> Done:
        name, services = sent.path["device"], sent.services
        await services.change(lambda s: enrolment.decide(s, name, what, services.clock()))
        return Done(f"/devices/{name}", f"{name} is {done}.")

    return decide


def _form(what: str, done: str) -> Form:
    return Form(
        path=f"/devices/{{device}}/{what}",
        template=f"devices/{what}.html",
        section="devices",
        title=lambda view: f"{what.capitalize()} {view.path['device']}",
        show=head,
        submit=_decision(what, done),
    )


PAGES = (
    Page(
        path="/devices/{device}",
        template="devices/page.html",
        section="devices",
        title=lambda view: device_of(view).name,
        panels=lambda view: (
            Panel("head", "devices/head.html", head),
            Panel("telemetry", "devices/telemetry.html", telemetry),
        ),
        concerns=_of_device,
    ),
)
FORMS = (
    _form("approve", "approved"),
    _form("reject", "turned away"),
    _form("revoke", "revoked"),
)
