"""The Server Manager as a process: its refusals, its end, and runs that survive every kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from postgres import POSTGRES, fresh_database
from server_process import ServerProcess, build_scripted_app, eventually, server_process
from sqlalchemy import make_url

from fedops.api_client import OperatorClient
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.core.states import AttemptStatus, ChannelKind, RunStatus
from fedops.server.main import run_file_server
from fedops.settings import ServerSettings


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_scripted_app(tmp_path_factory.mktemp("app"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with server_process(tmp_path / "server") as made:
        yield made


def refusal(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_what_cannot_be_is_refused_with_one_message(server: ServerProcess, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert f"port {server.port} on 127.0.0.1 is taken" in refusal(server.command(other))
    assert "already running" in refusal(server.command())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDOPS_SERVER_TLS", "off")
        assert "--insecure" in refusal(server.command(other, host="0.0.0.0"))
    (tmp_path / "file").write_text("")
    assert "cannot use" in refusal(server.command(tmp_path / "file" / "home"))
    for file in [server.home, *server.home.rglob("*")]:
        assert file.stat().st_mode & 0o077 == 0, file
    with server.operator() as client:  # all that did not disturb it
        assert client.info().engine == "no FL server is running"
    for method, path, status, words in (
        ("GET", "/nothing", 404, "there is nothing at /api/v1/nothing"),
        ("DELETE", "/tasks", 405, "takes GET, POST, not DELETE"),
    ):
        answer = httpx.request(method, f"http://127.0.0.1:{server.port}/api/v1{path}")
        assert (answer.status_code, words in answer.text) == (status, True)  # no dashboard's page


def test_a_home_that_others_could_read_is_repaired(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server").chmod(0o755)
    with server_process(tmp_path / "server") as server:
        assert server.home.stat().st_mode & 0o777 == 0o700
        assert "could be read by other users; now it is yours alone" in server.log()


def test_a_file_server_needs_postgresql(tmp_path: Path) -> None:
    settings = ServerSettings(home=tmp_path / "home", database_url=None)
    with pytest.raises(Invalid, match="needs PostgreSQL, and this database is SQLite"):
        run_file_server(settings, print)
    assert not settings.home.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_soon_with_all_it_started(
    server: ServerProcess, bundle: Path, number: signal.Signals
) -> None:
    run_id = server.start_run(bundle, "digits", "num_rounds=500")
    server.attempt_pid(run_id, 1)
    assert len(server.family()) == 1
    waiting = threading.Thread(target=_poll, args=(server.operator(),))
    waiting.start()
    time.sleep(0.2)
    begin = time.monotonic()
    assert server.end(number) == 0
    assert time.monotonic() - begin < 15
    waiting.join(5)
    assert not waiting.is_alive()
    assert server.family() == []
    assert "Traceback" not in server.log()


def test_a_git_server_that_hangs_does_not_keep_it_from_its_end(server: ServerProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20.0)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/app.git"
        with server.operator() as client:
            client.create_task(c.TaskCreate(name="digits", source=c.SourceSet(url=url)))
        asking, _ = silent.accept()
        with asking:
            begin = time.monotonic()
            assert server.end() == 0
            assert time.monotonic() - begin < 15  # Git itself would wait for a minute
            asking.settimeout(5.0)
            while asking.recv(4_096):
                pass  # what it asks; then Git has ended, too


def test_a_receiver_that_hangs_does_not_keep_it_from_its_end(server: ServerProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20.0)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/hook"
        with server.operator() as client:
            client.add_channel(c.ChannelCreate(name="ops", kind=ChannelKind.WEBHOOK, url=url))
            client.test_channel("ops")
        told, _ = silent.accept()
        with told:
            begin = time.monotonic()
            assert server.end() == 0
            assert time.monotonic() - begin < 8  # it has ten seconds to answer


@pytest.mark.long
@pytest.mark.skipif(POSTGRES is None, reason="needs PostgreSQL")
def test_a_database_that_hangs_does_not_keep_it_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert POSTGRES
    with fresh_database(POSTGRES, f"hangs_{os.getpid()}") as url, _relay(url) as (near, frozen):
        monkeypatch.setenv("FEDOPS_DATABASE_URL", near)
        with server_process(tmp_path / "server") as server:
            frozen.set()
            time.sleep(3.0)
            begin = time.monotonic()
            assert server.end(seconds=60.0) == 1
            assert time.monotonic() - begin < 40
            assert "could not close everything in 20 s" in server.log()
            frozen.clear()
            server.start()
            assert server.end() == 0


@contextmanager
def _relay(url: str) -> Iterator[tuple[str, threading.Event]]:
    """The URL of the same database by way of a relay, and what makes that pass nothing on."""
    far = make_url(url)
    target, frozen = (far.host or "127.0.0.1", far.port or 5432), threading.Event()

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                while frozen.is_set():
                    time.sleep(0.05)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near = held.enter_context(listener.accept()[0])
                server = held.enter_context(socket.create_connection(target))
                for ends in ((near, server), (server, near)):
                    threading.Thread(target=copy, args=ends, daemon=True).start()

    with ExitStack() as held, socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        near = far.set(host="127.0.0.1", port=listener.getsockname()[1])
        yield near.render_as_string(hide_password=False), frozen


def _poll(client: OperatorClient) -> None:
    with client:
        for _ in range(2):
            client.info()


def test_a_run_survives_the_kill_of_every_process(server: ServerProcess, bundle: Path) -> None:
    run_id = server.start_run(bundle, "digits", "num_rounds=12")
    first = server.attempt_pid(run_id, 1)
    eventually(lambda: server.run(run_id).committed_rounds >= 2)

    (engine,) = [p for p in server.family() if p.pid == first]
    engine.kill()
    eventually(lambda: len(server.run(run_id).attempts) == 2, 10)
    server.attempt_pid(run_id, 2)
    before = server.run(run_id).committed_rounds
    eventually(lambda: server.run(run_id).committed_rounds > before)

    server.end(signal.SIGKILL)
    eventually(lambda: server.family() == [], 10)
    server.start()
    eventually(lambda: server.run(run_id).status is RunStatus.COMPLETED)

    run = server.run(run_id)
    assert [a.status for a in run.attempts] == [AttemptStatus.LOST] * 2 + [AttemptStatus.ENDED]
    with server.operator() as client:
        rounds = client.rounds(run_id)
        versions = client.models("digits")
    assert [r.round for r in rounds] == list(range(1, 13))
    assert all(r.committed_at for r in rounds)
    assert sorted(v.version for v in versions) == [0, 1]
    eventually(lambda: not list((server.home / "spool").glob("*/attempt-*")), 10)


def test_a_deaf_fl_server_is_stopped_within_five_seconds(
    server: ServerProcess, bundle: Path
) -> None:
    run_id = server.start_run(bundle, "digits", "learning_rate=9.0")
    pid = server.attempt_pid(run_id, 1)
    begin = time.monotonic()
    with server.operator() as client:
        client.stop_run(run_id)
    eventually(lambda: server.run(run_id).status is RunStatus.STOPPED, 8)
    assert time.monotonic() - begin < 5
    assert pid not in [p.pid for p in server.family()]


def test_two_tasks_at_once_and_one_stopped_leaves_the_other(
    server: ServerProcess, bundle: Path
) -> None:
    first = server.start_run(bundle, "one", "num_rounds=8")
    second = server.start_run(bundle, "two", "num_rounds=500")
    eventually(lambda: server.run(second).committed_rounds >= 1)
    with server.operator() as client:
        client.stop_run(second)
    eventually(lambda: server.run(first).status is RunStatus.COMPLETED)
    eventually(lambda: server.run(second).status is RunStatus.STOPPED)
    assert len(server.run(first).attempts) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux changes another process's limits")
def test_too_many_open_files_are_named(server: ServerProcess) -> None:
    import resource

    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert client.get("/health").json() == {"status": "ok"}
        pid = server.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
        why = "the server has too many files and connections open"
        eventually(lambda: why in server.log())
        assert "start it again with a higher limit (ulimit -n" in server.log()
        answer = client.get("/health")  # over the connection that is there
        assert answer.json() == {"status": "degraded", "why": why}
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        eventually(lambda: httpx.get(f"{server.url}/health").status_code == 200)
