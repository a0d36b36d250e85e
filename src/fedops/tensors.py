"""Named arrays and their one encoding, on the wire and on disk: safetensors.

A model's exchanged state is ``Tensors``: a dict from name to C-contiguous numpy array, in the order
of the parameter contract. bfloat16 and float8 are numpy dtypes here, by way of ml_dtypes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import numpy.typing as npt
import safetensors.numpy

from fedops.core.errors import Invalid

Tensors = dict[str, npt.NDArray[Any]]

_DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "C64": np.complex64,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_HEADER_LIMIT = 64 * 1024 * 1024


def dtype_name(array: npt.NDArray[Any]) -> str:
    """``float32``, ``bfloat16``, ...: the name a parameter contract shows."""
    return str(array.dtype.name)


def pack(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Encode as safetensors bytes. The same values give the same bytes, whatever the memory layout."""
    return bytes(safetensors.numpy.save(_dense(tensors)))


def unpack(data: bytes | memoryview) -> Tensors:
    """Decode safetensors bytes. The arrays are read-only views of ``data``.

    Raises:
        Invalid: the bytes are not a complete safetensors file.
    """
    return _views(np.frombuffer(data, dtype=np.uint8), "the message")


def save(tensors: Mapping[str, npt.NDArray[Any]], path: Path) -> str:
    """Write a safetensors file atomically (temporary file, fsync, rename). Returns its sha256."""
    data = pack(tensors)
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def load(path: Path) -> Tensors:
    """Read a safetensors file as read-only views of a memory map, in the file's order by name.

    Raises:
        Invalid: the file is missing, cut short or no safetensors file.
    """
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise Invalid(f"cannot read the tensors in {path}: {error}") from None
    return _views(raw, str(path))


def write_atomic(path: Path, data: bytes | memoryview, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data``, or leave it as it was: a reader never sees half a file."""
    with atomic_file(path, mode) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """An open binary file that becomes ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256_of(path: Path) -> str:
    """The hex digest of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _dense(tensors: Mapping[str, npt.NDArray[Any]]) -> Tensors:
    for name, array in tensors.items():
        if array.dtype not in _NAMES:
            raise Invalid(f"tensor '{name}' has dtype {array.dtype}, which cannot be exchanged")
    return {name: np.asarray(array, order="C") for name, array in tensors.items()}


def _views(raw: npt.NDArray[np.uint8], where: str) -> Tensors:
    try:
        (length,) = np.frombuffer(raw[:8].tobytes(), dtype="<u8")
        if length > min(_HEADER_LIMIT, raw.size - 8):
            raise ValueError("the header is longer than the data")
        header = json.loads(raw[8 : 8 + int(length)].tobytes())
        header.pop("__metadata__", None)
        body = raw[8 + int(length) :]
        return {name: _view(body, spec) for name, spec in sorted(header.items())}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"{where} does not hold complete safetensors data: {error}") from None


def _view(body: npt.NDArray[np.uint8], spec: dict[str, Any]) -> npt.NDArray[Any]:
    begin, end = spec["data_offsets"]
    if not 0 <= begin <= end <= body.size:
        raise ValueError("a tensor reaches beyond the end")
    flat = body[begin:end].view(np.dtype(_DTYPES[spec["dtype"]]))
    array: npt.NDArray[Any] = np.asarray(flat.reshape(spec["shape"]))
    array.flags.writeable = False
    return array
