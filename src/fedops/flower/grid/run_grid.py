"""What Flower's ``Grid`` is in a process that knows its run: messages of that run, from the server."""

from __future__ import annotations

import uuid

from flwr.app import DEFAULT_TTL, Message, RecordDict
from flwr.serverapp import Grid

from fedops.flower.codec.compat import SERVER_NODE, Run, make_message, run_info


class RunGrid(Grid):
    """The grid of one run. How messages get to nodes, and replies back, is left to who extends it."""

    def __init__(self, run_id: int) -> None:
        self._run_id = run_id
        self._run = run_info(run_id)

    @property
    def run(self) -> Run:
        return self._run

    def set_run(self, run: Run) -> None:
        """Flower's programs say here what run it is; the grid knows."""

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return make_message(
            content,
            run_id=self._run_id,
            message_id="",
            src=SERVER_NODE,
            dst=dst_node_id,
            group_id=group_id,
            kind=message_type,
            ttl=DEFAULT_TTL if ttl is None else ttl,
        )

    def as_sent(self, message: Message, content: RecordDict) -> Message:
        """The message with this content and a new id of its own: what its reply answers."""
        metadata = message.metadata
        return make_message(
            content,
            run_id=self._run_id,
            message_id=uuid.uuid4().hex,
            src=SERVER_NODE,
            dst=metadata.dst_node_id,
            group_id=metadata.group_id,
            kind=metadata.message_type,
            ttl=metadata.ttl,
        )
