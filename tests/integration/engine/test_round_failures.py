"""What ends an attempt: too few clients, a command, a lost server, a strategy or a disk that fails."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_memory_federation import (
    AttemptSuperseded,
    InMemoryFederation,
    Unavailable,
    plain_rounds,
)
from round_parts import THREE, Make, model, rounds_of, same, silent

from fedops.core.contracts import RoundCommit
from fedops.core.states import FailureReason
from fedops.engine.link.exit_reasons import RunFailed, StopRequested
from fedops.storage import tensors as tensors_module

FOUR = [*THREE, "pi-4"]

# --- too few clients, stop, pause --------------------------------------------------------------


def test_too_few_clients_are_waited_for_with_a_reason_and_then_given_up(federation: Make) -> None:
    fed = federation("pi-1", clients_per_round=3, server=rounds_of(wait_seconds=0.5))
    fed.add("pi-2")
    fed.server.unavailable["pi-2"] = "offline, last seen 41 s ago"
    with pytest.raises(RunFailed) as failed:
        fed.play()
    why = "waiting for 2 more clients: 1 of 3 available; pi-2: offline, last seen 41 s ago"
    assert failed.value.reason is FailureReason.TOO_FEW_CLIENTS
    assert failed.value.text == f"gave up after 0 s: {why}"
    assert any(
        p.phase == "waiting" and p.detail == why and p.needed == 3 for p in fed.server.progresses
    )
    assert fed.server.asked == []


def test_many_who_are_away_for_one_reason_are_named_together(federation: Make) -> None:
    fed = federation("pi-0", clients_per_round=6, server=rounds_of(wait_seconds=0.2))
    for number in range(1, 6):
        fed.add(f"pi-{number}")
        fed.server.unavailable[f"pi-{number}"] = f"offline, last seen {40 + number} s ago"
    fed.server.unavailable["pi-1"] = "not ready: no data"
    with pytest.raises(RunFailed) as failed:
        fed.play()
    assert failed.value.text == (
        "gave up after 0 s: waiting for 5 more clients: 1 of 6 available; "
        "pi-1: not ready: no data; 4 devices: offline"
    )


def test_a_round_begins_when_there_are_enough_clients(federation: Make) -> None:
    fed = federation("pi-1", num_rounds=1, clients_per_round=2)
    playing = fed.play_aside()
    fed.until(lambda: any(p.phase == "waiting" for p in fed.server.progresses))
    fed.add("pi-2")
    assert playing.end() is None
    assert fed.server.commits[0].timing["waiting"] > 0.1


def test_a_round_begins_with_a_quorum_when_the_others_do_not_come(federation: Make) -> None:
    """And the next one does not wait for them again, until they are back."""
    policy = rounds_of(start_grace_seconds=0.3, wait_seconds=20)
    fed = federation(*THREE, num_rounds=4, clients_per_round=4, server=policy)
    fed.add("pi-4")
    fed.server.unavailable["pi-4"] = "offline, last seen 41 s ago"

    def back(commit: RoundCommit) -> None:
        if commit.round == 2:
            del fed.server.unavailable["pi-4"]

    fed.server.on_commit = back
    fed.play()
    assert [sorted(names) for _, names in fed.server.begun] == [THREE, THREE, FOUR, FOUR]
    waiting = [commit.timing["waiting"] for commit in fed.server.commits]
    assert waiting[0] >= 0.3
    assert max(waiting[1:]) < 0.3
    assert any(
        "pi-4: offline" in p.detail and p.begins_in is not None and p.begins_in <= 0.3
        for p in fed.server.progresses
    )


def test_who_dies_in_a_round_is_not_waited_for_in_the_next(federation: Make) -> None:
    policy = rounds_of(start_grace_seconds=0.3, wait_seconds=20, deadline_seconds=5)
    fed = federation(*THREE, num_rounds=3, clients_per_round=4, server=policy)
    fed.add("pi-4")

    def dies(commit: RoundCommit) -> None:
        fed.server.unavailable["pi-4"] = "offline, last seen 41 s ago"

    fed.server.on_commit = dies
    fed.play()
    assert [sorted(names) for _, names in fed.server.begun] == [FOUR, THREE, THREE]


def test_one_of_two_is_enough_when_the_runs_owner_says_so(federation: Make) -> None:
    policy = rounds_of(min_replies=1, start_grace_seconds=0.2, wait_seconds=20)
    fed = federation("pi-1", num_rounds=1, clients_per_round=2, server=policy)
    fed.play()
    assert [sorted(names) for _, names in fed.server.begun] == [["pi-1"]]


def test_less_than_a_quorum_does_not_begin(federation: Make) -> None:
    policy = rounds_of(start_grace_seconds=0.1, wait_seconds=0.6)
    fed = federation("pi-1", "pi-2", clients_per_round=5, server=policy)
    with pytest.raises(RunFailed, match="waiting for 3 more clients: 2 of 5 available"):
        fed.play()
    assert fed.server.begun == []
    assert all(p.begins_in is None for p in fed.server.progresses)


@pytest.mark.parametrize(("command", "outcome"), [("stop", "stopped"), ("pause", "paused")])
@pytest.mark.parametrize("devices", [[], ["pi-1"]])
def test_a_command_ends_the_attempt_at_once(
    federation: Make, command: str, outcome: str, devices: list[str]
) -> None:
    fed = federation(clients_per_round=1)
    for device in devices:
        fed.server.add(device, silent)
    playing = fed.play_aside()
    fed.until(lambda: fed.server.progresses and (not devices or fed.server.asked))
    fed.server.order(command)
    error = playing.end(3)
    assert isinstance(error, StopRequested)
    assert error.outcome == outcome


def test_a_command_with_the_commit_ends_after_it(federation: Make) -> None:
    fed = federation("pi-1", clients_per_round=1, num_rounds=5)
    fed.server.on_commit = lambda commit: fed.server.order("pause")
    with pytest.raises(StopRequested):
        fed.play()
    assert len(fed.server.commits) == 1


# --- the rest of the world fails ---------------------------------------------------------------


def test_a_server_that_is_away_for_a_moment_is_waited_for(federation: Make) -> None:
    fed = federation(*THREE, clients_per_round=3)
    gone = [Unavailable("cannot reach the Server Manager")] * 2
    for name in ("candidates", "hand_over", "begin_round", "commit", "collect", "progress"):
        fed.server.failing[name] = list(gone)
    fed.play()
    assert len(fed.server.commits) == 2


def test_a_server_that_stays_away_ends_the_attempt(federation: Make) -> None:
    fed = federation("pi-1", clients_per_round=1)
    fed.server.failing["candidates"] = [Unavailable("away")] * 100
    with pytest.raises(Unavailable):
        fed.play(retry_seconds=0.3)


def test_a_superseded_attempt_ends_quietly_while_it_waits(federation: Make) -> None:
    fed = federation(clients_per_round=1)
    fed.server.add("pi-1", silent)
    playing = fed.play_aside()
    fed.until(lambda: fed.server.asked)
    fed.server.failing["collect"] = [AttemptSuperseded("attempt 2 is current")]
    fed.server.gone("pi-1", "offline")
    assert isinstance(playing.end(5), AttemptSuperseded)


def test_a_strategy_that_gives_no_model_fails_the_run(federation: Make) -> None:
    fed = federation("pi-1", clients_per_round=1, server={"strategy": {"_target_": "Bulyan"}})
    with pytest.raises(
        RunFailed, match="round 1: the strategy Bulyan makes a model of 3 replies or more"
    ) as failed:
        fed.play()
    assert failed.value.reason is FailureReason.AGGREGATION_ERROR


def test_a_strategy_that_diverges_is_stopped_before_it_is_committed(federation: Make) -> None:
    strategy = {"_target_": "FedAvgM", "server_learning_rate": 1e38, "server_momentum": 0.9}
    fed = federation("pi-1", num_rounds=9, clients_per_round=1, server={"strategy": strategy})
    with (
        np.errstate(all="ignore"),
        pytest.raises(RunFailed, match=r"FedAvgM made .* NaN or infinite"),
    ):
        fed.play()


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (errno.ENOSPC, OSError, "No space left"),
        (errno.EROFS, OSError, "Read-only file system"),
        (errno.EIO, RunFailed, "the server's disk fails .*; look into dmesg"),
    ],
    ids=["full", "closed", "broken"],
)
def test_what_cannot_be_written_leaves_what_was_committed(
    federation: Make, number: int, error: type[Exception], text: str
) -> None:
    """A broken disk fails the run; until a full or closed one takes files, the attempt's caller waits."""
    fed = federation("pi-1", num_rounds=3, clients_per_round=1)
    whole = tensors_module.atomic_file

    def failing(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "model-00002.safetensors":
            raise OSError(number, os.strerror(number), str(path))
        return whole(path, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors_module, "atomic_file", failing)
        with pytest.raises(error, match=text) as failed:
            fed.play()
    if isinstance(failed.value, RunFailed):
        assert failed.value.reason is FailureReason.ENGINE_ERROR
    assert len(fed.server.commits) == 1
    assert same(model(fed), plain_rounds(["pi-1"], 1)[0])
    fed.play()
    assert same(model(fed), plain_rounds(["pi-1"], 3)[-1])


def test_a_model_that_does_not_fit_the_app_is_refused(federation: Make) -> None:
    fed = federation("pi-1", clients_per_round=1)
    fed.play()
    other = federation("pi-1", name="two", clients_per_round=1)
    other.server.initial = fed.server.initial
    other.server.store(fed.server.blob(fed.server.initial.model).read_bytes())
    other.project = lambda **changed: InMemoryFederation.project(other, size=7, **changed)  # type: ignore[method-assign]
    with pytest.raises(
        RunFailed, match=r"'w': float32\[7\] \(mean\) here, float32\[3\] \(mean\) there"
    ):
        other.play()


class _UnreadableData:
    """Validation data whose files cannot be read any more."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def __iter__(self) -> Any:
        raise self._error

    def __len__(self) -> int:
        return 1


def test_validation_data_that_cannot_be_read_is_the_apps_error(federation: Make) -> None:
    fed = federation("pi-1", num_rounds=1, clients_per_round=1)
    fed.validation = (_UnreadableData(OSError(errno.EIO, "Input/output error")), "lines")
    with pytest.raises(RunFailed, match=r"the server's validation data: .*Input/output") as failed:
        fed.play()
    assert failed.value.reason is FailureReason.APP_ERROR


def test_a_full_disk_while_evaluating_is_not_the_apps_error(federation: Make) -> None:
    fed = federation("pi-1", num_rounds=1, clients_per_round=1)
    fed.validation = (_UnreadableData(OSError(errno.ENOSPC, "No space left on device")), "lines")
    with pytest.raises(OSError, match="No space left"):
        fed.play()
