"""What the round engine may rely on, whoever is at the other end of its line."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_ports import IMPLEMENTATIONS, NAMES, Answer, Asked, Port
from flwr.supercore.task_identity import TaskIdentity
from in_memory_federation import payload_of, strategy_of
from line_model import LineProject, StateMemory, examples, plain_rounds

from fedops.config.loading import parse_config
from fedops.core import contracts as c
from fedops.core.contracts.training import ARRAYS
from fedops.core.states import AssignmentStatus, ParticipationStatus
from fedops.engine.instructions import Instructions, Invitation, ModelBlobs, Orders
from fedops.engine.link.blob_files import BlobFiles
from fedops.engine.link.exit_reasons import RunFailed
from fedops.engine.link.server_link import ServerLink
from fedops.engine.round_engine import RoundEngine
from fedops.engine.run_setup import Setup, prepare_run
from fedops.flower.codec.compat import SERVER_NODE, take_task_identity
from fedops.storage.payloads import Payload
from fedops.storage.tensors import load
from fedops.trainer.device_context import Device
from fedops.trainer.local_round import LocalTrainer

A = AssignmentStatus
ROUNDS = 2
SETTINGS: dict[str, Any] = {
    "num_rounds": ROUNDS,
    "clients_per_round": 3,
    "learning_rate": 0.05,
    "server": {"round": {"max_retries": 0, "min_replies": 2}},
}


@pytest.fixture(autouse=True)
def flower_identity() -> Iterator[None]:
    """Flower's strategies build messages of a run."""
    take_task_identity(1, SERVER_NODE)
    yield
    TaskIdentity._run_id = TaskIdentity._node_id = TaskIdentity._task_id = None


@pytest.fixture(params=IMPLEMENTATIONS)
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Port]:
    with IMPLEMENTATIONS[request.param](tmp_path, SETTINGS) as made:
        made.answers = {name: trains(name, number) for number, name in enumerate(NAMES)}
        yield made


def trains(name: str, number: int) -> Answer:
    """The real client side, with data of its own."""
    data = examples(sum(name.encode()), 4 + number)
    project = LineProject(parse_config(SETTINGS, "the test"), data=data)
    trainer = LocalTrainer(project, Device(name, memory=StateMemory()))
    return lambda asked: payload_of(trainer(asked.order, asked.tensors, asked.kind))


def prepared(port: Port, link: ServerLink) -> Setup:
    project = LineProject(parse_config(SETTINGS, "the test"))
    return prepare_run(project, port.spec, link, strategy_of)


def played(port: Port) -> list[c.RoundCommit]:
    """What the engine commits when it plays all rounds."""
    commits, commit = [], port.api.commit

    def note(body: c.RoundCommit) -> c.CommitReply:
        commits.append(body)
        return commit(body)

    port.api.commit = note  # type: ignore[method-assign]
    with ServerLink(port.api, 5.0) as link:
        RoundEngine(prepared(port, link), link).run()
    return commits


class Hand:
    """Asks clients by hand for the first round, and waits for what becomes of it."""

    def __init__(self, port: Port, link: ServerLink) -> None:
        self.api = port.api
        setup = prepared(port, link)
        files = BlobFiles(link, setup.spool, port.spec.blobs_dir)
        blobs = ModelBlobs.hand_over(setup.model, files, setup.spool)
        self._documents = Instructions(blobs, ["none"])
        order = Orders(setup, 1, "").of(evaluate=False, told={})
        self._invitations = {name: Invitation(1, order, "all") for name in NAMES}
        self.api.candidates()

    def offer(self, *names: str, seconds: float = 60.0) -> dict[str, str]:
        asked = {name: self._invitations[name] for name in names}
        batch = self._documents.batch(asked, seconds, 1)
        body = c.RoundBegin(selected=dict.fromkeys(names, "all"), offers=batch)
        return self.api.begin_round(1, body).assignments

    def collected(self, count: int, after: int = 0, seconds: float = 15.0) -> list[c.Delivery]:
        """So many deliveries, as soon as they are there."""
        found: list[c.Delivery] = []
        until = time.monotonic() + seconds
        while len(found) < count:
            assert time.monotonic() < until, found
            got = self.api.collect(c.CollectRequest(after=after, wait=1.0))
            found, after = [*found, *got.deliveries], got.sequence
        return found


@pytest.fixture
def hand(port: Port) -> Iterator[Hand]:
    with ServerLink(port.api, 5.0) as link:
        yield Hand(port, link)


# --- whole rounds ------------------------------------------------------------------------------


def test_rounds_equal_a_plain_loop_bit_for_bit(port: Port) -> None:
    commits = played(port)
    expected = plain_rounds(NAMES, ROUNDS, seed=port.spec.seed)
    for commit, tensors in zip(commits, expected, strict=True):
        blob = Path(str(port.spec.blobs_dir)) / commit.model[:2] / commit.model[2:]
        found = load(blob)
        assert {k: a.tobytes() for k, a in found.items()} == {
            k: a.tobytes() for k, a in tensors.items()
        }
    assert [asked.kind for asked in port.asked].count("train") == ROUNDS * len(NAMES)


def lost(port: Port, answer: Answer) -> c.ParticipationReport:
    """What the first commit says of a client that answers so, while the round goes on with the others."""
    port.answers[NAMES[1]] = answer
    first = played(port)[0]
    by_name = {one.device: one for one in first.participations}
    assert by_name[NAMES[0]].status is by_name[NAMES[2]].status is ParticipationStatus.REPLIED
    return by_name[NAMES[1]]


