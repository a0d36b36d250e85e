"""Orders and updates as Flower messages, where Flower's own transport carries them.

Flower's cost is per object, so all tensors of a message travel together as safetensors bytes. They are cut
into pieces of the size that Flower sends at a time: whoever receives them needs memory for them once, not
three times as with one large array.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from fedops.core.contracts.training import (
    CONFIG,
    TrainingOrder,
)
from fedops.core.errors import Invalid

PACKED = "packed"
STYPE = "fedops.safetensors"
#: What Flower makes one object of.
PIECE_BYTES = 5 * 1024 * 1024


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


def encode_order(
    order: TrainingOrder, arrays: ArrayRecord, kind: str, node_id: int, ttl: float
) -> Message:
    """A message to one node. ``arrays`` may be shared by many: it is uploaded once."""
    content = RecordDict({PACKED: arrays, CONFIG: ConfigRecord(order.values())})
    return Message(content, node_id, kind, ttl=ttl, group_id=str(order.round))
