"""What goes wrong between an app's own ServerApp and its clients: failed, late, gone, rejected, ended."""

import time

import pytest
from flower_server import FlowerServer, arrays, echo, failed, to
from flwr.app import Array, ArrayRecord, Message, RecordDict
from in_memory_federation import AttemptSuperseded

from fedops.core.errors import Invalid
from fedops.core.states import AssignmentStatus
from fedops.engine.link.exit_reasons import StopRequested
from fedops.flower.codec.compat import (
    APP_RAISED,
    NODE_UNAVAILABLE,
)
from fedops.flower.grid import assignment_grid
from fedops.flower.grid.assignment_grid import AssignmentGrid


def test_a_client_that_fails_is_an_error_with_its_words(
    grid: AssignmentGrid, server: FlowerServer
) -> None:
    server.join("pi-2", failed)
    replies = list(grid.send_and_receive([to(node) for node in grid.get_node_ids()]))
    errors = {r.metadata.src_node_id: r.error for r in replies if r.has_error()}
    assert list(errors) == [server.node_ids["pi-2"]]
    (error,) = errors.values()
    assert (error.code, error.reason) == (APP_RAISED, "ValueError: no such column")


def test_who_is_late_is_an_error_after_the_timeout(
    grid: AssignmentGrid, server: FlowerServer
) -> None:
    server.join("pi-2", lambda message: None)
    nodes = [*grid.get_node_ids(), server.node_ids["pi-2"]]
    replies = list(grid.send_and_receive([to(node) for node in nodes], timeout=0.5))
    errors = [r.error for r in replies if r.has_error()]
    assert [error.code for error in errors] == [NODE_UNAVAILABLE] * 2
    assert {one.status for one in server.of_device("pi-2")} == {AssignmentStatus.EXPIRED}


def test_without_a_timeout_the_tasks_deadline_counts(
    grid: AssignmentGrid, server: FlowerServer
) -> None:
    node = next(iter(grid.get_node_ids()))
    grid.send_and_receive([to(node)])
    grid.push_messages([to(node, ttl=7.0)])
    grid.send_and_receive([to(node, kind="query")], timeout=3.0)
    seconds = [batch.deadline_seconds for batch in server.batches]
    assert seconds == pytest.approx([20.0, 7.0, 3.0], abs=0.5)


def test_devices_that_stay_away_are_given_up(
    grid: AssignmentGrid, server: FlowerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment_grid, "GONE_GRACE_SECONDS", 0.2)
    server.join("pi-3", lambda message: server.gone("pi-3", "offline, last seen 9 s ago"))  # type: ignore[func-returns-value]
    began = time.monotonic()
    replies = list(grid.send_and_receive([to(node) for node in grid.get_node_ids()]))
    assert time.monotonic() - began < 12
    (error,) = [reply.error for reply in replies if reply.has_error()]
    assert error.reason == "offline, last seen 9 s ago"


def test_a_node_that_there_is_not(grid: AssignmentGrid) -> None:
    (reply,) = grid.send_and_receive([to(99)])
    assert reply.error.code == NODE_UNAVAILABLE
    assert "no device with the node id 99" in reply.error.reason
    (id_,) = grid.push_messages([to(99)])
    (reply,) = grid.pull_messages([id_])
    assert reply.metadata.reply_to_message_id == id_


def test_a_timeout_of_nothing_waits_for_nobody(grid: AssignmentGrid, server: FlowerServer) -> None:
    server.join("pi-1", lambda message: None)
    began = time.monotonic()
    (reply,) = grid.send_and_receive([to(server.node_ids["pi-1"])], timeout=0)
    assert time.monotonic() - began < 5.0
    assert reply.error.code == NODE_UNAVAILABLE


def test_a_message_that_cannot_be_sent_keeps_back_those_beside_it(
    grid: AssignmentGrid, server: FlowerServer
) -> None:
    first, second, *_ = grid.get_node_ids()
    wrong = Array(dtype="float32", shape=(3,), stype="numpy.ndarray", data=b"no array at all")
    content = RecordDict({"model": ArrayRecord({"w": wrong})})
    with pytest.raises(Invalid):
        grid.push_messages([to(first), to(second, content)])
    grid.send_and_receive([to(second)])
    assert [offer.device for batch in server.batches for offer in batch.offers] == ["pi-2"]


def test_a_result_that_cannot_be_read_is_rejected(
    grid: AssignmentGrid, server: FlowerServer
) -> None:
    deliver = server.deliver
    server.deliver = lambda one, data: deliver(one, data[:-3])  # type: ignore[method-assign]
    node = next(iter(grid.get_node_ids()))
    (reply,) = grid.send_and_receive([to(node, RecordDict({"model": arrays()}))])
    assert "cannot be read" in reply.error.reason
    assert server.assignments[0].status is AssignmentStatus.REJECTED


def test_a_reply_that_the_server_takes_back_is_an_error(
    grid: AssignmentGrid, server: FlowerServer
) -> None:
    """As it does when the device is revoked while others are at it still."""

    def waits(message: Message) -> Message:
        deadline = time.monotonic() + 10
        while not grid._replies and time.monotonic() < deadline:
            time.sleep(0.01)
        (one,) = server.of_device("pi-1")
        server.take_back(one, "device revoked")
        return echo(message)

    server.join("pi-2", waits)
    nodes = [server.node_ids[name] for name in ("pi-1", "pi-2")]
    out, there = grid.send_and_receive([to(node) for node in nodes])
    assert (out.error.code, out.error.reason) == (NODE_UNAVAILABLE, "device revoked")
    assert not there.has_error()


@pytest.mark.parametrize("call", ["candidates", "offer", "collect"])
def test_a_superseded_attempt_ends(grid: AssignmentGrid, server: FlowerServer, call: str) -> None:
    server.failing[call] = [AttemptSuperseded("attempt 2 is current")]
    with pytest.raises(AttemptSuperseded):
        grid.send_and_receive([to(node) for node in grid.get_node_ids()])


def test_a_command_ends_the_wait(grid: AssignmentGrid, server: FlowerServer) -> None:
    server.join("pi-1", lambda message: server.order("pause"))  # type: ignore[func-returns-value]
    with pytest.raises(StopRequested):
        grid.send_and_receive([to(node) for node in grid.get_node_ids()])
