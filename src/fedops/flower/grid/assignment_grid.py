"""Flower's ``Grid`` whose nodes are the devices of a run: messages are assignments, arrays are blobs.

What an app's own ServerApp gets here is what it gets on Flower, and this beside: results survive a restart
of device and server, a device that was cut off delivers when it is back, and stopping the run ends it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from flwr.app import DEFAULT_TTL, Error, Message, RecordDict

from fedops.core.contracts import (
    AttemptSpec,
    CancelRequest,
    Candidate,
    Delivery,
    Encoding,
    EngineProgress,
    OfferBatch,
)
from fedops.core.errors import Invalid
from fedops.core.states import AssignmentStatus
from fedops.engine.collecting import GONE_GRACE_SECONDS
from fedops.engine.link.blob_files import BlobFiles
from fedops.engine.link.deliveries import DeliveryStream
from fedops.engine.link.exit_reasons import heed
from fedops.engine.link.server_link import ServerLink
from fedops.flower.codec.compat import (
    APP_RAISED,
    NODE_UNAVAILABLE,
    NodeInfo,
    node_info,
)
from fedops.flower.codec.records import to_record_dict
from fedops.flower.grid.message_documents import MessageDocuments, Records
from fedops.flower.grid.run_grid import RunGrid
from fedops.flower.grid.sent_messages import Sent, SentMessages, batches
from fedops.storage.payloads import Payload, read_payload
from fedops.waiting import Timeout

logger = logging.getLogger("fedops.engine")

_LONGEST_WAIT, _LOOK_SECONDS = 8.0, 0.5
#: A file that the server has taken has a size that it allows.
_ANY_SIZE = 1 << 62


class AssignmentGrid(RunGrid):
    """The devices of one attempt. ``deadline_seconds``: how long a message counts when nothing else is said.
    ``along``: config records that go along with every message.

    Every method may raise ``StopRequested`` (the run is stopped or paused) and ``AttemptSuperseded``.
    """

    def __init__(
        self,
        link: ServerLink,
        spec: AttemptSpec,
        spool: Path,
        deadline_seconds: float,
        along: Records | None = None,
    ) -> None:
        super().__init__(spec.run_id)
        self._link = link
        self._spool = spool
        self._deadline = deadline_seconds
        self._files = BlobFiles(link, spool, spec.blobs_dir)
        self._documents = MessageDocuments(self._files, spool, along)
        self._stream = DeliveryStream(link)
        self._sent = SentMessages()
        self._replies: dict[str, Message | tuple[Sent, Delivery]] = {}
        self._nodes: dict[int, Candidate] = {}

    # --- who -------------------------------------------------------------------------------------

    def get_node_ids(self) -> list[int]:
        """The approved members of the task that are online and ready, the free ones first."""
        return [int(candidate.node_id) for candidate in self._ready()]

    def get_nodes(self) -> list[NodeInfo]:
        return [node_info(int(c.node_id), c.device) for c in self._ready()]

    def _ready(self) -> list[Candidate]:
        reply = self._link.ask(lambda api: api.candidates())
        heed(reply.command)
        self._nodes = {int(candidate.node_id): candidate for candidate in reply.candidates}
        ready = [c for c in reply.candidates if c.unavailable is None]
        return sorted(ready, key=lambda c: (c.busy_with is not None, c.device))

    def require_going_on(self) -> None:
        """``StopRequested`` when the run is not to go on, though the app has not let that through."""
        self._ready()

    # --- sending ---------------------------------------------------------------------------------

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages. Each counts until its deadline: its own ``ttl``, else the task's."""
        return self._push(messages, None)

    def _push(self, messages: Iterable[Message], timeout: float | None) -> list[str]:
        given, now = list(messages), time.monotonic()
        if any(m.metadata.dst_node_id not in self._nodes for m in given):
            self._ready()
        asked = [self.as_sent(message, RecordDict()) for message in given]
        try:  # all or none: of a message that cannot be sent, the ids of the others are lost
            sent = [self._made(*pair, timeout, now) for pair in zip(given, asked, strict=True)]
        finally:
            self._documents.forget()
        self._sent.add([one for one in sent if one is not None])
        self._offer()
        return [one.metadata.message_id for one in asked]

    def _made(
        self, message: Message, asked: Message, timeout: float | None, now: float
    ) -> Sent | None:
        """None: there is no such device, which is answered at once."""
        id_, node = asked.metadata.message_id, message.metadata.dst_node_id
        if node not in self._nodes:
            why = f"the task has no device with the node id {node}"
            self._replies[id_] = Message(Error(NODE_UNAVAILABLE, why), reply_to=asked)
            return None
        if timeout is None:
            ttl = message.metadata.ttl
            timeout = self._deadline if ttl == DEFAULT_TTL else ttl
        return Sent(
            id=id_,
            device=self._nodes[node].device,
            kind=message.metadata.message_type,
            group_id=_group_of(message),
            until=now + timeout,
            document=self._documents.document(message.content),
            asked=asked,
        )

    def _offer(self) -> None:
        for batch, messages in batches(self._sent.due()):
            self._offer_batch(batch, messages)

    def _offer_batch(self, batch: OfferBatch, messages: list[Sent]) -> None:
        made = self._link.ask(lambda api: api.offer(batch)).assignments
        for sent in messages:
            sent.assignment = made.get(sent.device, "")
            if sent.assignment:
                self._sent.open[sent.assignment] = sent
            else:
                self._fail(sent, NODE_UNAVAILABLE, "it cannot be asked any more")

    # --- receiving -------------------------------------------------------------------------------

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies that are there, errors included. Each is given once."""
        self._collect(0.0)
        return [self._reply(id_) for id_ in message_ids if id_ in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and wait for their replies: until ``timeout`` seconds, else the task's deadline.

        A device that is late, or goes and stays away, is answered for by an error.
        """
        ids = self._push(messages, timeout)
        seconds = self._deadline if timeout is None else timeout
        limit = Timeout(seconds)
        while self._sent.is_any_left(ids) and not limit.is_over:
            self._say(ids)
            longest = _LOOK_SECONDS if self._sent.are_gone(ids) else _LONGEST_WAIT
            self._collect(min(longest, limit.seconds_left))
            self._give_up_gone(ids)
        late = f"no reply within {seconds:.0f} s"
        for sent in self._sent.drop(ids):
            self._fail(sent, NODE_UNAVAILABLE, late)
        self._give_up(self._sent.of(ids), late)
        replies = [self._reply(id_) for id_ in ids if id_ in self._replies]
        if self._stream.has_verdicts:
            self._collect(0.0)
        return replies

    def _collect(self, wait: float) -> None:
        collected = self._stream.next(wait)
        for presence in collected.presence:
            self._sent.note_presence(presence.device, presence.gone)
        for delivery in collected.deliveries:
            sent = self._sent.settle(delivery.id) or self._taken_back(delivery)
            if sent is not None:
                self._settle(sent, delivery)
        self._offer()

    def _taken_back(self, delivery: Delivery) -> Sent | None:
        """The message whose reply is here and not to be used any more, as when its device was revoked."""
        if delivery.status is not AssignmentStatus.REJECTED:
            return None
        here = (found[0] for found in self._replies.values() if isinstance(found, tuple))
        return next((sent for sent in here if sent.assignment == delivery.id), None)

    def _settle(self, sent: Sent, delivery: Delivery) -> None:
        if delivery.status in (AssignmentStatus.UPLOADED, AssignmentStatus.CHECKED):
            self._replies[sent.id] = (sent, delivery)
        elif delivery.status in (AssignmentStatus.FAILED, AssignmentStatus.REFUSED):
            self._fail(sent, delivery.code or APP_RAISED, delivery.reason)
        else:
            self._fail(sent, NODE_UNAVAILABLE, delivery.reason or "no reply before its deadline")

    def _fail(self, sent: Sent, code: int, why: str) -> None:
        logger.warning("device '%s': %s", sent.device, why)
        self._replies[sent.id] = Message(Error(code, why), reply_to=sent.asked)

    def _give_up_gone(self, ids: Iterable[str]) -> None:
        """Only devices are missing that went and have not come back for a while."""
        left, now = self._sent.of(ids), time.monotonic()
        if all(sent.gone and now > sent.gone[0] + GONE_GRACE_SECONDS for sent in left):
            for sent in left:
                self._give_up([sent], sent.gone[1] if sent.gone else "")

    def _give_up(self, given_up: list[Sent], why: str) -> None:
        if not given_up:
            return
        body = CancelRequest(ids=[sent.assignment for sent in given_up], reason=why)
        self._link.ask(lambda api: api.cancel(body))
        for sent in given_up:
            self._sent.settle(sent.assignment)
            self._fail(sent, NODE_UNAVAILABLE, why)

    def _reply(self, id_: str) -> Message:
        found = self._replies.pop(id_)
        if isinstance(found, Message):
            return found
        sent, delivery = found
        path = self._spool / f"result-{id_}.safetensors"
        try:
            content = to_record_dict(self._payload(delivery, path))
        except Invalid as error:
            self._stream.reject(delivery.id, error.message)
            why = f"the result of device '{sent.device}' cannot be read: {error.message}"
            return Message(Error(APP_RAISED, why), reply_to=sent.asked)
        finally:
            path.unlink(missing_ok=True)
        self._stream.accept(delivery.id)
        return Message(content, reply_to=sent.asked)

    def _payload(self, delivery: Delivery, path: Path) -> Payload:
        if delivery.encoding != Encoding.NONE:
            raise Invalid(f"its encoding is '{delivery.encoding}', and 'none' was asked for")
        return read_payload(self._files.update(delivery, path, _ANY_SIZE))

    # --- saying what it does ---------------------------------------------------------------------

    def _say(self, ids: list[str]) -> None:
        open_ = {sent.device for sent in self._sent.of(ids)}
        done = sum(id_ in self._replies for id_ in ids)
        group = next((sent.group_id for sent in self._sent.of(ids)), "")
        self._link.tell(
            EngineProgress(
                phase="training",
                round=int(group) if group.isdecimal() and len(group) < 9 else 0,
                detail=f"{done} of {len(ids)} messages are answered",
                selected=sorted(open_),
            )
        )


def _group_of(message: Message) -> str:
    """What is shown as the round: the message's group, else what Flower's strategies write into a config."""
    if message.metadata.group_id:
        return str(message.metadata.group_id)[:200]
    for record in message.content.config_records.values():
        if isinstance(number := record.get("server-round"), int):
            return str(number)
    return ""
