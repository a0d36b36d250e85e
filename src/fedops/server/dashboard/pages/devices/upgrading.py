"""The upgrade of devices to the server's release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedops import __version__
from fedops.core.contracts import DeviceUpgrade
from fedops.core.errors import NotFound
from fedops.core.reasons.durations import pluralised
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.upgrades import upgrade_views, upgrades
from fedops.server.devices import registry

#: So many of them are named on the form.
_NAMED = 20


def _show(view: View) -> Mapping[str, Any]:
    """How the newest upgrade is, and the devices that have another release."""
    try:
        newest = upgrade_views.read_upgrade(view.session, view.now)
    except NotFound:
        newest = None
    others = registry.other_releases(view.session, _NAMED + 1)
    return {
        "newest": newest,
        "others": others[:_NAMED],
        "more": len(others) > _NAMED,
        "asked": view.query.get("names", "")[:2_000],
        "release": __version__,
    }


async def _start(sent: Submission) -> Done:
    """All devices of another release; or those that are named, by ``tag:WORD`` too."""
    services, words = sent.services, sent.words("names")

    def work(session: Any) -> int:
        names = registry.names_meant(session, words) if words else []
        body = DeviceUpgrade(
            names=names,
            canary=sent.text("canary") or "1",
            further=sent.text("further") or "100%",
        )
        upgrades.start_upgrade(session, body, services.clock())
        return len(names)

    count = await services.change(work)
    whom = f" of {pluralised(count, 'device')}" if words else ""
    return Done("/devices", f"The upgrade{whom} has begun, with the first wave.")


async def _stop(sent: Submission) -> Done:
    services = sent.services
    await services.change(lambda s: upgrades.stop_upgrade(s, services.clock()))
    return Done("/devices", "The upgrade is stopped.")


FORMS = (
    Form(
        path="/devices/upgrade",
        template="devices/upgrade.html",
        section="devices",
        title=lambda view: "Upgrade devices",
        show=_show,
        submit=_start,
    ),
    Form(
        path="/devices/upgrade/stop",
        template="devices/upgrade_stop.html",
        section="devices",
        title=lambda view: "Stop the upgrade",
        submit=_stop,
    ),
)
