"""Between the Server Manager and a node, signed with the node key."""

from __future__ import annotations

from fedops.core.contracts.base import Reply, Report


class NodeBell(Reply):
    """How often the node's bell has rung, in this life of the server."""

    epoch: str
    count: int


class NodeHello(Report):
    """A training client is up and has nothing in hand: messages it had pulled are lost."""

    node_id: str


class NodeUploaded(Report):
    """All objects of a reply are uploaded."""

    node_id: str
    flower_run_id: str
    message_id: str
    reply_to: str


class UploadSlot(Reply):
    """Whether the node may upload now. Bounds what the server must hold at a time."""

    granted: bool
