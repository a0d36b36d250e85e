"""What server and clients say to each other, as Flower messages.

Flower's cost is per object, so all tensors of a message travel together as safetensors bytes. They are cut
into pieces of the size that Flower sends at a time: whoever receives them needs memory for them once, not
three times as with one large array.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    ConfigRecordValues,
    Message,
    MetricRecord,
    RecordDict,
)

from fedops.core.contracts import ParameterContract
from fedops.core.errors import Invalid
from fedops.storage.tensors import Tensors, pack, unpack

#: The names of the records in a message.
PACKED, CONFIG, METRICS, EVAL_METRICS, REPLY = (
    "packed",
    "config",
    "metrics",
    "eval-metrics",
    "reply",
)
STYPE = "fedops.safetensors"
#: What Flower makes one object of.
PIECE_BYTES = 5 * 1024 * 1024
EXAMPLES = "num-examples"
TRAIN, EVALUATE = "train", "evaluate"


# --- tensors as pieces of safetensors ----------------------------------------------------------


def packed_record(pieces: Iterable[bytes]) -> ArrayRecord:
    """Safetensors bytes, in pieces, as the arrays of a message."""
    return ArrayRecord(
        {f"{i:05}": Array("uint8", (len(p),), STYPE, p) for i, p in enumerate(pieces)}
    )


def in_pieces(data: bytes) -> Iterator[bytes]:
    """Bytes cut into pieces that are sent one by one."""
    view = memoryview(data)
    return (bytes(view[i : i + PIECE_BYTES]) for i in range(0, max(len(data), 1), PIECE_BYTES))


def pieces_of_file(path: Path) -> Iterator[bytes]:
    """The same of a file, of which no more than a piece is read at a time."""
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def packed_pieces(content: RecordDict) -> list[bytes]:
    """The safetensors bytes of a message, in pieces.

    Raises:
        Invalid: it holds other arrays, or none.
    """
    arrays = dict(content.array_records.get(PACKED, ArrayRecord()))
    names = [f"{i:05}" for i in range(len(arrays))]
    if not arrays or len(content.array_records) != 1 or list(arrays) != names:
        raise Invalid(f"it must hold the pieces of '{PACKED}' and no other arrays")
    for array in arrays.values():
        header = (array.dtype, tuple(array.shape), array.stype)
        if header != ("uint8", (len(array.data),), STYPE):
            raise Invalid(f"an array of {len(array.data)} bytes is no {STYPE}: it says {header}")
    return [array.data for array in arrays.values()]


# --- from server to client -------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """What a client is asked to do, beside the tensors of the model."""

    round: int
    run_id: int
    attempt: int
    task: str
    run_seed: int
    config: Mapping[str, Any]  #: the run's effective config
    contract: ParameterContract
    dataset: str = ""  #: what the run's data set is called, once known
    evaluate: bool = False  #: whether to evaluate the received model (before training on it)
    retry: int = 0  #: how often the round was tried before: a new try is no repetition of the last
    strategy: Mapping[str, ConfigRecordValues] = field(default_factory=dict)

    def record(self) -> ConfigRecord:
        return ConfigRecord(
            {
                **self.strategy,
                "server-round": self.round,
                "run-id": self.run_id,
                "attempt": self.attempt,
                "task": self.task,
                "run-seed": self.run_seed,
                "config-json": json.dumps(self.config),
                "contract-json": self.contract.model_dump_json(),
                "dataset": self.dataset,
                "evaluate": self.evaluate,
                "retry": self.retry,
            }
        )

    def number(self, key: str, default: float = 0.0) -> float:
        """A number that the strategy added, such as ``proximal-mu``."""
        value = self.strategy.get(key, default)
        return float(value) if isinstance(value, int | float) else default


def encode_order(order: Order, arrays: ArrayRecord, kind: str, node_id: int, ttl: float) -> Message:
    """A message to one node. ``arrays`` may be shared by many: it is uploaded once."""
    content = RecordDict({PACKED: arrays, CONFIG: order.record()})
    return Message(content, node_id, kind, ttl=ttl, group_id=str(order.round))


def decode_order(message: Message) -> Order:
    """What a message asks for. ``Invalid`` when it is not one of ours."""
    record = message.content.config_records.get(CONFIG, ConfigRecord())
    known = _typed(
        record,
        {
            "server-round": int,
            "run-id": int,
            "attempt": int,
            "task": str,
            "run-seed": int,
            "config-json": str,
            "contract-json": str,
            "dataset": str,
            "evaluate": bool,
            "retry": int,
        },
    )
    try:
        config = json.loads(known["config-json"])
        contract = ParameterContract.model_validate_json(known["contract-json"])
    except ValueError as error:
        raise Invalid(f"the server's message cannot be read: {error}") from None
    return Order(
        round=known["server-round"],
        run_id=known["run-id"],
        attempt=known["attempt"],
        task=known["task"],
        run_seed=known["run-seed"],
        config=config,
        contract=contract,
        dataset=known["dataset"],
        retry=known["retry"],
        evaluate=known["evaluate"],
        strategy={key: value for key, value in record.items() if key not in known},
    )


# --- from client to server -------------------------------------------------------------------


@dataclass(frozen=True)
class ReplyHead:
    """Who answers what, and how it went."""

    device: str
    run_id: int
    attempt: int
    round: int
    fingerprint: str
    dataset: str = ""
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    refused: str = ""  #: why the device cannot take part in this run at all

    def record(self) -> ConfigRecord:
        return ConfigRecord(
            {
                "device": self.device,
                "run-id": self.run_id,
                "attempt": self.attempt,
                "round": self.round,
                "fingerprint": self.fingerprint,
                "dataset": self.dataset,
                "train-seconds": self.train_seconds,
                "evaluate-seconds": self.evaluate_seconds,
                "refused": self.refused,
            }
        )


@dataclass(frozen=True)
class Measured:
    """Metrics over a number of examples."""

    examples: int
    metrics: Mapping[str, float]

    def record(self) -> MetricRecord:
        return MetricRecord({EXAMPLES: self.examples, **self.metrics})


def encode_reply(
    message: Message,
    head: ReplyHead,
    tensors: Tensors | None = None,
    trained: Measured | None = None,
    evaluated: Measured | None = None,
) -> Message:
    """The answer to ``message``."""
    content = RecordDict({REPLY: head.record()})
    if tensors is not None:
        content[PACKED] = packed_record(in_pieces(pack(tensors)))
    if trained is not None:
        content[METRICS] = trained.record()
    if evaluated is not None:
        content[EVAL_METRICS] = evaluated.record()
    return Message(content, reply_to=message)


def decode_head(content: RecordDict) -> ReplyHead:
    """The head of a reply. ``Invalid`` when it has none."""
    known = _typed(
        content.config_records.get(REPLY, ConfigRecord()),
        {
            "device": str,
            "run-id": int,
            "attempt": int,
            "round": int,
            "fingerprint": str,
            "dataset": str,
            "train-seconds": float,
            "evaluate-seconds": float,
            "refused": str,
        },
    )
    return ReplyHead(**{key.replace("-", "_"): value for key, value in known.items()})


def decode_measured(content: RecordDict, name: str) -> Measured | None:
    """The metrics called ``name`` of a reply, None when it has none.

    Raises:
        Invalid: the number of examples is no positive whole number, or a metric is no finite number.
    """
    record = content.metric_records.get(name)
    if record is None:
        return None
    metrics: dict[str, Any] = dict(record)
    examples = metrics.pop(EXAMPLES, None)
    if not isinstance(examples, int) or not 0 < examples < 2**53:
        raise Invalid(f"its number of examples is {examples}, and must be a positive whole number")
    for key, value in metrics.items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise Invalid(f"its metric '{key}' is {value}, and must be a finite number")
    return Measured(examples, {key: float(value) for key, value in metrics.items()})


def decode_tensors(message: Message) -> Tensors:
    """The tensors of a message."""
    return unpack(b"".join(packed_pieces(message.content)))


def _typed(record: ConfigRecord, kinds: Mapping[str, type]) -> dict[str, Any]:
    for key, kind in kinds.items():
        value = record.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Invalid(f"the message has no '{key}' of type {kind.__name__}: it is {value!r}")
    return {key: record[key] for key in kinds}
