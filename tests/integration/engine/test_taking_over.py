"""An engine that dies in mid-round: the next one goes on, and nobody trains what was delivered again."""

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from in_memory_federation import (
    Answer,
    AttemptSuperseded,
    InMemoryFederation,
    Refused,
    Work,
    plain_rounds,
)

from fedops.core.contracts import Delivery, RoundCommit
from fedops.core.states import AssignmentStatus, ParticipationStatus
from fedops.engine import collecting, round_engine
from fedops.engine.link.exit_reasons import RunFailed, StopRequested
from fedops.storage.payloads import Payload
from fedops.storage.tensors import Tensors

THREE = ["pi-1", "pi-2", "pi-3"]
Make = Callable[..., InMemoryFederation]


@pytest.fixture
def federation(tmp_path: Path) -> Any:
    made: list[InMemoryFederation] = []

    def make(*devices: str, **config: Any) -> InMemoryFederation:
        made.append(InMemoryFederation(tmp_path, **{"clients_per_round": 3, **config}))
        made[-1].add(*devices)
        return made[-1]

    yield make
    for each in made:
        each.server.close()


class Gated:
    """A client that trains when it is let to; counts what it trained."""

    def __init__(self, client: Answer, opened: bool = False) -> None:
        self.client = client
        self.gate = threading.Event()
        self.trained: Counter[tuple[str, int]] = Counter()
        if opened:
            self.gate.set()

    def __call__(self, work: Work) -> Payload | Refused | bytes | None:
        assert self.gate.wait(20)
        self.trained[work.kind, work.order.round] += 1
        return self.client(work)


def gated(fed: InMemoryFederation, *names: str, opened: bool = False) -> list[Gated]:
    clients = []
    for name in names:
        clients.append(Gated(fed.client(name), opened))
        fed.server.add(name, clients[-1])
    return clients


def die_when(fed: InMemoryFederation, delivered: int) -> None:
    """Play until so many results are there; then the attempt is superseded."""
    seen: list[Delivery] = []

    def count(delivery: Delivery) -> None:
        seen.append(delivery)
        if len(seen) == delivered:
            fed.server.failing["collect"] = [AttemptSuperseded("killed")]

    fed.server.on_delivery = count
    if delivered == 0:
        playing = fed.play_aside()
        fed.until(lambda: fed.server.asked)
        fed.server.failing["collect"] = [AttemptSuperseded("killed")]
        fed.server.gone("nobody", None)
        assert isinstance(playing.end(), AttemptSuperseded)
    else:
        with pytest.raises(AttemptSuperseded):
            fed.play()
    fed.server.on_delivery = lambda _: None
    fed.server.failing["collect"].clear()


def model(fed: InMemoryFederation, commit: int = -1) -> Tensors:
    return fed.server.tensors(fed.server.commits[commit].model)


def same(one: Tensors, other: Tensors) -> bool:
    return {k: a.tobytes() for k, a in one.items()} == {k: a.tobytes() for k, a in other.items()}


def status(commit: RoundCommit, device: str) -> ParticipationStatus:
    return next(p.status for p in commit.participations if p.device == device)


@pytest.mark.parametrize("delivered", [0, 1, 2, 3])
def test_with_k_of_n_delivered_nobody_trains_again(federation: Make, delivered: int) -> None:
    fed = federation(num_rounds=2)
    clients = gated(fed, *THREE)
    for client in clients[:delivered]:
        client.gate.set()
    die_when(fed, delivered)
    assert fed.server.commits == []
    for client in clients:
        client.gate.set()
    fed.play()
    assert [dict(client.trained) for client in clients] == [
        {("train", 1): 1, ("train", 2): 1, ("evaluate", 2): 1}
    ] * 3
    assert len(fed.server.begun) == 2, "the first round was not begun again"
    assert same(model(fed), plain_rounds(THREE, 2)[-1])
    assert {one.status for one in fed.server.assignments} == {AssignmentStatus.CHECKED}


def test_the_selection_stays_though_others_have_come(federation: Make) -> None:
    fed = federation(num_rounds=1, clients_per_round=2)
    clients = gated(fed, "pi-1", "pi-2")
    clients[0].gate.set()
    die_when(fed, 1)
    fed.add("pi-0", "pi-3", "pi-4")
    clients[1].gate.set()
    fed.play()
    assert {p.device for p in fed.server.commits[0].participations} == {"pi-1", "pi-2"}
    assert "all 2 available clients are needed" in fed.server.begun[0][1]["pi-1"]


