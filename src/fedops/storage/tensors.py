"""Named arrays and their one encoding, on the wire and on disk: safetensors.

A model's exchanged state is ``Tensors``: a dict from name to C-contiguous numpy array, in the order
of the parameter contract. bfloat16 and float8 are numpy dtypes here, by way of ml_dtypes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import safetensors.numpy

from fedops.core.errors import Invalid
from fedops.storage.atomic_files import atomic_file, write_atomic

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


def can_hold(array: npt.NDArray[Any]) -> bool:
    """Whether safetensors has this dtype."""
    return array.dtype in _NAMES


def pack(
    tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Encode as safetensors bytes. The same values give the same bytes, whatever the memory layout.

    ``metadata`` may have one key at most: several are written in random order.
    """
    return bytes(safetensors.numpy.save(_dense(tensors), dict(metadata) if metadata else None))


def unpack(data: bytes | memoryview) -> Tensors:
    """Decode safetensors bytes. The arrays are read-only views of ``data``.

    Raises:
        Invalid: the bytes are not a complete safetensors file.
    """
    return unpack_with_metadata(data)[0]


def unpack_with_metadata(data: bytes | memoryview) -> tuple[Tensors, dict[str, str]]:
    """The same, and the file's metadata."""
    return _views(np.frombuffer(data, dtype=np.uint8), "the message")


def save(tensors: Mapping[str, npt.NDArray[Any]], path: Path, *, durable: bool = True) -> str:
    """Write a safetensors file atomically (temporary file, fsync, rename). Returns its sha256.

    Without ``durable`` it may be missing after a power cut.
    """
    data = pack(tensors)
    write_atomic(path, data, durable=durable)
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
    return _views(raw, str(path))[0]


def _dense(tensors: Mapping[str, npt.NDArray[Any]]) -> Tensors:
    for name, array in tensors.items():
        if array.dtype not in _NAMES:
            raise Invalid(f"tensor '{name}' has dtype {array.dtype}, which cannot be exchanged")
    return {name: np.asarray(array, order="C") for name, array in tensors.items()}


def _views(raw: npt.NDArray[np.uint8], where: str) -> tuple[Tensors, dict[str, str]]:
    try:
        header = _header(raw[:8].tobytes(), raw.size, lambda n: raw[8 : 8 + n].tobytes())
        body = raw[8 + header.length :]
        views = {name: _view(body, spec) for name, spec in sorted(header.specs.items())}
        return views, header.metadata
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"{where} does not hold complete safetensors data: {error}") from None


