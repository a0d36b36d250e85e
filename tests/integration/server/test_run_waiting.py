"""``fedops.runs``: a run is started once and waited for, also over the death of its server."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from server_process import ServerProcess, build_scripted_app, eventually, server_process

from fedops.core import contracts as c
from fedops.core.errors import Conflict, Unavailable
from fedops.core.states import RUN_TERMINAL, RunStatus
from fedops.run_waiting import start_run
from fedops.runs import RunBusy, RunResult, RunStopped, RunTimeout, start_and_wait


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("waiting")
    bundle = build_scripted_app(folder / "app")
    with server_process(folder / "server") as made, made.operator() as client:
        ref = client.upload_bundle(bundle)
        client.create_task(c.TaskCreate(name="digits", bundle=ref.sha256))
        yield made


@pytest.fixture(autouse=True)
def _nothing_goes_on(server: ServerProcess) -> Iterator[None]:
    yield
    with server.operator() as client:
        for run in client.runs("digits", limit=2):
            with contextlib.suppress(Conflict):
                client.stop_run(run.id)
            eventually(lambda run=run: client.run(run.id).status in RUN_TERMINAL)


def wait(server: ServerProcess, rounds: int, **more: Any) -> RunResult:
    token = (server.home / "admin-token").read_text().strip()
    overrides = [f"num_rounds={rounds}"]
    return start_and_wait("digits", server=server.url, token=token, overrides=overrides, **more)


def test_a_server_that_dies_in_the_middle_is_waited_for(server: ServerProcess) -> None:
    seen: list[tuple[RunStatus, int]] = []

    def note(run: c.RunRead) -> None:
        seen.append((run.status, run.committed_rounds))
        if seen[-1] == (RunStatus.RUNNING, 1) and seen.count(seen[-1]) == 1:
            server.end(signal.SIGKILL)
            threading.Timer(0.5, server.start).start()

    result = wait(server, 3, timeout=120, on_progress=note)
    assert (result.rounds, result.version, result.quarantine) == (3, 1, "")
    assert seen[-1] == (RunStatus.COMPLETED, 3)
    assert all(one != next_ for one, next_ in pairwise(seen))
    with server.operator() as client:
        assert len(client.runs("digits")) == 1


def test_a_run_that_is_late_goes_on_or_is_stopped(server: ServerProcess) -> None:
    with pytest.raises(RunTimeout, match=r"did not end within 1 s; it goes on") as late:
        wait(server, 500, timeout=1)
    with pytest.raises(RunBusy):
        wait(server, 1)
    with server.operator() as client:
        client.stop_run(late.value.run.id)
        eventually(lambda: client.run(late.value.run.id).status in RUN_TERMINAL)
    with pytest.raises(RunTimeout, match="was told to stop"):
        wait(server, 500, timeout=1, stop_on_timeout=True)


def test_a_run_that_somebody_stops_is_no_success(server: ServerProcess) -> None:
    def stop(run: c.RunRead) -> None:
        # Rounds that do nothing may go by between two looks.
        if run.status is RunStatus.RUNNING and run.committed_rounds:
            with server.operator() as client:
                client.stop_run(run.id)

    with pytest.raises(RunStopped, match=r"stopped after round \d+ of 500"):
        wait(server, 500, on_progress=stop)


def test_a_beginning_whose_answer_was_lost_is_found_again(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request arrives, its answer does not: the second try must not start another run."""
    with server.operator() as client:
        before, really, lost = len(client.runs("digits")), client.start_run, list[c.RunRead]()

        def lose_first(task: str, body: c.RunStart) -> c.RunRead:
            made = really(task, body)
            if lost:
                return made
            lost.append(made)
            raise Unavailable("the connection broke")

        monkeypatch.setattr(client, "start_run", lose_first)
        run = start_run(client, "digits", c.RunStart(overrides=["num_rounds=1"]))
        assert len(client.runs("digits")) == before + 1
        assert client.runs("digits", limit=1)[0].id == run.id


def test_the_command_waits_and_its_code_tells(server: ServerProcess) -> None:
    command = [sys.executable, "-m", "fedops.cli", "run", "start", "digits", "--wait"]
    token = (server.home / "admin-token").read_text().strip()
    env = {"FEDOPS_TOKEN": token, "FEDOPS_SERVER": server.url, "PATH": ""}
    words = {"good": ["--set", "num_rounds=1"], "late": ["--set", "num_rounds=500"]}
    late = ["--timeout", "1", "--stop-on-timeout"]
    done = subprocess.run(
        [*command, *words["good"]], env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, "completed 1 round" in done.stdout) == (0, True), done.stderr
    done = subprocess.run(
        [*command, *words["late"], *late], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "told to stop" in done.stderr
