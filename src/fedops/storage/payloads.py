"""The records of a message as one safetensors file that any tool opens, or as a document that names blobs.

The tensors are the file's tensors. Everything else (metrics, configs, which tensors belong to which record,
in which order) is one JSON document under the single metadata key ``fedops``: with one key and sorted JSON
the same content is the same bytes in every process.

    {"version": 1, "records": {
        "arrays":  {"type": "array", "tensors": [["name in the file", "own name"], ...]},
        "metrics": {"type": "metric", "values": {"num-examples": 12, "loss": 0.5}},
        "config":  {"type": "config", "values": {"lr": 0.1, "key": {"bytes": "aGk="}}}}}

In an instruction an array record has a ``blob`` (sha256, size) beside ``tensors``: they are in that file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedops.core.contracts import BlobRef
from fedops.core.errors import Invalid
from fedops.storage.atomic_files import write_atomic
from fedops.storage.tensors import TensorFile, Tensors, can_hold, load, pack, unpack_with_metadata

METADATA_KEY = "fedops"
VERSION = 1
#: What a document may have at most: records, and values in a record.
MAX_RECORDS, MAX_VALUES = 1_000, 100_000

Document = dict[str, Any]
Value = Any  #: int, float, bool, str, bytes, or a list of one of these


@dataclass(frozen=True)
class RawArray:
    """An array that safetensors cannot hold: its bytes as whoever made it serialised them."""

    dtype: str
    shape: tuple[int, ...]
    stype: str
    data: bytes


Array = npt.NDArray[Any] | RawArray


@dataclass(frozen=True)
class Payload:
    """The records of a message, by name."""

    arrays: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)


# --- writing ---------------------------------------------------------------------------------


def pack_payload(payload: Payload) -> bytes:
    """The payload as a safetensors file. The same content gives the same bytes."""
    document, tensors = _split(payload)
    return pack(tensors, {METADATA_KEY: _dumps(document)})


def write_payload(payload: Payload, path: Path, *, durable: bool = True) -> BlobRef:
    """The same as a file, atomically. Returns its digest and size. ``durable``: see ``atomic_file``."""
    data = pack_payload(payload)
    write_atomic(path, data, durable=durable)
    return BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def make_document(
    payload: Payload, blobs: Mapping[str, tuple[BlobRef, list[str]]] | None = None
) -> Document:
    """A document whose array records are in blobs.

    ``blobs``: by record, the file that holds its tensors and their names, in order. The payload's own
    ``arrays`` must be empty.
    """
    records = _value_records(payload)
    for name, (blob, names) in (blobs or {}).items():
        records[name] = {
            "type": "array",
            "tensors": [[key, key] for key in names],
            "blob": {"sha256": blob.sha256, "size": blob.size},
        }
    return {"version": VERSION, "records": records}


def _split(payload: Payload) -> tuple[Document, Tensors]:
    records = _value_records(payload)
    tensors: Tensors = {}
    alone = len(payload.arrays) == 1
    for record, arrays in payload.arrays.items():
        placed, raw = [], {}
        for name, array in arrays.items():
            key = name if alone else f"{record}/{name}"
            if isinstance(array, RawArray):
                raw[name] = [array.dtype, list(array.shape), array.stype]
                array = np.frombuffer(array.data, dtype=np.uint8)
            elif not can_hold(array):
                raise Invalid(f"array '{name}' has dtype {array.dtype}, which cannot be exchanged")
            tensors[key] = array
            placed.append([key, name])
        records[record] = {"type": "array", "tensors": placed, **({"raw": raw} if raw else {})}
    return {"version": VERSION, "records": records}, tensors


def _value_records(payload: Payload) -> dict[str, Any]:
    kinds = (("metric", payload.metrics), ("config", payload.configs))
    return {
        name: {"type": kind, "values": {key: _encode(value) for key, value in values.items()}}
        for kind, found in kinds
        for name, values in found.items()
    }


def _encode(value: Value) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value


def _dumps(document: Document) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


# --- reading ---------------------------------------------------------------------------------


def unpack_payload(data: bytes) -> Payload:
    """Read what ``pack_payload`` gave. ``Invalid`` when it is nothing of the kind."""
    tensors, metadata = unpack_with_metadata(data)
    return assemble(_document_of(metadata), tensors)


def read_payload(path: Path) -> Payload:
    """The same of a file; the arrays are read-only views of a memory map."""
    return assemble(read_document(TensorFile(path)), load(path))


def read_document(file: TensorFile) -> Document:
    """The document in a file's metadata, checked. ``Invalid`` when there is none."""
    return _document_of(file.metadata)


