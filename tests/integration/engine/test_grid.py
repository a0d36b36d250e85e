"""Flower's grid over assignments and blobs, for an app's own ServerApp."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from paper_federation import Conflict, PaperServer
from paper_work import Assignment
from tiny_app import CONFIG, PYPROJECT, write_app

from fedops.core.contracts import EngineFinish
from fedops.core.errors import Invalid, Unavailable
from fedops.core.states import AssignmentStatus, FailureReason
from fedops.engine.link.exit_reasons import StopRequested, Superseded
from fedops.engine.link.server_link import ServerLink
from fedops.flower.codec.compat import (
    APP_RAISED,
    NODE_UNAVAILABLE,
    make_message,
    take_task_identity,
)
from fedops.flower.codec.records import from_record_dict, to_record_dict
from fedops.flower.grid import assignment_grid
from fedops.flower.grid.assignment_grid import AssignmentGrid
from fedops.flower.server_app import run_attempt
from fedops.storage.payloads import assemble, blobs_of, check_document, pack_payload
from fedops.storage.tensors import load

Client = Callable[[Message], Message | None]


class FlowerServer(PaperServer):
    """A paper server whose clients are Flower's ClientApps."""

    clients: dict[str, Client]

    def join(self, device: str, client: Client) -> None:
        self.add(device, lambda work: None)
        self.clients[device] = client

    def _serve(self, one: Assignment) -> None:
        with self._turn[one.device]:
            document = check_document(one.document)
            files = {ref.sha256: load(self.blob(ref.sha256)) for ref in blobs_of(document).values()}
            asked = make_message(
                to_record_dict(assemble(document, {}, files)),
                run_id=5,
                message_id=one.id,
                src=1,
                dst=self.node_ids[one.device],
                group_id="",
                kind=one.kind,
                ttl=60.0,
            )
            try:
                reply = self.clients[one.device](asked)
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                self._settle(one, AssignmentStatus.FAILED, reason=text, code=APP_RAISED)
                return
            if reply is not None:
                self.deliver(one, pack_payload(from_record_dict(reply.content)))


def echo(message: Message) -> Message:
    return Message(message.content, reply_to=message)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FlowerServer]:
    take_task_identity(5, 1)
    made = FlowerServer({"num_rounds": 1}, tmp_path)
    made.clients = {}
    yield made
    made.close()


@pytest.fixture
def grid(server: FlowerServer, tmp_path: Path) -> Iterator[AssignmentGrid]:
    for name in ("pi-1", "pi-2", "pi-3"):
        server.join(name, echo)
    spool = tmp_path / "attempt-1"
    spool.mkdir()
    with ServerLink(server, 3.0) as link:
        yield AssignmentGrid(link, server.spec(), spool, 20.0)


def arrays(seed: int = 1) -> ArrayRecord:
    return ArrayRecord({"w": Array(np.random.default_rng(seed).normal(size=(2, 3)))})


def to(node: int, content: RecordDict | None = None, kind: str = "train", **more: Any) -> Message:
    return Message(content or RecordDict(), node, kind, **more)


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


def failed(message: Message) -> Message:
    raise ValueError("no such column")


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
    server.failing[call] = [Conflict("attempt 2 is current")]
    with pytest.raises(Superseded):
        grid.send_and_receive([to(node) for node in grid.get_node_ids()])


def test_a_command_ends_the_wait(grid: AssignmentGrid, server: FlowerServer) -> None:
    server.join("pi-1", lambda message: server.order("pause"))  # type: ignore[func-returns-value]
    with pytest.raises(StopRequested):
        grid.send_and_receive([to(node) for node in grid.get_node_ids()])


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


# --- an app's own ServerApp --------------------------------------------------------------------

OWN = """
from flwr.app import Message, RecordDict, ConfigRecord
from flwr.serverapp import ServerApp

server = ServerApp()

@server.main()
def main(grid, context):
    {body}
"""
ASK = """asked = [Message(RecordDict(), node, "query") for node in grid.get_node_ids()]
    replies = list(grid.send_and_receive(asked))
    assert len(replies) == 2 and context.run_config["rounds"] == 3
    print("all have answered")"""


