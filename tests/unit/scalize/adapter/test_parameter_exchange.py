"""The exchange rules: what a tensor is decides, and what [exchange] declares; never a name by chance."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from fedops.config.schema import Exchange
from fedops.core.contracts import ExchangeRule
from fedops.core.errors import Invalid
from fedops.scalize.adapter.parameter_exchange import (
    TensorInfo,
    build_contract,
    check_tensors,
    incoming,
    outgoing,
)

MODEL = [
    TensorInfo("subnet.weight", (2, 3), "float32"),
    TensorInfo("bnorm_head.weight", (3,), "bfloat16", trainable=False),
    TensorInfo("norm.running_mean", (3,), "float32", buffer=True),
    TensorInfo("norm.steps", (), "int64", buffer=True),
    TensorInfo("mask", (2,), "bool", buffer=True),
]


def rules(**exchange: object) -> dict[str, str]:
    contract = build_contract(MODEL, Exchange.model_validate(exchange))
    return {spec.name: spec.rule.value for spec in contract.parameters}


def test_the_kind_of_tensor_decides() -> None:
    assert rules() == {
        "subnet.weight": "mean",
        "bnorm_head.weight": "mean",
        "norm.running_mean": "mean",
        "norm.steps": "max",
        "mask": "max",
    }


def test_buffers_and_patterns_may_stay_local() -> None:
    found = rules(float_buffers="local", integer_buffers="local", local=["bnorm_head.*"])
    assert found == {
        "subnet.weight": "mean",
        "bnorm_head.weight": "local",
        "norm.running_mean": "local",
        "norm.steps": "local",
        "mask": "local",
    }


def test_the_contract_keeps_order_and_says_what_is_trained() -> None:
    contract = build_contract(MODEL, Exchange())
    assert [spec.name for spec in contract.parameters] == [info.name for info in MODEL]
    assert [spec.trainable for spec in contract.parameters] == [True, False, False, False, False]


def test_a_pattern_that_fits_nothing_is_a_mistake() -> None:
    with pytest.raises(
        Invalid, match=r"'subnet.wieght' fits no tensor.*did you mean 'subnet.weight'\?"
    ):
        rules(local=["subnet.wieght"])


def test_something_must_travel() -> None:
    with pytest.raises(Invalid, match="keeps all of them local"):
        rules(local=["*"])
    with pytest.raises(Invalid, match="it has none"):
        build_contract([], Exchange())


def test_what_cannot_be_aggregated_must_stay_local() -> None:
    model = [*MODEL, TensorInfo("phase", (2,), "complex64")]
    with pytest.raises(Invalid, match=r"'phase' has dtype complex64.*local = \['phase'\]"):
        build_contract(model, Exchange())
    contract = build_contract(model, Exchange(local=["phase"]))
    assert contract.parameters[-1].rule is ExchangeRule.LOCAL


def test_the_dtype_that_travels_is_that_of_means_only() -> None:
    contract = build_contract(MODEL, Exchange(dtype="float16", local=["bnorm_head.*"]))
    assert [spec.dtype for spec in contract.parameters] == [
        "float16",
        "bfloat16",
        "float16",
        "int64",
        "bool",
    ]


def test_wrong_arrays_are_refused_with_both_sides_shown() -> None:
    contract = build_contract(MODEL, Exchange())
    good = np.zeros((2, 3), np.float32)
    check_tensors(contract, {"subnet.weight": good})
    with pytest.raises(Invalid, match=r"float32\[2, 3\] in the model, float32\[3, 2\] was given"):
        check_tensors(contract, {"subnet.weight": good.T})
    with pytest.raises(Invalid, match=r"float64\[2, 3\] was given"):
        check_tensors(contract, {"subnet.weight": good.astype(np.float64)})
    with pytest.raises(Invalid, match=r"no 'subnet.wight'; did you mean 'subnet.weight'\?"):
        check_tensors(contract, {"subnet.wight": good})
    with pytest.raises(Invalid, match="and 1 more"):
        check_tensors(contract, {name: good for name in "abcd"})


def test_arrays_leave_and_arrive_as_dense_copies_in_their_dtypes() -> None:
    contract = build_contract(MODEL[:2], Exchange(dtype="float16"))
    weight = np.asfortranarray(np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    head = np.array([1, 2, 3], ml_dtypes.bfloat16)
    sent = outgoing(contract, {"bnorm_head.weight": head, "subnet.weight": weight})
    assert list(sent) == ["subnet.weight", "bnorm_head.weight"]
    assert {array.dtype.name for array in sent.values()} == {"float16"}
    assert sent["subnet.weight"].flags["C_CONTIGUOUS"]
    sent["subnet.weight"].flags.writeable = False
    own = {"subnet.weight": "float32", "bnorm_head.weight": "bfloat16"}
    back = incoming(contract, sent, own)
    assert {name: array.dtype.name for name, array in back.items()} == own
    assert back["subnet.weight"].flags.writeable
    assert (back["subnet.weight"] == weight).all()
