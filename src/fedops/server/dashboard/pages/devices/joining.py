"""Join: a token and the lines to paste, and the device as it comes in and becomes ready."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from fedops.core.contracts import DeviceRead, TokenCreate
from fedops.core.delivery.install_lines import install_lines
from fedops.core.errors import Invalid
from fedops.core.states import ENROLMENT_IN
from fedops.server.access import tokens
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.forms import Form, Shown, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.devices import registry
from fedops.server.tasks import tasks
from fedops.server.tls.endpoint import join_url

#: So many devices are shown of a token that lets in many.
_SHOWN = 20
_VALID = {"15 minutes": 900.0, "1 hour": 3_600.0, "1 day": 86_400.0, "7 days": 604_800.0}


def _asks(view: View) -> dict[str, Any]:
    return {"tasks": tasks.list_tasks(view.session), "valid": list(_VALID)}


async def _make(sent: Submission) -> Shown:
    services, task = sent.services, sent.text("task") or None
    try:
        body = TokenCreate(
            expires_in_seconds=_VALID.get(sent.text("valid"), 900.0),
            uses=sent.whole("uses", 1, 1_000_000),
            note=sent.text("note"),
            task=task,
        )
    except ValidationError:
        raise Invalid(
            "the note has at most 200 characters, and the task is one of the list"
        ) from None

    def work(session: Any) -> Any:
        if task is not None:
            tasks.read_task(session, task)
        return tokens.create_join_token(session, body, services.clock())

    made = await services.change(work)
    where = join_url(services.settings) or services.settings.url
    lines = [
        *install_lines(where),
        f"FEDOPS_JOIN_TOKEN={made.token} fedops/bin/fedops join {where}",
    ]
    return Shown(
        "devices/join_lines.html", {"token": made, "lines": lines, "title": "Join a device"}
    )


def _steps(device: DeviceRead) -> list[tuple[str, bool]]:
    """What comes one after the other until a device is ready."""
    let_in = device.enrolment in ENROLMENT_IN
    ready = device.process.status.value in ("idle", "training", "evaluating")
    tried = any(one.status == "ready" for one in device.process.readiness)
    return [
        ("joined", True),
        ("approved", let_in),
        ("online", device.online),
        ("in the task", bool(device.tasks)),
        ("tried model and data", tried or (ready and bool(device.tasks))),
        ("ready", let_in and device.online and ready and bool(device.tasks)),
    ]


def arrived(view: View) -> dict[str, Any]:
    """Who joined with the token, and how far each is."""
    token_id = int(view.path["token_id"])
    token = tokens.read_token(view.session, token_id)
    found = registry.arrived_with(view.session, token_id, _SHOWN, view.now)
    return {"token": token, "devices": [(one, _steps(one)) for one in found]}


PAGES = (
    Page(
        path="/join/{token_id}",
        template="devices/join_page.html",
        section="devices",
        title=lambda view: f"Join token {view.path['token_id']}",
        panels=lambda view: (Panel("arrived", "devices/arrived.html", arrived),),
        concerns=any_event,
    ),
)
FORMS = (
    Form(
        path="/join",
        template="devices/join.html",
        section="devices",
        title=lambda view: "Join a device",
        show=_asks,
        submit=_make,
    ),
)
