"""What a training client calls beside the Fleet API. Every request is signed with the node key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool

from fedops.api_client import LONG_POLL_SECONDS
from fedops.core.contracts import NodeBell, NodeHello, NodeUploaded, UploadSlot
from fedops.server import attempts, node_calls
from fedops.server.api.access import ERRORS, After, Server, Wait
from fedops.server.api.routing import StrictRoute
from fedops.server.devices import DeviceKey

router = APIRouter(prefix="/node", route_class=StrictRoute, tags=["node"], responses=ERRORS)


async def _signer(request: Request, server: Server) -> DeviceKey:
    return await server.node_auth.verify_async(request.headers)


Signer = Annotated[DeviceKey, Depends(_signer)]
FlowerRunId = Annotated[str, Query(pattern=r"^[0-9]{1,20}$")]


@router.get("/bell")
async def bell(
    server: Server,
    device: Signer,
    epoch: Annotated[str, Query(max_length=64)] = "",
    after: After = 0,
    wait: Wait = LONG_POLL_SECONDS,
) -> NodeBell:
    """How often there was a message. Held until there is news, or ``wait`` seconds have passed."""
    # Without a node id nothing can ring; the device hears of its new one through the desired state.
    node_id = device.node_id or f"none of {device.device_id}"
    return await server.doorbell.wait_bell(node_id, epoch, after, wait)


@router.post("/hello")
def hello(server: Server, device: Signer, body: NodeHello) -> NodeBell:
    """The training client starts with nothing in hand: what it had pulled must be sent again."""
    node_id = node_calls.require_node(device, body.node_id)
    with server.db.read() as session:
        waiting = attempts.of_device(session, device.device_id)
    server.doorbell.release_node(node_id)
    for attempt_id in waiting:
        server.doorbell.signal(attempt_id, "hello", device=device.name)
    return server.doorbell.bell(node_id)


@router.get("/upload-slot")
async def upload_slot(
    server: Server, device: Signer, flower_run_id: FlowerRunId, wait: Wait = 10.0
) -> UploadSlot:
    """Leave to upload a reply, as soon as few enough others do. Ask again when it is not granted."""

    def attempt() -> int:
        with server.db.read() as session:
            return node_calls.attempt_of(session, device, flower_run_id)

    node_id = node_calls.require_node(device, device.node_id or "")
    attempt_id = await run_in_threadpool(attempt)
    return UploadSlot(granted=await server.doorbell.acquire_slot(attempt_id, node_id, wait))


@router.post("/uploaded", status_code=204)
def uploaded(server: Server, device: Signer, body: NodeUploaded) -> None:
    """All objects of a reply are with the SuperLink: the engine may take it."""
    node_id = node_calls.require_node(device, body.node_id)
    with server.db.read() as session:
        attempt_id = node_calls.attempt_of(session, device, body.flower_run_id)
    server.doorbell.signal(
        attempt_id,
        "uploaded",
        device=device.name,
        message_id=body.message_id,
        reply_to=body.reply_to,
        node_id=node_id,
    )
