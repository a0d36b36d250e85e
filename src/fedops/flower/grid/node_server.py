"""Flower's nodes behind the port of the round engine: offers are messages, replies are deliveries.

The second implementation of ``EngineApi``, beside the Server Manager's over HTTP: with it the round engine
plays a simulation. Nothing outlives the process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from flwr.app import ArrayRecord, Message
from flwr.serverapp import Grid

from fedops.core import contracts as c
from fedops.core.contracts.training import (
    ARRAYS,
    CONFIG,
    HEADER,
    TrainingOrder,
    message_type_of,
)
from fedops.core.errors import Invalid
from fedops.core.states import AssignmentStatus
from fedops.flower.codec.messages import (
    PACKED,
    encode_order,
    packed_pieces,
    packed_record,
    pieces_of_file,
)
from fedops.flower.codec.records import from_record_dict
from fedops.flower.grid.node_work import NodeWork, NodeWorkBook
from fedops.results.device_history import DeviceHistories
from fedops.storage.blobs import keep
from fedops.storage.folder_blobs import FolderBlobs
from fedops.storage.payloads import Payload, blobs_of, values_of, write_payload
from fedops.storage.tensors import unpack

logger = logging.getLogger("fedops.simulation")

#: How long a message may wait for its node at least. Seconds.
TTL_SECONDS = 3_600.0
#: Between two looks at what the nodes have answered: a grid can only be asked. Seconds.
_LOOK_SECONDS = 0.1


class NodeServer:
    """What the round engine asks of a Server Manager, answered with the nodes of a Flower grid."""

    def __init__(self, grid: Grid, spec: c.AttemptSpec) -> None:
        self._grid = grid
        self._spec = spec
        self._spool = Path(spec.spool_dir)
        self._store = FolderBlobs(Path(spec.blobs_dir or self._spool / "blobs"))
        self._book = NodeWorkBook()
        #: Evaluations are offered beside the rounds.
        self._lock = threading.RLock()
        #: Node -> what the engine calls it.
        self._names: dict[int, str] = {}
        self._said = ""
        self._histories = DeviceHistories()
        self.initial: c.ModelInit | None = None
        self.commits: list[c.RoundCommit] = []
        self.finished: c.EngineFinish | None = None

    # --- the attempt -----------------------------------------------------------------------------

    def hello(self, body: c.EngineHello) -> c.AttemptSpec:
        return self._spec

    def initial_model(self, body: c.ModelInit) -> None:
        """Kept for whoever wants to compare."""
        self.initial = body

    def logs(self, body: c.EngineLogs) -> None:
        """Flower keeps what is printed."""

    def progress(self, body: c.EngineProgress) -> None:
        """Say why it waits."""
        if body.phase == "waiting":
            self._say(body.round, body.detail)

    def commit(self, body: c.RoundCommit) -> c.CommitReply:
        self.commits.append(body)
        self._histories.note(body)
        clients = sum(one.examples is not None for one in body.participations)
        metrics = shown(body.metrics or body.client_metrics)
        self._say(body.round, f"{clients} clients, {metrics}, {body.seconds:.1f} s")
        return c.CommitReply(command="continue")

    def scores(self, body: c.RoundScores) -> None:
        """Say who contributed what."""
        for one in sorted(body.standings, key=lambda one: -one.value):
            found = "".join(f", {finding.kind}: {finding.evidence}" for finding in one.findings)
            value = f"{one.value:+.4f} ± {one.value_error:.4f}"
            self._say(body.round, f"contribution of {one.device}: {value}{found}")

    def finish(self, body: c.EngineFinish) -> None:
        self.finished = body

    def _say(self, round_: int, text: str) -> None:
        line = f"round {round_} of {self._spec.rounds}: {text}"
        if line != self._said:
            logger.info("%s", line)
        self._said = line

    # --- files -----------------------------------------------------------------------------------

    def hand_over(self, body: c.BlobHandover) -> c.BlobRef:
        return keep(self._store.adopt(self._spool / body.name, body.sha256))

    def fetch_blob(self, ref: c.BlobRef, target: Path) -> Path:
        return self._store.path(ref.sha256)

    # --- who -------------------------------------------------------------------------------------

    def candidates(self) -> c.Candidates:
        """The nodes there are, in the order in which they came."""
        nodes = sorted((node.registered_at, node.node_id) for node in self._grid.get_nodes())
        for _, node_id in nodes:
            self._names.setdefault(node_id, f"node-{len(self._names):05}")
        found = [self._candidate(node_id) for _, node_id in nodes]
        return c.Candidates(command="continue", candidates=found)

    def _candidate(self, node_id: int) -> c.Candidate:
        name = self._names[node_id]
        return c.Candidate(device=name, node_id=str(node_id), **self._histories.of(name))

    # --- work ------------------------------------------------------------------------------------

    def begin_round(self, round_: int, body: c.RoundBegin) -> c.Offered:
        asked = {offer.device for offer in body.offers.offers} if body.offers else set()
        for work in self._book.matching(round_=round_):
            if work.device not in asked:
                self._end(work, AssignmentStatus.CANCELLED, "the round was begun without it")
        return self.offer(body.offers) if body.offers else c.Offered(assignments={})

    def offer(self, body: c.OfferBatch) -> c.Offered:
        with self._lock:
            return self._offer(body)

    def _offer(self, body: c.OfferBatch) -> c.Offered:
        open_ = {offer.device: self._book.open_for(offer, body.round) for offer in body.offers}
        fresh = [offer for offer in body.offers if open_[offer.device] is None]
        messages = self._messages(body, fresh)
        ids = list(self._grid.push_messages(messages)) if messages else []
        for offer, message in zip(fresh, ids, strict=True):
            open_[offer.device] = self._book.begin(body, offer, message)
        return c.Offered(assignments={name: work.id for name, work in open_.items() if work})

    def _messages(self, body: c.OfferBatch, offers: Iterable[c.OfferRequest]) -> list[Message]:
        """A message for each. Equal arrays are one record, which Flower keeps once."""
        nodes = {name: node_id for node_id, name in self._names.items()}
        records: dict[str, ArrayRecord] = {}
        made = []
        for offer in offers:
            document = body.instructions[offer.instruction]
            blob = blobs_of(document)[ARRAYS]
            if blob.sha256 not in records:
                path = self._store.path(blob.sha256)
                records[blob.sha256] = packed_record(pieces_of_file(path))
            order = TrainingOrder.from_values(values_of(document, CONFIG, "config") or {})
            ttl = max(TTL_SECONDS, body.deadline_seconds)
            node = nodes[offer.device]
            kind = message_type_of(offer.kind)
            made.append(encode_order(order, records[blob.sha256], kind, node, ttl))
        return made

    def collect(self, body: c.CollectRequest) -> c.Collected:
        until = time.monotonic() + body.wait
        while True:
            with self._lock:
                self._pull()
                self._book.expire()
                sequence, deliveries = self._book.since(body.after)
            if deliveries or time.monotonic() >= until:
                return c.Collected(sequence=sequence, deliveries=deliveries)
            time.sleep(_LOOK_SECONDS)

    def cancel(self, body: c.CancelRequest) -> None:
        with self._lock:
            self._cancel(body)

    def _cancel(self, body: c.CancelRequest) -> None:
        for work in self._book.matching(ids=body.ids, round_=body.round):
            self._end(work, AssignmentStatus.EXPIRED, body.reason)

    def _end(self, work: NodeWork, status: AssignmentStatus, reason: str) -> None:
        self._book.end(work, status, reason=reason[:2_000])

    # --- replies ---------------------------------------------------------------------------------

    def _pull(self) -> None:
        open_ = self._book.messages
        if not open_:
            return
        for reply in self._grid.pull_messages(list(open_)):
            work = open_.get(reply.metadata.reply_to_message_id)
            if work is not None:
                self._take(reply, work)

    def _take(self, reply: Message, work: NodeWork) -> None:
        if reply.has_error():
            why = reply.error.reason or "it failed without a word"
            self._end(work, AssignmentStatus.FAILED, why)
            return
        try:
            payload = self._payload(reply, work.device)
        except Invalid as error:
            self._end(work, AssignmentStatus.REJECTED, str(error))
            return
        path = self._spool / f"{work.id}.safetensors"
        written = write_payload(payload, path, durable=False)
        blob = keep(self._store.adopt(path, written.sha256))
        path.unlink(missing_ok=True)
        self._book.end(work, AssignmentStatus.UPLOADED, blob=blob)

    def _payload(self, reply: Message, device: str) -> Payload:
        """The reply as a device would have uploaded it. Who answers is known by the node, whatever it says.

        Raises:
            Invalid: its arrays are not what they should be.
        """
        content = reply.content
        tensors = unpack(b"".join(packed_pieces(content))) if content.array_records else None
        if PACKED in content.array_records:
            del content[PACKED]
        values = from_record_dict(content)
        header = {**values.configs.get(HEADER, {}), "device": device}
        arrays = {} if tensors is None else {ARRAYS: tensors}
        return Payload(arrays, values.metrics, {**values.configs, HEADER: header})


def shown(metrics: dict[str, float]) -> str:
    """Metrics in one line."""
    parts = [f"{name} {value:.4f}" for name, value in sorted(metrics.items())]
    return ", ".join(parts) or "no metrics"
