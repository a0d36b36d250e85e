"""A device: whether one can rely on it, and what one can do about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import ValidationError

from fedops.core.contracts import Because, DeviceQuarantine, DeviceRename, DeviceTags
from fedops.core.errors import Invalid
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.pages.devices import doing, measured
from fedops.server.dashboard.pages.devices.device_view import device_of
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.devices import enrolment, presence_history, registry, renaming, tagging
from fedops.server.events import event_log
from fedops.server.runs import device_quarantine
from fedops.server.telemetry import device_rounds, log_store

_DAY = 86_400.0
_DAYS = presence_history.SHOWN_DAYS
_LONGEST = 200


def head(view: View) -> dict[str, Any]:
    """What it is, why it is so, and its buttons."""
    device = device_of(view)
    return {"device": device, "state": registry.state_of(device)}


def presence(view: View) -> dict[str, Any]:
    """When it was online in the last 30 days, or since it joined, in thousandths of the strip."""
    device = device_of(view)
    begin = max(device.created_at, view.now - _DAYS * _DAY)
    spans = presence_history.presence_of(view.session, device.id, begin, view.now)
    length = max(view.now - begin, 1.0)
    bars = [(1000 * (a - begin) / length, max(1000 * (b - a) / length, 1.0)) for a, b in spans]
    share = min(sum(b - a for a, b in spans) / length, 1.0)
    return {"bars": bars, "share": share, "begin": begin, "young": begin == device.created_at}


def rounds(view: View) -> dict[str, Any]:
    """What it did in its newest rounds."""
    return {"rounds": device_rounds.newest_rounds(view.session, device_of(view).id, 50, view.tasks)}


def logs(view: View) -> dict[str, Any]:
    """Its newest lines, of the level and with the text that the address names."""
    query, device = view.query, device_of(view)
    sought = log_store.Sought(
        text=query.get("text", "").strip()[:_LONGEST], level=query.get("level", "")
    )
    found = log_store.newest_device_logs(view.session, device.id, 100, view.tasks, sought)
    return {
        "device": device,
        "logs": found,
        "levels": log_store.LEVELS,
        "filtered": not sought.everything,
        "looked_through": log_store.LOOKED_THROUGH,
    }


def events(view: View) -> dict[str, Any]:
    """What happened to it. Who is limited to tasks is told of their runs alone."""
    subject = f"device {device_of(view).name}"
    limited = view.tasks is not None
    return {"events": [] if limited else event_log.newest_about(view.session, subject, 50)}


def _panels(view: View) -> tuple[Panel, ...]:
    return (
        Panel("head", "devices/head.html", head),
        Panel("doing", "devices/doing.html", doing.doing),
        Panel("presence", "devices/presence.html", presence),
        Panel("rounds", "devices/rounds.html", rounds),
        Panel("telemetry", "devices/telemetry.html", measured.measured),
        Panel("logs", "devices/logs.html", logs),
        Panel("events", "devices/events.html", events),
    )


PAGES = (
    Page(
        path="/devices/{device}",
        template="devices/device_page.html",
        section="devices",
        title=lambda view: f"Device {device_of(view).name}",
        panels=_panels,
        concerns=any_event,
    ),
)

#: What takes something away that does not come back; how the buttons are called, and what is told then.
_LOSES = frozenset({"reject", "revoke", "remove", "quarantine"})
_WORDS = {"tags": "Tag"}
_DONE = {
    "approve": "is approved",
    "reject": "is rejected",
    "revoke": "is revoked",
    "remove": "is removed",
    "rename": "has its new name",
    "tags": "has its new tags",
    "quarantine": "is in quarantine",
    "release": "takes part again",
}
_Change = Callable[[Any, str, Submission, float], object]


def _because(sent: Submission) -> str:
    try:
        return Because(because=sent.text("because")).because
    except ValidationError:
        raise Invalid("say why, in at most 1,000 characters") from None


def _decision(name: str) -> _Change:
    return lambda session, device, sent, now: enrolment.decide(session, device, name, now)


def _rename(session: Any, device: str, sent: Submission, now: float) -> None:
    try:
        name = DeviceRename(name=sent.text("name")).name
    except ValidationError:
        raise Invalid("a name has letters, digits, '.', '_' and '-', at most 63") from None
    renaming.rename_device(session, device, name, now)


def _tag(session: Any, device: str, sent: Submission, now: float) -> None:
    try:
        tags = DeviceTags(tags=sent.words("tags")).tags
    except ValidationError:
        raise Invalid("tags are words of a-z, 0-9, '.', '_' and '-', at most 20 of them") from None
    tagging.tag_device(session, device, tags, now)


def _quarantine(session: Any, device: str, sent: Submission, now: float) -> None:
    keep = bool(sent.text("keep_versions"))
    body = DeviceQuarantine(because=_because(sent), keep_versions=keep)
    device_quarantine.quarantine_device(session, device, body, now)


def _release(session: Any, device: str, sent: Submission, now: float) -> None:
    device_quarantine.release_device(session, device, _because(sent), now)


def _submit(change: _Change, verb: str) -> Callable[[Submission], Awaitable[Done]]:
    async def submit(sent: Submission) -> Done:
        device, services = sent.path["device"], sent.services

        def work(session: Any) -> str:
            id_ = registry.read_device(session, device, services.clock()).id
            change(session, id_, sent, services.clock())
            return registry.read_device(session, id_, services.clock()).name

        name = await services.change(work)
        where = "/devices" if verb == "remove" else f"/devices/{name}"
        return Done(where, f"Device {name} {_DONE[verb]}.")

    return submit


def _form(verb: str, change: _Change, lost: str, asks: str = "") -> Form:
    def show(view: View) -> Mapping[str, Any]:
        return {"device": device_of(view), "lost": lost, "asks": asks, "danger": verb in _LOSES}

    return Form(
        path=f"/devices/{{device}}/{verb}",
        template="devices/act.html",
        section="devices",
        title=lambda view: f"{_WORDS.get(verb, verb.capitalize())} device {device_of(view).name}",
        show=show,
        submit=_submit(change, verb),
    )


FORMS = (
    _form("approve", _decision("approve"), "It may take part in its tasks from now on."),
    _form("reject", _decision("reject"), "It is turned away for good: this key cannot join again."),
    _form(
        "revoke",
        _decision("revoke"),
        "It is shut out for good and its work in hand is lost. Its committed rounds stay.",
    ),
    _form(
        "remove",
        _decision("remove"),
        "It is forgotten: its token is void and its name is free. Its committed rounds stay.",
    ),
    _form("rename", _rename, "Its rounds, logs and samples stay its own.", "name"),
    _form("tags", _tag, "These are all tags that it has from now on.", "tags"),
    _form(
        "quarantine",
        _quarantine,
        "It is asked for nothing more, and its work in hand is lost.",
        "quarantine",
    ),
    _form("release", _release, "It takes part again. The versions stay as they are.", "because"),
)
