"""A safetensors file read and rewritten piece by piece."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from fedops.core.errors import Invalid
from fedops.storage.atomic_files import write_atomic
from fedops.storage.tensors import PIECE, TensorFile, load, pack, save

MODEL = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1.5, -0.0, np.inf], dtype=ml_dtypes.bfloat16),
    "n": np.array(7, dtype=np.int64),
    "none": np.zeros((0, 3), np.float16),
    "flags": np.array([True, False]),
    "t": np.arange(6, dtype=np.float64).reshape(2, 3).T,
}


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    save(MODEL, tmp_path / "m")
    file = TensorFile(tmp_path / "m")
    assert set(file) == set(MODEL)
    for name, array in MODEL.items():
        assert file[name].dtype == array.dtype
        assert file[name].shape == array.shape
        assert file[name].tobytes() == array.tobytes("C")


def test_a_piece_is_flat_in_c_order(tmp_path: Path) -> None:
    save(MODEL, tmp_path / "m")
    assert TensorFile(tmp_path / "m").piece("t", 1, 4).tolist() == [3.0, 1.0, 4.0]


def test_a_rewritten_file_is_the_file_that_saving_would_make(tmp_path: Path) -> None:
    big = {"a": np.arange(2 * PIECE + 3, dtype=np.float32), **MODEL}
    other = {
        name: np.array(array * 0 if array.dtype.kind in "if" else array)
        for name, array in big.items()
    }
    save(big, tmp_path / "template")
    digest = TensorFile(tmp_path / "template").rewrite(
        tmp_path / "new", lambda names, start, stop: other[names[0]].reshape(-1)[start:stop]
    )
    assert digest == save(other, tmp_path / "saved")
    assert (tmp_path / "new").read_bytes() == (tmp_path / "saved").read_bytes()


def test_a_rewrite_refuses_pieces_of_another_dtype_and_leaves_nothing(tmp_path: Path) -> None:
    save({"w": np.zeros(3, np.float32)}, tmp_path / "m")
    with pytest.raises(Invalid, match="'w' is float32"):
        TensorFile(tmp_path / "m").rewrite(tmp_path / "new", lambda *_: np.zeros(3))
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    write_atomic(tmp_path / "m", pack(MODEL)[:keep])
    with pytest.raises(Invalid, match="cannot read the tensors in"):
        TensorFile(tmp_path / "m")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No such file"):
        TensorFile(tmp_path / "m")


@pytest.mark.parametrize(
    "row",
    [
        '{"dtype":"F32","shape":[3],"data_offsets":[0,8]}',
        '{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}',
        '{"dtype":"F99","shape":[2],"data_offsets":[0,8]}',
        '{"dtype":"F32","shape":[2],"data_offsets":[4,12]}',
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, row: str) -> None:
    header = f'{{"w":{row}}}'.encode()
    write_atomic(tmp_path / "m", len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(Invalid):
        TensorFile(tmp_path / "m")
    with pytest.raises(Invalid):
        load(tmp_path / "m")


def test_neighbours_of_a_kind_are_read_and_written_as_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    many = {f"w{i}": rng.normal(size=i * 7 % 11).astype(np.float32) for i in range(9)}
    save({**many, "n": np.array(7)}, tmp_path / "m")
    file = TensorFile(tmp_path / "m")
    (names,) = [group for group in file.neighbours(lambda _: "all") if "w1" in group]
    assert set(names) == set(many)
    whole = np.concatenate([many[name] for name in names])
    flat = file.flat(names)
    assert flat.size == whole.size
    for start, stop in ((0, whole.size), (3, 20), (whole.size - 1, whole.size), (5, 5)):
        found = flat.read(start, np.empty(stop - start, np.float32))
        assert found.tobytes() == whole[start:stop].tobytes()
    scattered = file.flat(names[::-2])
    whole = np.concatenate([many[name] for name in names[::-2]])
    assert scattered.read(4, np.empty(9, np.float32)).tobytes() == whole[4:13].tobytes()

    def doubled(group: tuple[str, ...], start: int, stop: int) -> np.ndarray:
        return 2 * file.flat(group).read(start, np.empty(stop - start, file.dtype(group[0])))

    digest = file.rewrite(tmp_path / "new", doubled, lambda _: "all", durable=False)
    twice = {name: 2 * array for name, array in many.items()}
    assert digest == save({**twice, "n": np.array(14)}, tmp_path / "saved")


def test_a_file_cut_short_while_it_is_read_is_refused(tmp_path: Path) -> None:
    save({"w": np.zeros(30, np.float32)}, tmp_path / "m")
    file = TensorFile(tmp_path / "m")
    with (tmp_path / "m").open("r+b") as stream:
        stream.truncate(100)
    with pytest.raises(Invalid, match="it was cut short"):
        file["w"]
