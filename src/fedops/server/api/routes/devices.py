"""Devices as operators see and decide them, and the door through which they come in."""

from __future__ import annotations

from fastapi import Request

from fedops.core.contracts import (
    Because,
    DeviceQuarantine,
    DeviceRead,
    DeviceRename,
    DeviceTags,
    DeviceTouched,
    JoinReply,
    JoinRequest,
    LogPage,
    TelemetryRead,
    TlsUpgrade,
    TlsUpgradeReply,
)
from fedops.server.api.http.authentication import (
    PERSON,
    After,
    Limit,
    Named,
    NameFilter,
    Server,
    Who,
)
from fedops.server.api.http.protocol_check import PROTOCOL_CHECKED
from fedops.server.api.http.routers import api_router
from fedops.server.devices import enrolment, registry, renaming, tagging
from fedops.server.devices.joining import tls_upgrade
from fedops.server.runs import device_quarantine
from fedops.server.services.services import Services
from fedops.server.telemetry import log_store, system_metrics

router = api_router("devices", PERSON)
joining = api_router("join", PROTOCOL_CHECKED)


@router.get("/devices")
def list_devices(server: Server, who: Who, task: NameFilter = None) -> list[DeviceRead]:
    """All devices, or those of a task, by name."""
    with server.db.read() as session:
        return registry.list_devices(session, server.clock(), task, who.tasks)


@router.get("/devices/{device}")
def get_device(device: Named, server: Server, who: Who) -> DeviceRead:
    """One device, by name or id."""
    with server.db.read() as session:
        return registry.read_device(session, device, server.clock(), who.tasks)


@router.get("/devices/{device}/logs")
def device_logs(
    device: Named, server: Server, who: Who, after: After = 0, limit: Limit = 200
) -> LogPage:
    """What a device's Client Manager and training client logged, oldest first."""
    with server.db.read() as session:
        return log_store.device_logs(session, device, within=who.tasks, after=after, limit=limit)


@router.get("/devices/{device}/telemetry")
def device_telemetry(
    device: Named, server: Server, who: Who, limit: Limit = 200
) -> list[TelemetryRead]:
    """The newest samples of what a device measured of itself, oldest first."""
    with server.db.read() as session:
        return system_metrics.latest_samples(session, device, limit, who.tasks)


@router.post("/devices/{device}/approve")
def approve_device(device: Named, server: Server) -> DeviceRead:
    """Let a device that waits take part."""
    return _decide(server, device, "approve")


@router.post("/devices/{device}/reject")
def reject_device(device: Named, server: Server) -> DeviceRead:
    """Turn a device that waits away, for good."""
    return _decide(server, device, "reject")


@router.post("/devices/{device}/revoke")
def revoke_device(device: Named, server: Server) -> DeviceRead:
    """Take an approved device out, for good."""
    return _decide(server, device, "revoke")


@router.post("/devices/{device}/remove")
def remove_device(device: Named, server: Server) -> DeviceRead:
    """Forget a device: its rounds keep it, its name is free, and it may join again as a new one."""
    with server.db.write() as session:
        id_ = registry.read_device(session, device, server.clock()).id
        enrolment.decide(session, id_, "remove", server.clock())
    return _device(server, id_)


@router.post("/devices/{device}/quarantine")
def quarantine_device(device: Named, body: DeviceQuarantine, server: Server) -> DeviceTouched:
    """Ask a device for nothing more, and quarantine the versions that its updates are in."""
    with server.db.write() as session:
        return device_quarantine.quarantine_device(session, device, body, server.clock())


@router.post("/devices/{device}/release")
def release_device(device: Named, body: Because, server: Server) -> DeviceTouched:
    """Let a quarantined device take part again. The versions stay as they are."""
    with server.db.write() as session:
        return device_quarantine.release_device(session, device, body.because, server.clock())


@router.get("/devices/{device}/touched")
def touched_by_device(device: Named, server: Server, who: Who) -> DeviceTouched:
    """The runs, rounds and versions that a device's updates are in."""
    with server.db.read() as session:
        return device_quarantine.read_touched(session, device, server.clock(), who.tasks)


@router.post("/devices/{device}/rename")
def rename_device(device: Named, body: DeviceRename, server: Server) -> DeviceRead:
    """Call a device by another name. Its rounds, logs and samples stay its own."""
    with server.db.write() as session:
        id_ = renaming.rename_device(session, device, body.name, server.clock())
    return _device(server, id_)


@router.put("/devices/{device}/tags")
def tag_device(device: Named, body: DeviceTags, server: Server) -> DeviceRead:
    """Give a device these tags, in place of those that it has."""
    with server.db.write() as session:
        tagging.tag_device(session, device, body.tags, server.clock())
    return _device(server, device)


def _decide(server: Services, device: str, decision: str) -> DeviceRead:
    with server.db.write() as session:
        enrolment.decide(session, device, decision, server.clock())
    return _device(server, device)


def _device(server: Services, device: str) -> DeviceRead:
    with server.db.read() as session:
        return registry.read_device(session, device, server.clock())


@joining.post("/tls-upgrade")
def upgrade_to_tls(body: TlsUpgrade, server: Server) -> TlsUpgradeReply:
    """How a device that joined over plain HTTP goes on with TLS. It does not send its token."""
    with server.db.read() as session:
        return tls_upgrade.upgrade_device(session, server.settings, body, server.clock())


@joining.post("/join", status_code=201)
def join(body: JoinRequest, request: Request, server: Server) -> JoinReply:
    """Enrol a device with a join token. The device's token is in this answer and nowhere else."""
    address = request.client.host if request.client else None
    with server.db.write() as session:
        return enrolment.join(session, body, server.settings, server.clock(), address)
