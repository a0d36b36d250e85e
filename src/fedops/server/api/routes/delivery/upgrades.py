"""The server's release of FedOps on devices: asked for, looked at, stopped."""

from __future__ import annotations

from fedops.core.contracts import DeviceUpgrade, UpgradeRead
from fedops.server.api.http.authentication import PERSON, Server
from fedops.server.api.http.routers import api_router
from fedops.server.delivery.upgrades import upgrade_views, upgrades

router = api_router("upgrades", PERSON)


@router.post("/devices/upgrade", status_code=201)
def start_upgrade(body: DeviceUpgrade, server: Server) -> UpgradeRead:
    """Have devices install the server's release of FedOps, a canary first, but for those that have it."""
    now = server.clock()
    with server.db.write() as session:
        upgrades.start_upgrade(session, body, now)
        return upgrade_views.read_upgrade(session, now)


@router.get("/devices/upgrade")
def get_upgrade(server: Server) -> UpgradeRead:
    """The newest upgrade: where it is, and of each device what it has, what is wanted, and why."""
    with server.db.read() as session:
        return upgrade_views.read_upgrade(session, server.clock())


@router.post("/devices/upgrade/stop")
def stop_upgrade(server: Server) -> UpgradeRead:
    """Ask no further device to install it. Devices that are at it go on."""
    now = server.clock()
    with server.db.write() as session:
        upgrades.stop_upgrade(session, now)
        return upgrade_views.read_upgrade(session, now)
