"""The models of light devices, and the updates that they make of them without training."""

from __future__ import annotations

import asyncio
import functools
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from light_wire import Cut

from fedops.core.contracts.parameters import ParameterContract
from fedops.core.contracts.training import (
    ARRAYS,
    EVAL_METRICS,
    EXAMPLES,
    HEADER,
    METRICS,
    UpdateHeader,
)
from fedops.storage.payloads import METADATA_KEY, Payload, make_document


@dataclass
class Model:
    """A model's file in memory, and what an update of it looks like."""

    data: bytes
    header: dict[str, Any]
    changed: bytes

    @classmethod
    def of(cls, data: bytes) -> Model:
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + size])
        header.pop("__metadata__", None)
        body = data[8 + size :]
        if all(entry["dtype"] == "F32" for entry in header.values()):
            body = (np.frombuffer(body, dtype=np.float32) + np.float32(1e-3)).tobytes()
        return cls(data, header, body)

    def update(self, document: dict[str, Any]) -> tuple[bytes, bytes]:
        """The beginning and the tensors of a safetensors file with this document."""
        metadata = json.dumps(document, sort_keys=True, separators=(",", ":"))
        text = json.dumps({"__metadata__": {METADATA_KEY: metadata}, **self.header})
        head = text.encode()
        head += b" " * (-len(head) % 8)
        return struct.pack("<Q", len(head)) + head, self.changed


def document_of(said: Payload, model: Model) -> dict[str, Any]:
    """What an update says of itself: a header, metrics, and which tensors it holds."""
    document = make_document(said)
    names = [[name, name] for name in model.header]
    document["records"][ARRAYS] = {"type": "array", "tensors": names}
    return document


def payload_of(device: str, order: Mapping[str, Any], *, trained: bool) -> Payload:
    head = UpdateHeader(
        device=device,
        run_id=order["run-id"],
        attempt=order["attempt"],
        round=order["server-round"],
        fingerprint=_fingerprint(order["contract-json"]),
        dataset=order["dataset"],
    )
    measured = {EXAMPLES: 10, "loss": 0.5, "accuracy": 0.5}
    metrics = {METRICS: measured} if trained else {}
    if not trained or order["evaluate"]:
        metrics[EVAL_METRICS] = measured
    return Payload(metrics=metrics, configs={HEADER: head.values()})


class Shelf:
    """The models that the devices of a process have: each downloads its own bytes, one copy is kept."""

    def __init__(self) -> None:
        self._models: dict[str, asyncio.Future[Model]] = {}

    def keeper(self, digest: str) -> asyncio.Future[Model] | None:
        """A future to fill for the first who asks; None for the others."""
        if digest in self._models:
            return None
        while len(self._models) >= 2:
            del self._models[next(iter(self._models))]
        self._models[digest] = asyncio.get_running_loop().create_future()
        return self._models[digest]

    def give_up(self, digest: str) -> None:
        future = self._models.pop(digest, None)
        if future is not None and not future.done():
            future.set_exception(Cut("the download was cut"))
            future.exception()

    async def get(self, digest: str) -> Model:
        return await self._models[digest]


@functools.cache
def _fingerprint(contract: str) -> str:
    return ParameterContract.model_validate_json(contract).fingerprint
