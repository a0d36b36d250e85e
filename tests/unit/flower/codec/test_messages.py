"""Orders as Flower messages, and tensors in pieces; what is wrong with pieces is one sentence."""

from collections.abc import Callable
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from fedops.core.contracts import ExchangeRule, ParameterContract, ParameterSpec
from fedops.core.contracts.training import CONFIG, TrainingOrder
from fedops.core.errors import Invalid
from fedops.flower.codec.messages import (
    PIECE_BYTES,
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


def order_message() -> Message:
    return encode_order(ORDER, packed_record(in_pieces(pack(GOOD))), "train", 2**63 + 9, 600.0)


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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_plain, "it must hold the pieces of 'packed'"),
        (_lying, "is no fedops.safetensors: it says"),
        (_out_of_order, "it must hold the pieces"),
        (_two, "and no other arrays"),
        (_none, "it must hold the pieces"),
    ],
)
def test_damaged_pieces_are_refused(damage: Callable[[RecordDict], None], message: str) -> None:
    content = order_message().content
    damage(content)
    with pytest.raises(Invalid, match=message):
        packed_pieces(content)