def breaks(asked: Asked) -> Payload:
    raise ValueError("no such file")


def test_a_client_that_fails_is_told_of(port: Port) -> None:
    found = lost(port, breaks)
    assert found.status is ParticipationStatus.DROPPED
    assert found.reason is not None
    assert "ValueError: no such file" in found.reason


def test_a_client_may_refuse(port: Port) -> None:
    good = port.answers[NAMES[1]]

    def refuses(asked: Asked) -> Payload:
        made = good(asked)
        header = {**made.configs["reply"], "refused": "no data here"}
        return Payload(configs={"reply": header})

    found = lost(port, refuses)
    assert found.status is ParticipationStatus.REJECTED
    assert found.reason is not None
    assert "no data here" in found.reason


def test_an_update_that_is_wrong_is_asked_for_once_more(port: Port) -> None:
    good, asked_for = port.answers[NAMES[1]], []

    def wrong_once(asked: Asked) -> Payload:
        made = good(asked)
        asked_for.append(asked.order.round)
        if len(asked_for) > 1:
            return made
        tensors = {
            name: np.full_like(a, np.nan) for name, a in made.arrays[ARRAYS].items() if name == "w"
        }
        return Payload({ARRAYS: {**made.arrays[ARRAYS], **tensors}}, made.metrics, made.configs)

    found = lost(port, wrong_once)
    assert found.status is ParticipationStatus.REPLIED
    assert found.reason is not None
    assert "values of 'w' are NaN" in found.reason
    assert asked_for[:2] == [1, 1]


def test_too_few_replies_end_the_run_and_say_why(port: Port) -> None:
    port.answers.update(dict.fromkeys(NAMES[:2], breaks))
    with pytest.raises(RunFailed, match="no such file"):
        played(port)


# --- one call after the other ------------------------------------------------------------------


def waits(port: Port) -> Callable[[], None]:
    """Let the clients wait before they answer. What this gives lets them go on."""
    go_on = threading.Event()

    def held(answer: Answer) -> Answer:
        def answer_later(asked: Asked) -> Payload:
            go_on.wait(20.0)
            return answer(asked)

        return answer_later

    port.answers = {name: held(answer) for name, answer in port.answers.items()}
    return go_on.set


def test_candidates_have_names_and_numbers(port: Port) -> None:
    found = port.api.candidates()
    assert found.command == "continue"
    assert sorted(one.device for one in found.candidates) == NAMES
    assert len({int(one.node_id) for one in found.candidates}) == len(NAMES)
    assert all(one.unavailable is None for one in found.candidates)


def test_what_is_open_is_not_offered_twice(port: Port, hand: Hand) -> None:
    go_on = waits(port)
    first = hand.offer(*NAMES)
    assert hand.offer(*NAMES) == first
    go_on()
    assert sorted(one.id for one in hand.collected(3)) == sorted(first.values())


def test_an_answer_that_is_lost_is_given_again(port: Port, hand: Hand) -> None:
    made = hand.offer(*NAMES)
    found: list[c.Delivery] = []
    until = time.monotonic() + 15.0
    while len(found) < len(NAMES):  # each answer but the last is taken for lost
        assert time.monotonic() < until, found
        found = port.api.collect(c.CollectRequest(after=0, wait=1.0)).deliveries
    assert {one.device: one.status for one in found} == dict.fromkeys(NAMES, A.UPLOADED)
    assert sorted(one.id for one in found) == sorted(made.values())


def test_nothing_new_is_waited_for_no_longer_than_asked(port: Port, hand: Hand) -> None:
    go_on = waits(port)
    hand.offer(NAMES[0])
    begin = time.monotonic()
    assert port.api.collect(c.CollectRequest(after=0, wait=0.4)).deliveries == []
    assert 0.3 < time.monotonic() - begin < 5.0
    go_on()


def test_what_is_cancelled_does_not_count(port: Port, hand: Hand) -> None:
    go_on = waits(port)
    made = hand.offer(*NAMES[:2])
    port.api.cancel(c.CancelRequest(ids=[made[NAMES[0]]], reason="it is not needed"))
    go_on()
    found = {one.device: one for one in hand.collected(2)}
    assert found[NAMES[0]].status not in (A.UPLOADED, A.CHECKED)
    assert found[NAMES[0]].reason == "it is not needed"
    assert found[NAMES[1]].status is A.UPLOADED


def test_who_is_late_is_told_of(port: Port, hand: Hand) -> None:
    go_on = waits(port)
    hand.offer(NAMES[0], seconds=0.5)
    port.pass_time(1.0)
    (found,) = hand.collected(1)
    assert found.status is A.EXPIRED
    go_on()


def test_a_file_that_is_handed_over_can_be_fetched(port: Port, hand: Hand, tmp_path: Path) -> None:
    data = b"momenta" * 1000
    name = Path(port.spec.spool_dir) / "state.bin"
    name.write_bytes(data)
    with ServerLink(port.api, 5.0) as link:
        files = BlobFiles(link, name.parent, None)
        ref = files.hand_over(name, hashlib.sha256(data).hexdigest())
        assert ref.size == len(data)
        name.unlink()
        assert files.fetch(ref, tmp_path / "fetched").read_bytes() == data
