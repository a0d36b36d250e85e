"""Flower's records and payloads hold the same, whichever way they go."""

import io
import math

import ml_dtypes
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedops.core.errors import Invalid
from fedops.flower.codec.records import (
    RAW_STYPE,
    from_array,
    from_record_dict,
    to_array,
    to_record_dict,
)
from fedops.storage.payloads import Payload, RawArray, pack_payload, unpack_payload


def on_the_way(records: RecordDict) -> RecordDict:
    return to_record_dict(unpack_payload(pack_payload(from_record_dict(records))))


def test_a_record_dict_of_every_kind_comes_back() -> None:
    records = RecordDict(
        {
            "arrays": ArrayRecord({"w": Array(np.arange(6, dtype=np.float32).reshape(2, 3))}),
            "more": ArrayRecord({"w": Array(np.array(3, dtype=np.int64))}),
            "metrics": MetricRecord({"n": 3, "loss": 0.25, "each": [1.0, 2.0], "ids": [1, 2]}),
            "config": ConfigRecord(
                {"on": True, "name": "a", "key": b"\x00\xff", "list": ["x", "y"], "none": []}
            ),
        }
    )
    back = on_the_way(records)
    assert back.metric_records == records.metric_records
    assert back.config_records == records.config_records
    assert list(back.array_records) == ["arrays", "more"]
    assert back.array_records["arrays"]["w"] == records.array_records["arrays"]["w"]
    assert back.array_records["more"]["w"].numpy() == np.array(3)


def test_the_order_of_arrays_is_kept() -> None:
    names = ["z", "a", "m"]
    record = ArrayRecord({name: Array(np.zeros(1, np.float32)) for name in names})
    assert list(on_the_way(RecordDict({"arrays": record})).array_records["arrays"]) == names


@pytest.mark.parametrize(
    "dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
)
def test_short_floats_that_flower_does_not_know_are_kept(dtype: type) -> None:
    values = np.array([[1.5, -2.0, 0.0]]).astype(dtype)
    made = to_array(values)
    assert (made.stype, made.dtype, made.shape) == (RAW_STYPE, np.dtype(dtype).name, (1, 3))
    back = from_array(made)
    assert isinstance(back, np.ndarray)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back.view(np.uint8), values.view(np.uint8))


@pytest.mark.parametrize(
    "values",
    [np.array(["ab", "c"]), np.array([1 + 2j]), np.array([1.0], dtype=">f8")],
    ids=["text", "complex128", "big endian"],
)
def test_what_safetensors_cannot_hold_keeps_its_bytes(values: np.ndarray) -> None:
    original = Array(values)
    assert isinstance(from_array(original), RawArray)
    back = on_the_way(RecordDict({"a": ArrayRecord({"x": original})}))
    assert back.array_records["a"]["x"] == original
    np.testing.assert_array_equal(back.array_records["a"]["x"].numpy(), values)


def test_an_array_that_somebody_serialised_keeps_its_bytes() -> None:
    own = Array("float32", (4,), "my.codec", b"\x01\x02")
    back = on_the_way(RecordDict({"a": ArrayRecord({"x": own})}))
    assert back.array_records["a"]["x"] == own


def test_arrays_in_any_layout_come_back_as_they_are() -> None:
    values = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    for array in (values, values[:, ::2], np.empty((0, 3)), np.array(2.5)):
        found = from_array(Array(array))
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, array)


def test_numbers_of_numpy_become_plain_ones() -> None:
    records = RecordDict({"m": MetricRecord({"loss": np.float64("nan")})})
    value = on_the_way(records).metric_records["m"]["loss"]
    assert type(value) is float
    assert math.isnan(value)


def test_bytes_that_are_no_array_are_said_to_be_none() -> None:
    with pytest.raises(Invalid, match="'w'"):
        from_array(Array("float32", (4,), "numpy.ndarray", b"no"), "w")
    with pytest.raises(Invalid, match="'w'"):
        from_array(Array("bfloat16", (4,), RAW_STYPE, b"\x00" * 6), "w")
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Invalid, match="Python objects"):
        from_array(Array("object", (1,), "numpy.ndarray", stream.getvalue()), "w")


def test_an_empty_message_is_one_too() -> None:
    assert on_the_way(RecordDict()) == RecordDict()
    assert from_record_dict(RecordDict()) == Payload()
