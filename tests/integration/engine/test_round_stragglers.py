"""Clients that do not reply: late, offline or gone; who takes their place, and what ends a round."""

import threading

import pytest
from in_memory_federation import Refused, Work
from round_parts import Make, participation, rounds_of, silent

from fedops.core.contracts import RoundCommit
from fedops.core.states import FailureReason, ParticipationStatus
from fedops.engine import collecting
from fedops.engine.link.exit_reasons import RunFailed
from fedops.storage.payloads import Payload


def test_a_straggler_is_recorded_and_asked_again_next_round(federation: Make) -> None:
    policy = rounds_of(deadline_seconds=0.6, min_replies=2)
    fed = federation("pi-1", "pi-2", clients_per_round=3, server=policy)
    fed.server.add("slow", silent)
    fed.play()
    for commit in fed.server.commits:
        report = participation(commit, "slow")
        assert report.status is ParticipationStatus.DROPPED
        assert report.reason == "no reply before the deadline of the round"
    assert fed.server.asked.count("slow") == 2


def test_a_late_reply_is_put_away(federation: Make) -> None:
    policy = rounds_of(deadline_seconds=0.5, min_replies=1)
    fed = federation("pi-1", num_rounds=2, clients_per_round=2, server=policy)
    client, first, released = fed.client("late"), [True], threading.Event()

    def late(work: Work) -> Payload | Refused | None:
        if first.pop() if first else False:
            released.wait(10)
        return client(work)

    fed.server.on_commit = lambda commit: released.set()
    fed.server.add("late", late)
    fed.play()
    assert participation(fed.server.commits[0], "late").status is ParticipationStatus.DROPPED
    assert participation(fed.server.commits[1], "late").status is ParticipationStatus.REPLIED


def test_the_round_goes_on_without_a_device_that_went_offline(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "GONE_GRACE_SECONDS", 0.2)
    fed = federation("pi-1", "pi-2", num_rounds=1, clients_per_round=3)

    def leaving(work: Work) -> None:
        fed.server.gone("pi-3", "offline, last seen 9 s ago")

    fed.server.add("pi-3", leaving)
    fed.play()
    report = participation(fed.server.commits[0], "pi-3")
    assert (report.status, report.reason) == (
        ParticipationStatus.DROPPED,
        "offline, last seen 9 s ago",
    )
    assert fed.server.commits[0].seconds < 5


def test_a_device_that_comes_back_in_time_takes_part(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "GONE_GRACE_SECONDS", 5.0)
    fed = federation("pi-1", num_rounds=1, clients_per_round=2)
    client = fed.client("pi-2")

    def coming_back(work: Work) -> Payload | Refused | None:
        fed.server.gone("pi-2", "offline")
        return client(work)

    fed.server.add("pi-2", coming_back)
    fed.play()
    assert participation(fed.server.commits[0], "pi-2").status is ParticipationStatus.REPLIED


def test_another_client_takes_the_place_of_one_that_is_gone(
    federation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "GONE_GRACE_SECONDS", 0.1)
    policy = rounds_of(min_replies=2)
    fed = federation("pi-1", num_rounds=1, clients_per_round=2, server=policy)
    spare = fed.client("pi-3")

    def leaving(work: Work) -> None:
        fed.server.unavailable["pi-2"] = "offline"
        fed.server.add("pi-3", spare)
        fed.server.gone("pi-2", "offline")

    fed.server.add("pi-2", leaving)
    fed.play()
    commit = fed.server.commits[0]
    statuses = {p.device: p.status.value for p in commit.participations}
    assert statuses == {"pi-1": "replied", "pi-2": "dropped", "pi-3": "replied"}
    assert (
        fed.server.asked.count("pi-1") == 2
    )  # the round and the final evaluation: its reply was kept
    assert set(fed.server.begun[-1][1]) == {"pi-1", "pi-2", "pi-3"}


def test_the_final_model_is_evaluated_by_clients_that_were_away_for_a_moment(
    federation: Make,
) -> None:
    fed = federation("pi-1", "pi-2", num_rounds=1, clients_per_round=2)
    back = threading.Timer(0.5, fed.server.unavailable.clear)

    def all_leave(_: RoundCommit) -> None:
        fed.server.unavailable |= {"pi-1": "offline", "pi-2": "offline"}
        back.start()

    fed.server.on_commit = all_leave
    assert fed.play().keys() == {"loss"}
    back.join()


def test_over_selection_ends_the_round_with_the_replies_wanted(federation: Make) -> None:
    policy = rounds_of(over_select=0.5, min_replies=2)
    fed = federation("pi-1", "pi-2", num_rounds=1, clients_per_round=2, server=policy)
    fed.server.add("pi-3", silent)
    fed.play()
    commit = fed.server.commits[0]
    assert participation(commit, "pi-3").reason == "the round was complete with 2 replies"


def test_too_few_replies_end_the_run_after_the_retries(federation: Make) -> None:
    policy = rounds_of(deadline_seconds=0.2, min_replies=2, max_retries=1)
    fed = federation("pi-1", clients_per_round=2, server=policy)
    fed.server.add("pi-2", silent)
    with pytest.raises(RunFailed) as failed:
        fed.play()
    assert failed.value.reason is FailureReason.TOO_FEW_CLIENTS
    assert failed.value.text == (
        "round 1 got 1 of the 2 replies it needs in 2 tries: pi-2: no reply before the deadline of the round"
    )
