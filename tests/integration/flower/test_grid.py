"""Flower's grid over assignments and blobs, for an app's own ServerApp."""

import time

import ml_dtypes
import numpy as np
from flower_server import Client, FlowerServer, arrays, to
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from fedops.core.states import AssignmentStatus
from fedops.flower.grid.assignment_grid import AssignmentGrid

# --- there and back ----------------------------------------------------------------------------


def test_every_record_comes_back_as_it_went(grid: AssignmentGrid) -> None:
    content = RecordDict(
        {
            "model": arrays(),
            "half": ArrayRecord(
                {
                    "b": Array(
                        "bfloat16", (2,), "fedops.raw", np.ones(2, ml_dtypes.bfloat16).tobytes()
                    ),
                    "odd": Array("my-dtype", (3,), "my-own", b"xyz"),
                }
            ),
            "nothing": ArrayRecord(),
            "numbers": MetricRecord({"loss": 0.5, "counts": [1, 2]}),
            "told": ConfigRecord({"lr": 0.1, "key": b"\x00\x01", "names": ["a", "b"], "on": True}),
        }
    )
    for kind in ("train", "evaluate", "query", "train.finetune"):
        messages = [to(node, content, kind) for node in grid.get_node_ids()]
        replies = grid.send_and_receive(messages)
        assert [reply.metadata.src_node_id for reply in replies] == grid.get_node_ids()
        for reply in replies:
            assert reply.metadata.message_type == kind
            assert not reply.has_error()
            got = reply.content
            assert dict(got.metric_records["numbers"]) == {"loss": 0.5, "counts": [1, 2]}
            assert dict(got.config_records["told"]) == dict(content.config_records["told"])
            for name in ("model", "half", "nothing"):
                given = content.array_records[name]
                assert {
                    k: (a.dtype, tuple(a.shape)) for k, a in got.array_records[name].items()
                } == {k: (a.dtype, tuple(a.shape)) for k, a in given.items()}
            assert got.array_records["model"]["w"].numpy().tobytes() == (
                content.array_records["model"]["w"].numpy().tobytes()
            )
            assert got.array_records["half"]["odd"].data == b"xyz"


def test_shared_arrays_are_handed_over_once_and_shared_contents_are_one_document(
    grid: AssignmentGrid, server: FlowerServer
) -> None:
    content = RecordDict({"model": arrays()})
    stored: list[str] = []
    hand_over = server.hand_over
    server.hand_over = lambda body: (stored.append(body.sha256), hand_over(body))[1]  # type: ignore[method-assign]
    grid.send_and_receive([to(node, content) for node in grid.get_node_ids()])
    grid.send_and_receive(
        [to(node, RecordDict({"model": arrays()})) for node in grid.get_node_ids()]
    )
    assert len(stored) == 1
    assert [len(batch.instructions) for batch in server.batches] == [1, 3]
    assert {one.status for one in server.assignments} == {AssignmentStatus.CHECKED}
    assert list((server.folder / "attempt-1").iterdir()) == []


def test_messages_may_be_pushed_and_pulled(grid: AssignmentGrid) -> None:
    nodes = list(grid.get_node_ids())
    ids = grid.push_messages([to(nodes[0]), to(nodes[1]), to(nodes[0]), to(nodes[0], kind="query")])
    assert len(set(ids)) == 4
    got: list[Message] = []
    deadline = time.monotonic() + 10
    while len(got) < 4 and time.monotonic() < deadline:
        got += grid.pull_messages(ids)
    assert sorted(reply.metadata.reply_to_message_id for reply in got) == sorted(ids)
    assert list(grid.pull_messages(ids)) == []


def test_a_device_has_one_message_of_a_kind_at_a_time(
    grid: AssignmentGrid, server: FlowerServer
) -> None:
    node = next(iter(grid.get_node_ids()))
    replies = grid.send_and_receive(
        [to(node, RecordDict({"n": MetricRecord({"n": n})})) for n in range(5)]
    )
    assert [reply.content["n"]["n"] for reply in replies] == list(range(5))
    assert [len(batch.offers) for batch in server.batches] == [1] * 5


def test_create_message_and_what_a_grid_says_of_itself(grid: AssignmentGrid) -> None:
    message = grid.create_message(RecordDict(), "query", 7, "3")
    assert (message.metadata.dst_node_id, message.metadata.group_id) == (7, "3")
    assert grid.run.run_id == 5
    assert [node.name for node in grid.get_nodes()] == ["pi-1", "pi-2", "pi-3"]


def test_only_devices_that_are_there_are_nodes_and_busy_ones_come_last(
    grid: AssignmentGrid, server: FlowerServer
) -> None:
    server.unavailable["pi-2"] = "offline"
    server.busy["pi-1"] = 9
    assert list(grid.get_node_ids()) == [server.node_ids["pi-3"], server.node_ids["pi-1"]]


def test_the_group_is_what_is_shown_as_the_round(
    grid: AssignmentGrid, server: FlowerServer
) -> None:
    node = next(iter(grid.get_node_ids()))
    grid.send_and_receive([to(node, group_id="warm-up")])
    grid.send_and_receive([to(node, RecordDict({"config": ConfigRecord({"server-round": 4})}))])
    assert [batch.group_id for batch in server.batches] == ["warm-up", "4"]


# --- what goes wrong ---------------------------------------------------------------------------


def test_flowers_own_strategy_runs_on_it(grid: AssignmentGrid, server: FlowerServer) -> None:
    def client(step: float, examples: int) -> Client:
        def answer(message: Message) -> Message:
            received = message.content["arrays"]["w"].numpy()
            metrics = MetricRecord({"num-examples": examples, "loss": step})
            content = RecordDict({"metrics": metrics})
            if message.metadata.message_type == "train":
                content["arrays"] = ArrayRecord({"w": Array(received + step)})
            return Message(content, reply_to=message)

        return answer

    for name, step, examples in (("pi-1", 1.0, 1), ("pi-2", 2.0, 2), ("pi-3", 4.0, 1)):
        server.join(name, client(step, examples))
    strategy = FedAvg(min_train_nodes=3, min_evaluate_nodes=3, min_available_nodes=3)
    start = ArrayRecord({"w": Array(np.zeros(4))})
    result = strategy.start(grid=grid, initial_arrays=start, num_rounds=3, timeout=20)
    np.testing.assert_allclose(result.arrays["w"].numpy(), np.full(4, 3 * 9 / 4))
    assert {batch.group_id for batch in server.batches} == {"1", "2", "3"}
