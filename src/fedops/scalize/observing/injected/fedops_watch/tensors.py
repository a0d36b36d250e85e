"""Safetensors files by hand: the user's interpreter may not have the library."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys
from typing import Any, Mapping, NamedTuple

#: By the names that torch and numpy have in common, after "torch.".
CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "complex64": "C64",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
NAMES = {code: name for name, code in CODES.items()}


class Raw(NamedTuple):
    """One tensor as it lies in a file."""

    dtype: str  #: by its name, such as "float32"
    shape: tuple[int, ...]
    data: Any  #: its bytes


def write(path: str, tensors: Mapping[str, Raw]) -> None:
    """A file that is whole or not there."""
    header: dict[str, Any] = {}
    offset = 0
    for name, raw in tensors.items():
        end = offset + len(raw.data)
        header[name] = {
            "dtype": CODES[raw.dtype],
            "shape": list(raw.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = path + ".part"
    with open(partial, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for raw in tensors.values():
            file.write(raw.data)
    os.replace(partial, path)


def read(path: str) -> dict[str, Raw]:
    """Views of a private map of the file: they can be written to, the file does not change."""
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    body = memoryview(mapped)
    start = 8 + int.from_bytes(body[:8], "little")
    header = json.loads(bytes(body[8:start]))
    header.pop("__metadata__", None)
    found = {}
    for name, row in header.items():
        begin, end = row["data_offsets"]
        found[name] = Raw(
            NAMES[row["dtype"]], tuple(row["shape"]), body[start + begin : start + end]
        )
    return found


def from_torch(tensor: Any) -> Raw:
    """A copy on the CPU is made only where the tensor is elsewhere or not contiguous."""
    flat = tensor.detach().cpu().contiguous()
    size = flat.numel() * flat.element_size()
    # A view without numpy, which the user's interpreter may lack. ``flat`` lives as long as the view.
    data: Any = (ctypes.c_char * size).from_address(flat.data_ptr()) if size else b""
    if size:
        data._tensor = flat
        data = memoryview(data).cast("B")
    return Raw(str(tensor.dtype).split(".")[-1], tuple(tensor.shape), data)


def to_torch(raw: Raw) -> Any:
    torch: Any = sys.modules["torch"]
    dtype = getattr(torch, raw.dtype)
    if not len(raw.data):
        return torch.empty(raw.shape, dtype=dtype)
    return torch.frombuffer(raw.data, dtype=dtype).reshape(raw.shape)


def from_numpy(array: Any) -> Raw:
    """Any array-like that numpy takes."""
    numpy: Any = sys.modules["numpy"]
    dense = numpy.ascontiguousarray(array)
    return Raw(str(dense.dtype), tuple(numpy.shape(array)), dense.reshape(-1).view("uint8").data)


def to_numpy(raw: Raw) -> Any:
    numpy: Any = sys.modules["numpy"]
    return numpy.frombuffer(raw.data, dtype=raw.dtype).reshape(raw.shape)


def can_hold(dtype: str) -> bool:
    return dtype in CODES


def names(path: str) -> list[str]:
    return list(read(path))