def test_after_a_pause_uploads_count_and_the_others_are_asked_anew(federation: Make) -> None:
    fed = federation(num_rounds=1)
    clients = gated(fed, *THREE)
    clients[0].gate.set()
    playing = fed.play_aside()
    fed.until(lambda: any(one.status is AssignmentStatus.CHECKED for one in fed.server.assignments))
    fed.server.order("pause")
    assert isinstance(playing.end(), StopRequested)
    fed.server.cancel_undelivered()
    fed.server.order("continue")
    for client in clients:
        client.gate.set()
    fed.play()
    commit = fed.server.commits[0]
    assert {p.status for p in commit.participations} == {ParticipationStatus.REPLIED}
    assert clients[0].trained["train", 1] == 1
    trained = {o.device: o for o in fed.server.assignments if o.kind == "train"}
    assert {device: one.retry for device, one in trained.items()} == dict.fromkeys(THREE, 0)
    assert all(one.evaluates for one in trained.values()), "of those asked anew, too"
    assert same(model(fed), plain_rounds(THREE, 1)[-1])


def test_a_round_whose_deadline_passed_meanwhile_ends_by_quorum(federation: Make) -> None:
    policy = {"round": {"min_replies": 2, "deadline_seconds": 600}}
    fed = federation(num_rounds=1, server=policy)
    clients = gated(fed, *THREE)
    clients[0].gate.set()
    clients[1].gate.set()
    die_when(fed, 2)
    fed.server.expire()
    fed.play()
    commit = fed.server.commits[0]
    assert status(commit, "pi-3") is ParticipationStatus.DROPPED
    assert clients[2].trained["train", 1] == 0
    clients[2].gate.set()


def test_without_a_quorum_the_next_try_asks_again(federation: Make) -> None:
    policy = {"round": {"min_replies": 3, "deadline_seconds": 600}}
    fed = federation(num_rounds=1, server=policy)
    clients = gated(fed, *THREE)
    clients[0].gate.set()
    clients[1].gate.set()
    die_when(fed, 2)
    fed.server.expire()
    fed.server.cancel_undelivered()
    clients[2].gate.set()
    fed.play()
    commit = fed.server.commits[0]
    assert {p.status for p in commit.participations} == {ParticipationStatus.REPLIED}
    assert [client.trained["train", 1] for client in clients[:2]] == [1, 1]


def test_the_tries_of_all_attempts_together_are_bounded(federation: Make) -> None:
    policy = {"round": {"min_replies": 3, "deadline_seconds": 0.2, "max_retries": 0}}
    fed = federation("pi-1", "pi-2", num_rounds=1, server=policy)
    fed.server.add("pi-3", lambda work: None)
    die_when(fed, 2)
    fed.server.expire()
    with pytest.raises(RunFailed, match="round 1 got 2 of the 3 replies it needs in 1 tries"):
        fed.play()


def test_a_device_that_is_gone_is_not_waited_for_longer_than_before(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "GONE_GRACE_SECONDS", 0.2)
    fed = federation(num_rounds=1, server={"round": {"min_replies": 2}})
    clients = gated(fed, *THREE)
    clients[0].gate.set()
    clients[1].gate.set()
    die_when(fed, 2)
    fed.server.gone("pi-3", "offline, last seen 12 s ago")
    fed.play()
    commit = fed.server.commits[0]
    assert status(commit, "pi-3") is ParticipationStatus.DROPPED
    assert commit.seconds < 5
    clients[2].gate.set()


def test_who_is_to_be_asked_anew_and_is_away_is_not_waited_for_long(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "GONE_GRACE_SECONDS", 0.2)
    monkeypatch.setattr(round_engine, "FINAL_WAIT_SECONDS", 0.2)
    fed = federation(num_rounds=1, server={"round": {"min_replies": 2}})
    clients = gated(fed, *THREE)
    clients[0].gate.set()
    clients[1].gate.set()
    die_when(fed, 2)
    fed.server.cancel_undelivered()
    fed.server.stream.pop()
    fed.server.unavailable["pi-3"] = "offline, last seen 12 s ago"
    fed.play()
    report = next(p for p in fed.server.commits[0].participations if p.device == "pi-3")
    assert report.reason == "offline, last seen 12 s ago"
    clients[2].gate.set()