def own_app(folder: Path, body: str) -> Path:
    app = write_app(folder)
    text = PYPROJECT.replace('package = "tiny"', 'package = "tiny"\nserverapp = "own"')
    text = text.replace('mode = "client"', "rounds = 3")
    (app / "pyproject.toml").write_text(text)
    (app / "tiny" / "app.py").write_text(OWN.format(body=body))
    (app / "tiny" / "config.toml").write_text(CONFIG)
    return app


def play(server: FlowerServer, app: Path) -> EngineFinish:
    with ServerLink(server, 3.0) as link:
        run_attempt(app, link)
    return server.finished[-1]


def test_an_own_server_app_is_run_and_what_it_lacks_is_said(
    server: FlowerServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server.join("pi-1", echo)
    server.join("pi-2", echo)
    finish = play(server, own_app(tmp_path / "app", ASK))
    assert finish == EngineFinish(outcome="completed", own_rounds=True)
    assert "(start 1): its rounds are not committed" in caplog.text
    assert [one.kind for one in server.assignments] == ["query", "query"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('raise ValueError("no such thing")', "app.py, line 9)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("undefined", "NameError: name 'undefined' is not defined"),
    ],
)
def test_one_that_fails_fails_the_run(
    server: FlowerServer, tmp_path: Path, body: str, text: str
) -> None:
    finish = play(server, own_app(tmp_path / "app", body))
    assert (finish.outcome, finish.reason) == ("failed", FailureReason.APP_ERROR)
    assert finish.text.startswith("the app's own ServerApp: ")
    assert text in finish.text


def test_one_that_ends_itself_is_done(server: FlowerServer, tmp_path: Path) -> None:
    assert play(server, own_app(tmp_path / "app", "raise SystemExit")).outcome == "completed"


def test_one_that_is_no_server_app(server: FlowerServer, tmp_path: Path) -> None:
    app = own_app(tmp_path / "app", "pass")
    (app / "tiny" / "app.py").write_text("server = 3\n")
    finish = play(server, app)
    assert "is a int, and must be a flwr.serverapp.ServerApp" in finish.text


def test_one_that_lets_no_exception_through_is_stopped_all_the_same(
    server: FlowerServer, tmp_path: Path
) -> None:
    body = """try:
        grid.get_node_ids()
    except Exception:
        pass"""
    server.order("stop")
    assert play(server, own_app(tmp_path / "app", body)).outcome == "stopped"


def test_pauses_and_losses_are_not_counted_here(server: FlowerServer, tmp_path: Path) -> None:
    server.attempt = 9
    assert play(server, own_app(tmp_path / "app", "pass")).outcome == "completed"


def test_a_full_disk_of_the_server_is_waited_for(server: FlowerServer, tmp_path: Path) -> None:
    full = own_app(tmp_path / "app", "raise OSError(28, 'No space left on device')")
    with pytest.raises(Unavailable, match="disk was full"):
        play(server, full)
    assert play(server, own_app(tmp_path / "other", "pass")).outcome == "completed"


def test_another_error_of_a_file_is_the_apps(server: FlowerServer, tmp_path: Path) -> None:
    finish = play(server, own_app(tmp_path / "app", "open('nowhere/table.csv')"))
    assert (finish.outcome, finish.reason) == ("failed", FailureReason.APP_ERROR)
    assert "nowhere/table.csv" in finish.text


def test_an_app_whose_own_one_is_fedops_is_told(server: FlowerServer, tmp_path: Path) -> None:
    body = """from pathlib import Path
    from fedops.flower.run_modes import run_by_mode
    run_by_mode(grid, context, Path(__file__).parents[1])"""
    finish = play(server, own_app(tmp_path / "app", body))
    assert "needs a ServerApp of the app's own" in finish.text
