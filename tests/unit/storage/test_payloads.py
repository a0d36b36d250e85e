"""The records of a message as one safetensors file."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from fedops.core.contracts import BlobRef
from fedops.core.errors import Invalid
from fedops.storage import payloads
from fedops.storage.payloads import Payload, RawArray, make_document, pack_payload, read_payload
from fedops.storage.tensors import pack

FULL = Payload(
    arrays={
        "arrays": {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((), np.int64)}
    },
    metrics={"metrics": {"num-examples": 12, "loss": math.nan, "losses": [1.0, math.inf]}},
    configs={
        "reply": {"device": "pi-1", "key": b"\x00\xff", "flags": [True, False], "n": 3, "x": 3.0}
    },
)


def test_everything_comes_back(tmp_path: Path) -> None:
    payloads.write_payload(FULL, tmp_path / "u.safetensors")
    found = read_payload(tmp_path / "u.safetensors")
    assert list(found.arrays["arrays"]) == ["w", "b"]
    for name, array in FULL.arrays["arrays"].items():
        np.testing.assert_array_equal(found.arrays["arrays"][name], array)
    assert found.configs == FULL.configs
    assert isinstance(found.configs["reply"]["x"], float)
    metrics = found.metrics["metrics"]
    assert metrics["num-examples"] == 12
    assert math.isnan(metrics["loss"])
    assert metrics["losses"] == [1.0, math.inf]


def test_any_tool_opens_it(tmp_path: Path) -> None:
    payloads.write_payload(FULL, tmp_path / "u.safetensors")
    assert load_file(tmp_path / "u.safetensors").keys() == {"w", "b"}


def test_several_array_records_and_arrays_that_safetensors_has_no_type_for() -> None:
    raw = RawArray("datetime64[s]", (2,), "numpy.ndarray", b"anything")
    sent = Payload(arrays={"a": {"w": np.ones(2, np.float32)}, "b": {"w": raw}})
    found = payloads.unpack_payload(pack_payload(sent))
    np.testing.assert_array_equal(found.arrays["a"]["w"], np.ones(2, np.float32))
    assert found.arrays["b"]["w"] == raw


def test_without_arrays_it_is_a_file_too() -> None:
    found = payloads.unpack_payload(pack_payload(Payload(metrics={"m": {"x": 1}})))
    assert (found.metrics, found.arrays) == ({"m": {"x": 1}}, {})


def test_the_bytes_are_the_same_in_every_process() -> None:
    script = (
        "import numpy as np, hashlib; from fedops.storage.payloads import Payload, pack_payload;"
        "p = Payload({'a': {'w': np.ones(3, np.float32)}}, {'m': {'x': 1, 'a': 2}}, {'c': {'k': 'v'}});"
        "print(hashlib.sha256(pack_payload(p)).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(3)
    }
    assert len(seen) == 1


def test_a_document_names_the_blobs_of_its_arrays() -> None:
    blob = BlobRef(sha256="a" * 64, size=10)
    document = make_document(Payload(configs={"config": {"lr": 0.1}}), {"arrays": (blob, ["w"])})
    assert payloads.blobs_of(json.loads(json.dumps(document))) == {"arrays": blob}
    whole = payloads.assemble(document, {}, {"a" * 64: {"w": np.ones(1)}})
    assert whole.configs == {"config": {"lr": 0.1}}
    assert list(whole.arrays["arrays"]) == ["w"]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"version": 2, "records": {}},
        {"version": 1, "records": []},
        {"version": 1, "records": {"a": 1}},
        {"version": 1, "records": {"a": {"type": "array", "tensors": [["x"]]}}},
        {"version": 1, "records": {"a": {"type": "odd", "values": {}}}},
        {"version": 1, "records": {str(i): {"type": "metric", "values": {}} for i in range(1_001)}},
        {"version": 1, "records": {"a": {"type": "array", "tensors": [["no", "no"]]}}},
        {"version": 1, "records": {"a": {"type": "config", "values": {"k": {"bytes": "%"}}}}},
    ],
)
def test_what_is_no_payload_is_refused(document: Any) -> None:
    data = pack({"w": np.ones(1)}, {"fedops": json.dumps(document)})
    with pytest.raises(Invalid):
        payloads.unpack_payload(data)


def test_a_model_without_metadata_is_no_result_of_a_client() -> None:
    with pytest.raises(Invalid, match="no metadata"):
        payloads.unpack_payload(pack({"w": np.ones(1)}))
