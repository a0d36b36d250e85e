"""A Flower grid whose nodes answer in threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from flwr.app import Error, Message, RecordDict

from fedops.core.contracts.training import ARRAYS, CONFIG, TrainingOrder
from fedops.flower.codec.messages import PACKED, in_pieces, packed_pieces, packed_record
from fedops.flower.codec.records import to_record_dict
from fedops.flower.grid.run_grid import RunGrid
from fedops.storage.payloads import Payload
from fedops.storage.tensors import Tensors, pack, unpack


@dataclass(frozen=True)
class Asked:
    """What a client is asked, and who it is."""

    device: str
    kind: str
    order: TrainingOrder
    tensors: Tensors


class NodesInProcess(RunGrid):
    """A Flower grid whose nodes answer in threads of this process."""

    def __init__(
        self, clients: dict[int, tuple[str, Callable[[Asked], Payload | RecordDict]]]
    ) -> None:
        super().__init__(run_id=1)
        self._clients = clients
        self._replies: dict[str, Message] = {}

    def send_and_receive(self, *args: Any, **kwargs: Any) -> Iterable[Message]:
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        return list(self._clients)

    def get_nodes(self) -> list[Any]:
        found = [
            SimpleNamespace(node_id=id_, registered_at=f"2026-01-0{id_}") for id_ in self._clients
        ]
        return found[::-1]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        return [self._push(message) for message in messages]

    def _push(self, message: Message) -> str:
        sent = self.as_sent(message, message.content)
        threading.Thread(target=self._serve, args=(sent,), daemon=True).start()
        return str(sent.metadata.message_id)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._replies.pop(id_) for id_ in list(message_ids) if id_ in self._replies]

    def _serve(self, sent: Message) -> None:
        name, answer = self._clients[sent.metadata.dst_node_id]
        content = sent.content
        order = TrainingOrder.from_values(dict(content.config_records[CONFIG]))
        tensors = unpack(b"".join(packed_pieces(content)))
        try:
            made = answer(Asked(name, sent.metadata.message_type, order, tensors))
        except Exception as error:
            reply = Message(Error(1, f"{type(error).__name__}: {error}"), reply_to=sent)
        else:
            content = packed(made) if isinstance(made, Payload) else made
            reply = Message(content, reply_to=sent)
        self._replies[sent.metadata.message_id] = reply


def packed(payload: Payload) -> RecordDict:
    """A payload as a client on a Flower node sends it."""
    content = to_record_dict(Payload(metrics=payload.metrics, configs=payload.configs))
    if payload.arrays:
        content[PACKED] = packed_record(in_pieces(pack(dict(payload.arrays[ARRAYS]))))
    return content
