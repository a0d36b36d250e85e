"""An in-memory server whose clients are Flower's, for an app's own ServerApp."""

from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from in_memory_federation import InMemoryServer

from fedops.core.states import AssignmentStatus
from fedops.flower.codec.compat import APP_RAISED, make_message
from fedops.flower.codec.records import from_record_dict, to_record_dict
from fedops.storage.payloads import assemble, blobs_of, check_document, pack_payload
from fedops.storage.tensors import load
from fedops.testing.in_memory_work import Assignment

Client = Callable[[Message], Message | None]


class FlowerServer(InMemoryServer):
    """An in-memory server whose clients are Flower's ClientApps."""

    clients: dict[str, Client]

    def join(self, device: str, client: Client) -> None:
        self.add(device, lambda work: None)
        self.clients[device] = client

    def _serve(self, one: Assignment) -> None:
        with self._turn[one.device]:
            document = check_document(one.document)
            files = {ref.sha256: load(self.blob(ref.sha256)) for ref in blobs_of(document).values()}
            asked = make_message(
                to_record_dict(assemble(document, {}, files)),
                run_id=5,
                message_id=one.id,
                src=1,
                dst=self.node_ids[one.device],
                group_id="",
                kind=one.kind,
                ttl=60.0,
            )
            try:
                reply = self.clients[one.device](asked)
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                self._settle(one, AssignmentStatus.FAILED, reason=text, code=APP_RAISED)
                return
            if reply is not None:
                self.deliver(one, pack_payload(from_record_dict(reply.content)))


def echo(message: Message) -> Message:
    return Message(message.content, reply_to=message)


def arrays(seed: int = 1) -> ArrayRecord:
    return ArrayRecord({"w": Array(np.random.default_rng(seed).normal(size=(2, 3)))})


def to(node: int, content: RecordDict | None = None, kind: str = "train", **more: Any) -> Message:
    return Message(content or RecordDict(), node, kind, **more)


def failed(message: Message) -> Message:
    raise ValueError("no such column")
