"""What a node tells the server beside the Fleet API, for the engine of the attempt it works for."""

from __future__ import annotations

from sqlalchemy.orm import Session

from fedops.core.errors import Conflict, Forbidden
from fedops.server import attempts
from fedops.server.devices import DeviceKey


def require_node(device: DeviceKey, node_id: str) -> str:
    """The device's node id, if it is the one it speaks for."""
    if device.node_id is None:
        raise Conflict(f"device '{device.name}' has no node id yet: the engine is being started")
    if device.node_id != node_id:
        raise Conflict(
            f"node id {node_id} is not (any more) that of device '{device.name}': "
            "its desired state names the present one"
        )
    return device.node_id


def attempt_of(session: Session, device: DeviceKey, flower_run_id: str) -> int:
    """The live attempt that is this Flower run, if the device works for it."""
    attempt_id = attempts.of_engine_run(session, flower_run_id)
    if attempt_id is None:
        raise Conflict(f"Flower run {flower_run_id} is over: nobody waits for its replies")
    if attempt_id not in attempts.of_device(session, device.device_id):
        raise Forbidden(
            f"device '{device.name}' was not asked to work for Flower run {flower_run_id}"
        )
    return attempt_id
