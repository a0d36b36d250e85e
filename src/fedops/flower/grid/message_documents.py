"""What a Flower message becomes on its way to a device: a document, and a blob for each array record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, RecordDict

from fedops.core.contracts import BlobRef
from fedops.engine.link.blob_files import BlobFiles
from fedops.flower.codec.records import from_record_dict
from fedops.storage.atomic_files import write_atomic
from fedops.storage.payloads import (
    Array,
    Document,
    Payload,
    RawArray,
    make_document,
    pack_payload,
    read_document,
)
from fedops.storage.tensors import TensorFile, pack

#: Config records by name.
Records = Mapping[str, Mapping[str, Any]]


class MessageDocuments:
    """Arrays that many messages share are packed and handed over once. ``along``: config records that every
    message has beside its own.
    """

    def __init__(self, files: BlobFiles, spool: Path, along: Records | None = None) -> None:
        self._files = files
        self._spool = spool
        self._along = dict(along or {})
        self._stored: dict[str, BlobRef] = {}
        #: By identity, of the messages that are made into documents now.
        self._seen: dict[int, tuple[ArrayRecord, dict[str, Any]]] = {}
        self._made: dict[int, tuple[RecordDict, Document]] = {}

    def document(self, content: RecordDict) -> Document:
        """The document of a message's content, the same object for the same content.

        Raises:
            Invalid: an array is not what it says.
        """
        if id(content) not in self._made:
            self._made[id(content)] = content, self._make(content)
        return self._made[id(content)][1]

    def forget(self) -> None:
        """Let go of the messages seen; what is stored stays known."""
        self._seen.clear()
        self._made.clear()

    def _make(self, content: RecordDict) -> Document:
        values = from_record_dict(_without_arrays(content))
        configs = {**values.configs, **self._along}
        document = make_document(Payload(metrics=values.metrics, configs=configs))
        for name, record in content.array_records.items():
            document["records"][name] = self._described(record)
        return document

    def _described(self, record: ArrayRecord) -> dict[str, Any]:
        if id(record) not in self._seen:
            self._seen[id(record)] = record, self._store(record)
        return self._seen[id(record)][1]

    def _store(self, record: ArrayRecord) -> dict[str, Any]:
        arrays = from_record_dict(RecordDict({"arrays": record})).arrays["arrays"]
        tensors = {name: a for name, a in arrays.items() if not isinstance(a, RawArray)}
        if len(tensors) == len(arrays):
            blob = self._hand_over(pack(tensors))
            named = {"type": "array", "tensors": [[name, name] for name in tensors]}
        else:
            blob, named = self._store_raw(arrays)
        return {**named, "blob": {"sha256": blob.sha256, "size": blob.size}}

    def _store_raw(self, arrays: Any) -> tuple[BlobRef, dict[str, Any]]:
        """Arrays that safetensors cannot hold: their description is beside them in the file."""
        given: dict[str, Array] = dict(arrays)
        blob = self._hand_over(pack_payload(Payload(arrays={"arrays": given})), keep=True)
        path = self._spool / _name(blob.sha256)
        described = read_document(TensorFile(path))["records"]["arrays"]
        path.unlink()
        return blob, described

    def _hand_over(self, data: bytes, keep: bool = False) -> BlobRef:
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._spool / _name(sha256)
        if sha256 not in self._stored or keep:
            write_atomic(path, data, durable=False)
        if sha256 not in self._stored:
            self._stored[sha256] = self._files.hand_over(path, sha256)
        if not keep:
            path.unlink(missing_ok=True)
        return self._stored[sha256]


def _name(sha256: str) -> str:
    return f"arrays-{sha256[:32]}.safetensors"


def _without_arrays(content: RecordDict) -> RecordDict:
    return RecordDict({**content.metric_records, **content.config_records})
