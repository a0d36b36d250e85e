"""What FedOps uses of Flower beyond its public API is there and does what we take it to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedops.flower.codec.compat import (
    APP_RAISED,
    LOAD_FAILED,
    NODE_UNAVAILABLE,
    build_fab,
    make_message,
    node_info,
    run_info,
    take_task_identity,
)

APP = Path(__file__).parents[2] / "apps" / "mnist-xai"


@pytest.fixture(autouse=True)
def no_identity() -> Iterator[None]:
    yield
    TaskIdentity._run_id = TaskIdentity._node_id = TaskIdentity._task_id = None


def message(**changed: object) -> Message:
    fields = {
        "run_id": 12,
        "message_id": "m-1",
        "src": 1,
        "dst": 2**62 + 5,
        "group_id": "3",
        "kind": "train.finetune",
        "ttl": 60.0,
    }
    return make_message(RecordDict(), **{**fields, **changed})  # type: ignore[arg-type]


def test_a_message_is_made_in_any_process() -> None:
    metadata = message().metadata
    assert (metadata.run_id, metadata.message_id, metadata.group_id) == (12, "m-1", "3")
    assert (metadata.src_node_id, metadata.dst_node_id) == (1, 2**62 + 5)
    assert metadata.message_type == "train.finetune"
    assert metadata.ttl == 60.0


def test_a_reply_goes_back_to_who_asked() -> None:
    asked = message()
    for reply in (Message(RecordDict(), reply_to=asked), Message(Error(2, "no"), reply_to=asked)):
        assert reply.metadata.reply_to_message_id == "m-1"
        assert (reply.metadata.src_node_id, reply.metadata.dst_node_id) == (2**62 + 5, 1)
        assert reply.metadata.message_type == "train.finetune"


def test_an_unknown_type_of_message_is_refused() -> None:
    with pytest.raises(ValueError, match="message type"):
        message(kind="bake")


def test_apps_may_build_messages_once_the_process_has_an_identity() -> None:
    with pytest.raises(RuntimeError):
        Message(RecordDict(), 5, "query")
    take_task_identity(run_id=12, node_id=1)
    built = Message(RecordDict(), 5, "query")
    assert (built.metadata.run_id, built.metadata.src_node_id) == (12, 1)


def test_what_a_grid_says_of_its_run_and_nodes() -> None:
    assert run_info(12).run_id == 12
    info = node_info(2**62 + 5, "bench-1")
    assert (info.node_id, info.name) == (2**62 + 5, "bench-1")


def test_the_codes_of_errors_differ() -> None:
    assert len({APP_RAISED, LOAD_FAILED, NODE_UNAVAILABLE}) == 3


def test_an_app_becomes_one_file() -> None:
    first = build_fab(APP, {"added.py": b"x = 1\n"})
    assert first[:2] == b"PK"
    assert b"added.py" in first