def test_who_may_take_no_new_work_is_not_asked_anew(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause ended the work of two. Meanwhile, one of them left its charger, as its owner forbids."""
    monkeypatch.setattr(round_engine, "FINAL_WAIT_SECONDS", 0.2)
    fed = federation(num_rounds=1, server={"round": {"min_replies": 2}})
    clients = gated(fed, *THREE)
    clients[0].gate.set()
    die_when(fed, 1)
    fed.server.cancel_undelivered()
    asked, why = len(fed.server.asked), "takes no new work by its owner's conditions: not charging"
    fed.server.unavailable["pi-3"] = why
    clients[1].gate.set()
    fed.play()
    assert fed.server.asked[asked] == "pi-2"
    assert "pi-3" not in fed.server.asked[asked:]
    reports = {p.device: p for p in fed.server.commits[0].participations}
    assert (reports["pi-3"].status, reports["pi-3"].reason) == (ParticipationStatus.DROPPED, why)
    assert reports["pi-2"].status is ParticipationStatus.REPLIED
    assert clients[2].trained["train", 1] == 0
    clients[2].gate.set()


def test_nobody_is_given_other_work_while_its_owner_forbids_it(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round_engine, "FINAL_WAIT_SECONDS", 0.2)
    strategy = {"_target_": "FedProx", "proximal_mu": 0.5}
    round_ = {"min_replies": 2}
    fed = federation(num_rounds=1, server={"strategy": strategy, "round": round_})
    clients = gated(fed, *THREE)
    clients[0].gate.set()
    die_when(fed, 1)
    changed = {"strategy": {**strategy, "proximal_mu": 0.25}, "round": round_}
    fed.server.config["server"] = changed
    asked, why = len(fed.server.asked), "takes no new work by its owner's conditions: not charging"
    fed.server.unavailable["pi-3"] = why
    playing = fed.play_aside()
    fed.until(lambda: fed.server.cancels)
    for client in clients:
        client.gate.set()
    assert playing.end() is None
    assert fed.server.asked[asked] == "pi-2"
    assert "pi-3" not in fed.server.asked[asked:]
    report = next(p for p in fed.server.commits[0].participations if p.device == "pi-3")
    assert (report.status, report.reason) == (ParticipationStatus.DROPPED, why)


def test_who_can_be_asked_again_later_is_asked_in_the_next_try(federation: Make) -> None:
    fed = federation(num_rounds=1, server={"round": {"min_replies": 3}})
    clients = gated(fed, *THREE)
    clients[0].gate.set()
    clients[1].gate.set()
    die_when(fed, 2)
    fed.server.cancel_undelivered()
    clients[2].gate.set()
    fed.server.unavailable["pi-3"] = "takes no new work by its owner's conditions: not charging"
    playing = fed.play_aside()
    fed.until(lambda: any(one.phase == "waiting" for one in fed.server.progresses[-1:]))
    assert fed.server.of_device("pi-3")[1:] == []
    fed.server.unavailable.clear()
    assert playing.end() is None
    assert status(fed.server.commits[0], "pi-3") is ParticipationStatus.REPLIED


def test_a_strategy_that_asks_for_something_else_makes_the_work_anew(
    federation: Make, caplog: pytest.LogCaptureFixture
) -> None:
    strategy = {"_target_": "FedProx", "proximal_mu": 0.5}
    fed = federation(num_rounds=1, server={"strategy": strategy})
    seen: list[tuple[str, float]] = []
    clients = gated(fed, *THREE)
    for name, client in zip(THREE, clients, strict=True):
        inner = client.client

        def watch(work: Work, inner: Answer = inner, name: str = name) -> Any:
            seen.append((name, work.order.number("proximal-mu")))
            return inner(work)

        client.client = watch
    clients[0].gate.set()
    die_when(fed, 1)
    fed.server.config["server"] = {"strategy": {**strategy, "proximal_mu": 0.25}}
    playing = fed.play_aside()
    fed.until(lambda: fed.server.cancels)
    clients[1].gate.set()
    clients[2].gate.set()
    assert playing.end() is None
    assert "the strategy asks for something else than before: 2 clients" in caplog.text
    statuses = {p.status for p in fed.server.commits[0].participations}
    assert statuses == {ParticipationStatus.REPLIED}
    assert ("pi-1", 0.25) not in seen[:-3]
    assert ("pi-2", 0.25) in seen


def test_strategies_with_state_go_on_in_mid_round_too(federation: Make, tmp_path: Path) -> None:
    server = {"strategy": {"_target_": "FedAdam"}}
    straight = InMemoryFederation(tmp_path / "a", num_rounds=3, clients_per_round=3, server=server)
    straight.add(*THREE)
    straight.play()
    fed = federation(*THREE, num_rounds=3, server=server)
    for deliveries in (2, 4):
        die_when(fed, deliveries)
    fed.play()
    assert [c.model for c in fed.server.commits] == [c.model for c in straight.server.commits]
    straight.server.close()


def test_an_update_damaged_since_is_made_again(federation: Make) -> None:
    fed = federation(num_rounds=1)
    fed.server.inline_bytes = 0
    clients = gated(fed, *THREE, opened=True)
    die_when(fed, 3)
    one = fed.server.of_device("pi-2")[0]
    assert one.delivery is not None
    assert one.delivery.blob is not None
    fed.server.blob(one.delivery.blob.sha256).write_bytes(b"damaged")
    fed.play()
    assert status(fed.server.commits[0], "pi-2") is ParticipationStatus.REPLIED
    assert [client.trained["train", 1] for client in clients] == [1, 2, 1]
    assert same(model(fed), plain_rounds(THREE, 1)[-1])
