"""Orders and updates as Flower messages; what is wrong with an update is one sentence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.core.contracts.training import (
    CONFIG,
    EVAL_METRICS,
    HEADER,
    METRICS,
    ClientMetrics,
    TrainingOrder,
    UpdateHeader,
)
from fedops.core.errors import Invalid
from fedops.engine.update_checks import (
    CheckedUpdate,
    ClientRefused,
    ExpectedUpdate,
    count_not_finite,
)
from fedops.flower.codec.messages import (
    PACKED,
    PIECE_BYTES,
    ClientFailed,
    accept_reply,
    encode_order,
    in_pieces,
    packed_pieces,
    packed_record,
)
from fedops.storage.tensors import Tensors, pack, unpack

CONTRACT = ParameterContract(
    parameters=(
        ParameterSpec(name="w", shape=(2, 3), dtype="float32", rule=ExchangeRule.MEAN),
        ParameterSpec(name="h", shape=(2,), dtype="bfloat16", rule=ExchangeRule.MEAN),
        ParameterSpec(name="n", shape=(), dtype="int64", rule=ExchangeRule.MAX),
        ParameterSpec(name="own", shape=(4,), dtype="float32", rule=ExchangeRule.LOCAL),
    )
)
GOOD: Tensors = {
    "w": np.ones((2, 3), np.float32),
    "h": np.array([1.5, -2], ml_dtypes.bfloat16),
    "n": np.array(7),
}
ORDER = TrainingOrder(
    round=3,
    run_id=5,
    attempt=2,
    task="mnist",
    run_seed=2**62 + 1,
    config={"num_epochs": 1, "model": {"_target_": "a.B"}},
    contract=CONTRACT,
    dataset="MNIST",
    evaluate=True,
    strategy={"proximal-mu": 0.25, "note": "x"},
)
EXPECTED = ExpectedUpdate("pi-3", 5, 3, CONTRACT)
HEAD = UpdateHeader("pi-3", 5, 2, 3, CONTRACT.fingerprint, "MNIST", 1.5, 0.25)


def travelled(message: Message) -> Message:
    """The message as the other side gets it."""
    contents = {key: obj.deflate() for key, obj in get_all_nested_objects(message).items()}
    copy = inflate_object_from_contents(message.object_id, contents)
    assert isinstance(copy, Message)
    return copy


def decode_order(message: Message) -> TrainingOrder:
    return TrainingOrder.from_values(
        dict(message.content.config_records.get(CONFIG, ConfigRecord()))
    )


def decode_tensors(message: Message) -> Tensors:
    return unpack(b"".join(packed_pieces(message.content)))


def encode_reply(
    message: Message,
    head: UpdateHeader,
    tensors: Tensors | None,
    trained: ClientMetrics | None,
    evaluated: ClientMetrics | None,
) -> Message:
    content = RecordDict({HEADER: ConfigRecord(head.values())})
    if tensors is not None:
        content[PACKED] = packed_record(in_pieces(pack(tensors)))
    for name, measured in ((METRICS, trained), (EVAL_METRICS, evaluated)):
        if measured is not None:
            content[name] = MetricRecord(dict(measured.values()))
    return Message(content, reply_to=message)


def order_message() -> Message:
    return encode_order(ORDER, packed_record(in_pieces(pack(GOOD))), "train", 2**63 + 9, 600.0)


def reply(
    head: UpdateHeader = HEAD,
    tensors: Tensors | None = GOOD,
    trained: ClientMetrics | None = ClientMetrics(10, {"train_loss": 0.5}),  # noqa: B008
    evaluated: ClientMetrics | None = None,
) -> Message:
    return travelled(encode_reply(order_message(), head, tensors, trained, evaluated))


def test_an_order_survives_the_way() -> None:
    message = travelled(order_message())
    assert decode_order(message) == ORDER
    assert message.metadata.dst_node_id == 2**63 + 9
    got = decode_tensors(message)
    assert {name: (a.dtype, a.tobytes()) for name, a in got.items()} == {
        name: (a.dtype, a.tobytes()) for name, a in GOOD.items()
    }


def test_what_is_large_travels_in_pieces() -> None:
    data = np.random.default_rng(0).bytes(2 * PIECE_BYTES + 1)
    record = packed_record(in_pieces(data))
    assert [len(array.data) for array in record.values()] == [PIECE_BYTES, PIECE_BYTES, 1]
    assert b"".join(packed_pieces(RecordDict({"packed": record}))) == data


def test_the_strategy_may_add_numbers_but_not_replace_ours() -> None:
    order = replace(ORDER, strategy={"proximal-mu": 0.25, "run-id": 99})
    got = decode_order(encode_order(order, ArrayRecord(), "train", 1, 60.0))
    assert got.run_id == 5
    assert got.number("proximal-mu") == 0.25
    assert got.number("clipping_norm", 3.0) == 3.0


@pytest.mark.parametrize("key", ["run-id", "attempt", "config-json", "evaluate"])
def test_an_order_without_a_key_is_refused(key: str) -> None:
    message = order_message()
    del message.content.config_records["config"][key]
    with pytest.raises(Invalid, match=f"no '{key}'"):
        decode_order(message)


def test_a_message_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(Invalid, match="no 'server-round'"):
        decode_order(Message(RecordDict(), 1, "train"))


def test_a_good_reply_passes(tmp_path: Path) -> None:
    message = reply(evaluated=ClientMetrics(4, {"loss": 2.0, "accuracy": 0.5}))
    checked = accept_reply(message, EXPECTED, tmp_path / "reply")
    data = (tmp_path / "reply").read_bytes()
    assert checked.examples == 10
    assert checked.seconds == 1.75
    assert checked.bytes_up == len(data)
    assert checked.metrics == {"train_loss": 0.5, "eval_loss": 2.0, "eval_accuracy": 0.5}
    assert data == pack(GOOD)


def test_an_evaluation_needs_no_tensors(tmp_path: Path) -> None:
    message = reply(tensors=None, trained=None, evaluated=ClientMetrics(4, {"loss": 2.0}))
    checked = accept_reply(message, replace(EXPECTED, trains=False), tmp_path / "reply")
    assert checked.evaluated == ClientMetrics(4, {"loss": 2.0})
    assert list(tmp_path.iterdir()) == []


def changed(**tensors: Any) -> Tensors:
    return {name: array for name, array in {**GOOD, **tensors}.items() if array is not None}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            changed(w=np.ones((3, 2), np.float32)),
            r"'w' is float32\[3, 2\] in it and float32\[2, 3\] in the model",
        ),
        (changed(w=np.ones((3,), np.float32)), r"'w' is float32\[3\] in it"),
        (
            changed(w=np.ones((2, 3))),
            r"'w' is float64\[2, 3\] in it and float32\[2, 3\] in the model",
        ),
        (changed(n=None), r"it lacks 'n', which is int64\[\] in the model"),
        (changed(x=np.ones(1)), "it holds 'x', which is no exchanged tensor"),
        (changed(own=np.ones(4, np.float32)), "it holds 'own', which is no exchanged tensor"),
        (
            changed(w=np.array([[1, np.nan, 1], [1, -np.inf, 1]], np.float32)),
            "2 of 6 values of 'w' are NaN",
        ),
        (
            changed(h=np.array([np.inf, 1], ml_dtypes.bfloat16)),
            "1 of 2 values of 'h' are NaN or inf",
        ),
    ],
)
def test_wrong_tensors_are_refused_with_both_sides_shown(
    tensors: Tensors, message: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=f"^the reply of device 'pi-3' is refused: {message}"):
        accept_reply(reply(tensors=tensors), EXPECTED, tmp_path / "reply")


@pytest.mark.parametrize("examples", [0, -3, 2.5, 2**60])
def test_the_number_of_examples_must_be_positive(examples: Any, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="'pi-3' is refused: its number of examples"):
        accept_reply(reply(trained=ClientMetrics(examples, {})), EXPECTED, tmp_path / "reply")


def test_metrics_must_be_finite(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="its metric 'train_loss' is nan"):
        accept_reply(
            reply(trained=ClientMetrics(1, {"train_loss": float("nan")})), EXPECTED, tmp_path
        )
    with pytest.raises(Invalid, match="its metric 'loss' is inf"):
        accept_reply(reply(evaluated=ClientMetrics(1, {"loss": float("inf")})), EXPECTED, tmp_path)


def test_examples_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="does not say how many examples"):
        accept_reply(reply(trained=None), EXPECTED, tmp_path / "reply")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (replace(HEAD, device="pi-4"), "it is for device 'pi-4', and device 'pi-3' was asked"),
        (replace(HEAD, run_id=6), "it is for run 6, and run 5 was asked"),
        (replace(HEAD, round=2), "it is for round 2, and round 3 was asked"),
        (replace(HEAD, fingerprint="0" * 16), "its model has the fingerprint '0000000000000000'"),
    ],
)
def test_a_reply_to_something_else_is_refused(
    head: UpdateHeader, message: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=message):
        accept_reply(reply(head), EXPECTED, tmp_path / "reply")


def test_a_device_may_refuse(tmp_path: Path) -> None:
    head = replace(HEAD, refused="the model differs", fingerprint="")
    with pytest.raises(ClientRefused, match="the model differs"):
        accept_reply(reply(head, None, None), EXPECTED, tmp_path / "reply")


def test_an_error_reply_is_a_breakdown_of_the_device(tmp_path: Path) -> None:
    message = Message(Error(1, "ValueError: no such file"), reply_to=order_message())
    with pytest.raises(ClientFailed, match=r"^ValueError: no such file"):
        accept_reply(message, EXPECTED, tmp_path / "reply")


def _cut(content: RecordDict) -> None:
    data = pack(GOOD)[:-2]
    content["packed"] = packed_record(in_pieces(data))


def _plain(content: RecordDict) -> None:
    content["packed"] = ArrayRecord({"packed": Array(np.ones(3))})


def _lying(content: RecordDict) -> None:
    content["packed"] = ArrayRecord({"00000": Array(np.ones(3))})


def _out_of_order(content: RecordDict) -> None:
    content["packed"] = ArrayRecord(dict(reversed(packed_record([b"a", b"b"]).items())))


def _two(content: RecordDict) -> None:
    content["more"] = packed_record([b""])


def _none(content: RecordDict) -> None:
    del content["packed"]


def _headless(content: RecordDict) -> None:
    content["reply"] = ConfigRecord()


def _listed(content: RecordDict) -> None:
    content["metrics"] = MetricRecord({"num-examples": 3, "losses": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "safetensors"),
        (_plain, "it must hold the pieces of 'packed'"),
        (_lying, "is no fedops.safetensors: it says"),
        (_out_of_order, "it must hold the pieces"),
        (_two, "and no other arrays"),
        (_none, "it must hold the pieces"),
        (_headless, "no 'device' of type str"),
        (_listed, "its metric 'losses'"),
    ],
)
def test_a_damaged_reply_is_refused(
    damage: Callable[[RecordDict], None], message: str, tmp_path: Path
) -> None:
    broken = reply()
    damage(broken.content)
    with pytest.raises(Invalid, match=message):
        accept_reply(broken, EXPECTED, tmp_path / "reply")


def test_values_are_counted_over_pieces() -> None:
    big = np.zeros(1_200_000, np.float32)
    big[[0, 600_000, -1]] = np.nan
    assert count_not_finite(big) == 3
    assert count_not_finite(np.array(3)) == 0
    assert isinstance(CheckedUpdate(HEAD, None, None, 0).examples, int)
