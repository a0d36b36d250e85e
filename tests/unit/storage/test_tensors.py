"""The one encoding of named arrays: exact, independent of memory layout, never half read."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedops.core.errors import Invalid
from fedops.storage import atomic_files as files
from fedops.storage import tensors

TRANSPOSED = np.arange(6, dtype=np.float32).reshape(2, 3).T
CASES: dict[str, npt.NDArray[Any]] = {
    "non-contiguous": TRANSPOSED,
    "zero-dimensional": np.array(-3, dtype=np.int64),
    "empty": np.zeros((0, 3), dtype=np.float16),
    "bfloat16": np.array([1.5, -0.0, np.inf], dtype=ml_dtypes.bfloat16),
    "float8": np.array([1.0, 0.5], dtype=ml_dtypes.float8_e4m3fn),
    "bool": np.array([True, False]),
    "nan and denormals": np.array([np.nan, 5e-324, -0.0]),
    "unsigned": np.array([2**64 - 1], dtype=np.uint64),
}


def same_bits(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> bool:
    same_kind = first.dtype == second.dtype and first.shape == second.shape
    return same_kind and first.tobytes("C") == second.tobytes("C")


@pytest.mark.parametrize("name", CASES)
def test_round_trip_is_exact(name: str) -> None:
    assert same_bits(tensors.unpack(tensors.pack({name: CASES[name]}))[name], CASES[name])


@given(hnp.arrays(hnp.scalar_dtypes().filter(lambda d: d in tensors._NAMES), hnp.array_shapes()))
def test_any_array_survives(array: npt.NDArray[Any]) -> None:
    little = array.astype(array.dtype.newbyteorder("<"))
    assert same_bits(tensors.unpack(tensors.pack({"x": array}))["x"], little)


def test_bytes_do_not_depend_on_memory_layout() -> None:
    assert tensors.pack({"x": TRANSPOSED}) == tensors.pack({"x": TRANSPOSED.copy(order="C")})


def test_views_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        tensors.unpack(tensors.pack({"x": np.ones(2)}))["x"][0] = 5


@pytest.mark.parametrize("dtype", [object, "U3", np.complex128])
def test_what_cannot_travel_is_named(dtype: Any) -> None:
    with pytest.raises(Invalid, match="tensor 'odd' has dtype"):
        tensors.pack({"odd": np.zeros(2, dtype=dtype)})


@given(st.binary(max_size=64))
def test_rubbish_is_refused_not_crashed_on(data: bytes) -> None:
    with pytest.raises(Invalid, match="complete safetensors"):
        tensors.unpack(data + b"\xff" * 9)


@given(st.integers(min_value=0, max_value=10_000))
def test_a_cut_message_is_refused(cut: int) -> None:
    whole = tensors.pack({"a": np.arange(40.0), "b": np.ones((3, 3), dtype=np.float32)})
    with pytest.raises(Invalid, match="complete safetensors"):
        tensors.unpack(whole[: cut % len(whole)])


def test_a_file_is_the_old_or_the_new_never_half(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.safetensors"
    digest = tensors.save({"x": np.ones(3)}, path)
    assert files.sha256_of(path) == digest

    def fail_in_the_middle() -> None:
        with files.atomic_file(path) as file:
            file.write(b"half")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail_in_the_middle()
    assert same_bits(tensors.load(path)["x"], np.ones(3))
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("content", [b"", b"\x05", b"not tensors at all, but long enough"])
def test_a_file_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(Invalid, match=r"model\.safetensors"):
        tensors.load(path)
