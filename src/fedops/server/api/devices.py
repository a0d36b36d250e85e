"""Devices as operators see and decide them, and the door through which they come in."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from fedops.core.contracts import DeviceRead, JoinReply, JoinRequest
from fedops.server import devices, enrolment
from fedops.server.api.access import ADMIN, ERRORS, Named, NameFilter, Server
from fedops.server.api.routing import StrictRoute

router = APIRouter(
    tags=["devices"], dependencies=[ADMIN], route_class=StrictRoute, responses=ERRORS
)
joining = APIRouter(tags=["join"], route_class=StrictRoute, responses=ERRORS)


@router.get("/devices")
def list_devices(server: Server, task: NameFilter = None) -> list[DeviceRead]:
    """All devices, or those of a task, by name."""
    with server.db.read() as session:
        return devices.listed(session, server.settings, server.clock(), task)


@router.get("/devices/{device}")
def get_device(device: Named, server: Server) -> DeviceRead:
    """One device, by name or id."""
    with server.db.read() as session:
        return devices.get(session, device, server.settings, server.clock())


@router.post("/devices/{device}/{decision}")
def decide_device(
    device: Named, decision: Literal["approve", "reject", "revoke"], server: Server
) -> DeviceRead:
    """Approve or reject a device that waits, or revoke an approved one for good."""
    with server.db.write() as session:
        enrolment.decide(session, device, decision, server.clock())
    return get_device(device, server)


@joining.post("/join", status_code=201)
def join(body: JoinRequest, server: Server) -> JoinReply:
    """Enrol a device with a join token. The device's token is in this answer and nowhere else."""
    with server.db.write() as session:
        return enrolment.join(session, body, server.settings, server.clock())