def _document_of(metadata: Mapping[str, str]) -> Document:
    if METADATA_KEY not in metadata:
        raise Invalid(f"the file has no metadata '{METADATA_KEY}': it is no result of a client")
    try:
        found = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError):
        raise Invalid(f"the metadata '{METADATA_KEY}' of the file is no JSON") from None
    return check_document(found)


def check_document(document: Any) -> Document:
    """The document, if it is one: every bound and type of it."""
    records = document.get("records") if isinstance(document, dict) else None
    if not isinstance(records, dict) or document.get("version") != VERSION:
        raise Invalid(f"this is no payload document of version {VERSION}")
    if len(records) > MAX_RECORDS:
        raise Invalid(f"the message has {len(records)} records, at most {MAX_RECORDS} are taken")
    for name, record in records.items():
        if not isinstance(record, dict) or not _is_sound(record):
            raise Invalid(f"record '{name[:80]}' of the message cannot be read")
    return {"version": VERSION, "records": records}


def _is_sound(record: dict[str, Any]) -> bool:
    if record.get("type") in ("metric", "config"):
        values = record.get("values")
        return isinstance(values, dict) and len(values) <= MAX_VALUES
    tensors = record.get("tensors")
    return (
        record.get("type") == "array"
        and isinstance(tensors, list)
        and len(tensors) <= MAX_VALUES
        and all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) for t in pair)
            for pair in tensors
        )
    )


def blobs_of(document: Document) -> dict[str, BlobRef]:
    """The blobs that the array records of a document name, by record."""
    found = {}
    for name, record in document["records"].items():
        if record["type"] == "array" and "blob" in record:
            try:
                found[name] = BlobRef.model_validate(record["blob"])
            except ValueError:
                raise Invalid(f"record '{name}' of the message names no blob") from None
    return found


def values_of(document: Document, name: str, kind: str) -> dict[str, Value] | None:
    """The values of a metric or config record. None when there is no such record."""
    record = document["records"].get(name)
    if record is None or record["type"] != kind:
        return None
    return {key: _decode(value) for key, value in record["values"].items()}


def assemble(
    document: Document,
    tensors: Mapping[str, npt.NDArray[Any]],
    others: Mapping[str, Mapping[str, npt.NDArray[Any]]] | None = None,
) -> Payload:
    """The payload of a document. ``others``: the tensors of the blobs that it names, by sha256."""
    arrays: dict[str, dict[str, Array]] = {}
    metrics: dict[str, dict[str, Value]] = {}
    configs: dict[str, dict[str, Value]] = {}
    for name, record in document["records"].items():
        if record["type"] == "array":
            source = tensors
            if "blob" in record:
                source = (others or {})[record["blob"]["sha256"]]
            arrays[name] = _arrays(name, record, source)
        else:
            target = metrics if record["type"] == "metric" else configs
            target[name] = {key: _decode(value) for key, value in record["values"].items()}
    return Payload(arrays, metrics, configs)


def _arrays(
    record: str, stored: dict[str, Any], tensors: Mapping[str, npt.NDArray[Any]]
) -> dict[str, Array]:
    raw = stored.get("raw", {})
    found: dict[str, Array] = {}
    for key, name in stored["tensors"]:
        if key not in tensors:
            raise Invalid(f"record '{record}' names the tensor '{key}', which is not there")
        found[name] = _raw(raw[name], tensors[key]) if name in raw else tensors[key]
    return found


def _raw(described: Any, array: npt.NDArray[Any]) -> RawArray:
    try:
        dtype, shape, stype = described
        return RawArray(str(dtype), tuple(int(n) for n in shape), str(stype), array.tobytes())
    except (ValueError, TypeError):
        raise Invalid("an array of the message is not described as it must be") from None


def _decode(value: Any) -> Value:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    try:
        if "bytes" in value:
            return base64.b64decode(value["bytes"], validate=True)
        return float(value["float"])
    except (KeyError, ValueError, TypeError, binascii.Error):
        raise Invalid("a value of the message cannot be read") from None
