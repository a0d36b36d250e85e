"""The upgrade of devices to the server's release."""

from __future__ import annotations

from fedops.core.contracts import DeviceUpgrade
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.delivery.upgrades import upgrades


async def _start(sent: Submission) -> Done:
    services = sent.services
    await services.change(lambda s: upgrades.start_upgrade(s, DeviceUpgrade(), services.clock()))
    return Done("/devices", "The upgrade has begun, with one device first.")


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