def _view(body: npt.NDArray[np.uint8], stored: _Stored) -> npt.NDArray[Any]:
    flat = body[stored.begin : stored.end].view(stored.dtype)
    array: npt.NDArray[Any] = np.asarray(flat.reshape(stored.shape))
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class _Stored:
    """Where one tensor lies, counted from the end of the header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size(self) -> int:
        return (self.end - self.begin) // self.dtype.itemsize


@dataclass(frozen=True)
class _Header:
    text: bytes
    specs: dict[str, _Stored]
    metadata: dict[str, str]

    @property
    def length(self) -> int:
        return len(self.text)


class MappedTensors(Mapping[str, npt.NDArray[Any]]):
    """A safetensors file whose arrays are views of it: what is read is the system's to keep or to let go.

    Raises as ``TensorFile`` does. The file must not change.
    """

    def __init__(self, path: Path) -> None:
        self._file = TensorFile(path)
        self._bytes = np.memmap(path, np.uint8, "r")

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        begin, end = self._file.place(name)
        dtype, shape = self._file.dtype(name), self._file.shape(name)
        return np.asarray(self._bytes)[begin:end].view(dtype).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file)

    def __len__(self) -> int:
        return len(self._file)


def _header(prefix: bytes, size: int, read: Callable[[int], bytes]) -> _Header:
    (length,) = np.frombuffer(prefix, dtype="<u8")
    if length > min(_HEADER_LIMIT, size - 8):
        raise ValueError("the header is longer than the data")
    text = read(int(length))
    rows = json.loads(text)
    metadata = {str(k): str(v) for k, v in (rows.pop("__metadata__", None) or {}).items()}
    body = size - 8 - int(length)
    return _Header(text, {name: _stored(row, body) for name, row in rows.items()}, metadata)


def _stored(row: dict[str, Any], body: int) -> _Stored:
    begin, end = row["data_offsets"]
    if not 0 <= begin <= end <= body:
        raise ValueError("a tensor reaches beyond the end")
    stored = _Stored(np.dtype(_DTYPES[row["dtype"]]), tuple(row["shape"]), begin, end)
    size = math.prod(stored.shape) * stored.dtype.itemsize
    if end - begin != size or any(side < 0 for side in stored.shape):
        raise ValueError("a tensor's shape does not fit its length")
    return stored


# --- piece by piece --------------------------------------------------------------------------

#: Elements that are read or written at a time: few enough to stay in a processor's cache.
PIECE = 1 << 17


class TensorFile(Mapping[str, npt.NDArray[Any]]):
    """A safetensors file that is read tensor by tensor or piece by piece: only what is read takes memory.

    Raises:
        Invalid: the file is missing, cut short or no safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._header = _header(file.read(8), path.stat().st_size, file.read)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Invalid(f"cannot read the tensors in {path}: {error}") from None

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        stored = self._header.specs[name]
        return self.piece(name, 0, stored.size).reshape(stored.shape)

    def __contains__(self, name: object) -> bool:
        return name in self._header.specs  # a mapping's own way would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._header.specs)

    def __len__(self) -> int:
        return len(self._header.specs)

    @property
    def metadata(self) -> dict[str, str]:
        return self._header.metadata

    def dtype(self, name: str) -> np.dtype[Any]:
        return self._header.specs[name].dtype

    def shape(self, name: str) -> tuple[int, ...]:
        return self._header.specs[name].shape

    def piece(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Elements ``start`` to ``stop`` of a tensor, flat in C order."""
        flat = self.flat([name])
        return flat.read(start, np.empty(min(stop, flat.size) - start, flat.dtype))

    def place(self, name: str) -> tuple[int, int]:
        """Where a tensor begins and ends in the file. Bytes."""
        base, stored = 8 + self._header.length, self._header.specs[name]
        return base + stored.begin, base + stored.end

    def flat(self, names: Sequence[str]) -> FlatTensors:
        """Tensors of one dtype, one after the other. At least one is named."""
        base = 8 + self._header.length
        stored = [self._header.specs[name] for name in names]
        places = _joined([(base + each.begin, base + each.end) for each in stored])
        return FlatTensors(self.path, stored[0].dtype, places)

    def neighbours(self, kind: Callable[[str], Hashable]) -> list[tuple[str, ...]]:
        """All tensors in the file's order: those next to each other of one dtype and kind together."""
        found: list[list[str]] = []
        last: Hashable = None
        for name, stored in self._by_offset():
            this = (stored.dtype, kind(name))
            if not found or this != last:
                found.append([])
            found[-1].append(name)
            last = this
        return [tuple(names) for names in found]

    def rewrite(
        self,
        path: Path,
        piece: Callable[[tuple[str, ...], int, int], npt.NDArray[Any]],
        kind: Callable[[str], Hashable] = lambda name: name,
        *,
        durable: bool = True,
    ) -> str:
        """Write a file of the same names, dtypes, shapes and layout with the values of ``piece``.

        ``piece`` is asked for elements of ``neighbours(kind)``, as if they were one array. Atomic, and
        with memory for one piece. Returns the sha256.
        """
        digest = hashlib.sha256()
        with atomic_file(path, durable=durable) as file:

            def put(data: bytes | memoryview) -> None:
                file.write(data)
                digest.update(data)

            put(len(self._header.text).to_bytes(8, "little") + self._header.text)
            for names in self.neighbours(kind):
                dtype, size = self.dtype(names[0]), sum(map(self._size, names))
                for start in range(0, size, PIECE):
                    stop = min(start + PIECE, size)
                    put(_raw(piece(names, start, stop), names[0], dtype, stop - start))
        return digest.hexdigest()

    def _size(self, name: str) -> int:
        return self._header.specs[name].size

    def _by_offset(self) -> list[tuple[str, _Stored]]:
        return sorted(self._header.specs.items(), key=lambda item: item[1].begin)


class FlatTensors:
    """Where some tensors of one dtype lie in a file, which is open only while it is read."""

    def __init__(self, path: Path, dtype: np.dtype[Any], places: list[tuple[int, int]]) -> None:
        self.dtype = dtype
        self._path = path
        #: Begin and end of each stretch, in bytes of the file.
        self._places = places

    @property
    def size(self) -> int:
        return sum(end - begin for begin, end in self._places) // self.dtype.itemsize

    def read(self, start: int, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Fill ``out``, which is flat, with the elements from ``start`` on. Returns it.

        Raises:
            Invalid: the file is missing or was cut short.
        """
        target = out.view(np.uint8).data
        try:
            with open(self._path, "rb", buffering=0) as file:
                for offset, begin, end in self._parts(start * self.dtype.itemsize, len(target)):
                    file.seek(offset)
                    _fill(file, target[begin:end])
        except (OSError, EOFError) as error:
            raise Invalid(f"cannot read the tensors in {self._path}: {error}") from None
        return out

    def _parts(self, start: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Where in the file, and from where to where in the target."""
        done = 0
        for begin, end in self._places:
            length = end - begin
            if start < length and done < count:
                taken = min(length - start, count - done)
                yield begin + start, done, done + taken
                done += taken
            start = max(start - length, 0)


def _joined(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes in as few stretches as possible."""
    joined: list[tuple[int, int]] = []
    for begin, end in places:
        if joined and joined[-1][1] == begin:
            begin = joined.pop()[0]
        joined.append((begin, end))
    return joined


def _fill(file: FileIO, target: memoryview) -> None:
    while target:
        if not (count := file.readinto(target)):
            raise EOFError("it was cut short")
        target = target[count:]


def _raw(piece: npt.NDArray[Any], name: str, dtype: np.dtype[Any], size: int) -> memoryview:
    if piece.dtype != dtype or piece.shape != (size,):
        raise Invalid(
            f"'{name}' is {dtype} and {size} values were asked for;"
            f" got {piece.dtype}{list(piece.shape)}"
        )
    return np.ascontiguousarray(piece).view(np.uint8).data
