"""Flower's records as payloads and back: what travels over HTTP is safetensors, what apps see is Flower's.

An array that safetensors can hold is one of its tensors, whatever it was to Flower; any other keeps the
bytes, dtype, shape and serialisation that its maker gave it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedops.core.errors import Invalid
from fedops.storage import payloads
from fedops.storage.payloads import Payload, RawArray
from fedops.storage.tensors import can_hold

#: So Flower calls an array that numpy has serialised.
NUMPY_STYPE = "numpy.ndarray"
#: Values one after the other, for dtypes that numpy's own files lose: bfloat16 and float8.
RAW_STYPE = "fedops.raw"
_EXTENDED: Mapping[str, Any] = {
    np.dtype(kind).name: np.dtype(kind)
    for kind in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
}
_HEADERS: Mapping[tuple[int, int], Callable[[BytesIO], tuple[tuple[int, ...], bool, Any]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def to_record_dict(payload: Payload) -> RecordDict:
    """The records as Flower apps see them."""
    content = RecordDict()
    for name, arrays in payload.arrays.items():
        content[name] = ArrayRecord({key: to_array(value) for key, value in arrays.items()})
    for name, metrics in payload.metrics.items():
        content[name] = MetricRecord(dict(metrics))
    for name, values in payload.configs.items():
        content[name] = ConfigRecord(dict(values))
    return content


def from_record_dict(records: RecordDict) -> Payload:
    """What travels of Flower's records.

    Raises:
        Invalid: an array says of itself what its bytes are not.
    """
    return Payload(
        arrays={
            name: {key: from_array(array, key) for key, array in record.items()}
            for name, record in records.array_records.items()
        },
        metrics={
            name: {key: _plain(value) for key, value in record.items()}
            for name, record in records.metric_records.items()
        },
        configs={
            name: {key: _plain(value) for key, value in record.items()}
            for name, record in records.config_records.items()
        },
    )


def to_array(array: payloads.Array) -> Array:
    """One array for Flower."""
    if isinstance(array, RawArray):
        return Array(array.dtype, array.shape, array.stype, array.data)
    if array.dtype.name in _EXTENDED:
        return Array(array.dtype.name, tuple(array.shape), RAW_STYPE, array.tobytes())
    return Array(np.asarray(array))


def from_array(array: Array, name: str = "") -> payloads.Array:
    """One array of Flower: as numpy has it where safetensors can hold it, else its bytes.

    Raises:
        Invalid: its bytes are not what it says; ``name`` says whose.
    """
    shape = tuple(int(side) for side in array.shape)
    try:
        if array.stype == RAW_STYPE and array.dtype in _EXTENDED:
            return np.frombuffer(array.data, dtype=_EXTENDED[array.dtype]).reshape(shape)
        if array.stype == NUMPY_STYPE:
            found = _of_npy(array.data)
            if can_hold(found) and (found.dtype.name, found.shape) == (array.dtype, shape):
                return found
    except (ValueError, EOFError) as error:
        raise Invalid(f"array '{name}' of the message cannot be read: {error}") from None
    return RawArray(array.dtype, shape, array.stype, bytes(array.data))


def _of_npy(data: bytes) -> npt.NDArray[Any]:
    """The array in the bytes of a ``.npy`` file, as a read-only view of them."""
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        return np.load(BytesIO(data), allow_pickle=False)  # type: ignore[no-any-return]
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if not math.prod(shape):
        return np.empty(shape, dtype)
    flat = np.frombuffer(data, dtype=dtype, offset=stream.tell(), count=math.prod(shape))
    return flat.reshape(shape, order="F" if fortran else "C")


def _plain(value: Any) -> Any:
    """A value of a record without numpy's own scalars, which Flower takes for numbers."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
