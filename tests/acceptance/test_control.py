"""Runs that are paused, hung, stopped, retried and extended end with the model of an undisturbed run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest
from federating import LIGHT, WITH_LIGHT, enrol, until, until_round

from fedops.core import contracts as c
from fedops.core.states import AttemptStatus, RunStatus
from fedops.demo.federation import Federation

NAMES = ["ada", "bob"]
SILENCE_SECONDS = 15
#: FedAdam, so that the momenta count too.
OVERRIDES = [
    "random_seed=7",
    "server.strategy._target_=flwr.serverapp.strategy.FedAdam",
    "train.seconds=2.5",  # a command that is to come in mid-round takes a second or two to begin
]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Two devices, each in the tasks ``first`` and ``second``."""
    env = {**WITH_LIGHT, "FEDOPS_SERVER_ATTEMPT_SILENCE_SECONDS": str(SILENCE_SECONDS)}
    with Federation(tmp_path_factory.mktemp("federation"), env) as made:
        made.start_server()
        made.create_task("first", LIGHT)
        made.create_task("second", LIGHT)
        enrol(made, NAMES, "first", "second", app=LIGHT)
        yield made


@pytest.fixture(scope="module")
def undisturbed(federation: Federation) -> str:
    """The digest of a run of four rounds."""
    return digest(federation, until(federation, start(federation, 4), RunStatus.COMPLETED))


def start(federation: Federation, rounds: int, task: str = "first") -> int:
    with federation.operator() as operator:
        body = c.RunStart(overrides=[*OVERRIDES, f"num_rounds={rounds}"], from_version=None)
        if operator.task(task).latest_version is not None:
            body = body.model_copy(update={"from_version": 0})
        return operator.start_run(task, body).id


def digest(federation: Federation, run: c.RunRead) -> str:
    with federation.operator() as operator:
        return operator.model(run.task, str(run.version)).sha256


def test_a_paused_run_whose_fl_server_then_hangs(federation: Federation, undisturbed: str) -> None:
    run_id = start(federation, 4)
    until_round(federation, run_id, 2)
    assert federation.admin("run", "pause", str(run_id))["status"] == RunStatus.PAUSED
    with federation.operator() as operator:
        moves = {e.name: e.at for e in operator.events(run_id=run_id) if e.name.startswith("run.")}
        assert moves["run.paused"] - moves["run.pausing"] < 5.0
        assert all(d.process.status == "idle" for d in operator.devices())
    federation.stop("server")
    federation.start_server()
    with federation.operator() as operator:
        paused = operator.run(run_id)
        assert (paused.status, paused.committed_rounds) == (RunStatus.PAUSED, 1)
        federation.admin("run", "resume", str(run_id))
        until_round(federation, run_id, 3)
        hung = operator.run(run_id).attempts[-1]
        assert hung.pid is not None
        process = psutil.Process(hung.pid)
        os.kill(hung.pid, signal.SIGSTOP)
        federation.until(
            "another attempt", lambda: len(operator.run(run_id).attempts) > hung.number, 60.0
        )
        lost = operator.run(run_id).attempts[hung.number - 1]
        assert lost.status is AttemptStatus.LOST
        assert f"s ago, limit {SILENCE_SECONDS} s" in (lost.reason or "")
        federation.until("the hung process to be gone", lambda: not process.is_running(), 15.0)
        ended = until(federation, run_id, RunStatus.COMPLETED)
        assert [r.round for r in operator.rounds(run_id)] == [1, 2, 3, 4]
    assert digest(federation, ended) == undisturbed


def test_a_stopped_run_that_is_retried(federation: Federation, undisturbed: str) -> None:
    run_id = start(federation, 4)
    until_round(federation, run_id, 3)
    federation.admin("run", "stop", str(run_id))
    retried = federation.admin("run", "retry", str(run_id))
    with federation.operator() as operator:
        committed = [one for one in operator.rounds(run_id) if one.committed_at is not None]
    assert (retried["parent"], retried["first_round"]) == (run_id, len(committed) + 1)
    assert 2 <= len(committed) < 4
    ended = until(federation, retried["id"], RunStatus.COMPLETED)
    assert digest(federation, ended) == undisturbed


def test_a_shorter_run_that_is_extended(federation: Federation, undisturbed: str) -> None:
    run = until(federation, start(federation, 2), RunStatus.COMPLETED)
    extended = federation.admin("run", "extend", str(run.id), "--rounds", "2")
    ended = until(federation, extended["id"], RunStatus.COMPLETED)
    assert digest(federation, ended) == undisturbed
    with federation.operator() as operator:
        made = operator.model("first", str(ended.version))
        assert (made.parent, made.round, made.lineage["parent_run"]) == (run.version, 4, run.id)


def test_two_runs_share_their_devices(federation: Federation) -> None:
    """A device does one thing after the other; neither run waits for the other to end."""
    first, second = start(federation, 3), start(federation, 1, "second")
    until(federation, first, RunStatus.COMPLETED)
    until(federation, second, RunStatus.COMPLETED)
    with federation.operator() as operator:
        (round_,) = operator.rounds(second)
        last = operator.rounds(first)[-1]
    assert round_.started_at < (last.committed_at or 0.0)
    assert [p.device for p in round_.participations] == NAMES
