"""What every ``EngineProcesses`` promises: the same suite for the fake and for real child processes."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fedops.core.contracts import EngineTicket
from fedops.core.errors import Unavailable
from fedops.processes.spawn import spawn
from fedops.server.jobs.engine_process import EngineProcesses, LocalEngineProcesses
from fedops.testing import FakeEngines

#: Notes its ticket, starts a child of its own, and does what the file "do" says.
SCRIPT = """
import os, subprocess, sys, time
from pathlib import Path
from fedops.processes.spawn import die_with_parent
ticket = sys.stdin.readline()
die_with_parent()
here = Path(sys.argv[1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
(here / "env").write_text(repr(dict(os.environ)))
(here / "child").write_text(str(child.pid))
(here / "ticket").write_text(ticket)
while not (here / "do").exists():
    time.sleep(0.02)
print("these are the last words", flush=True)
sys.exit(int((here / "do").read_text()))
"""


def ticket(number: int = 1) -> EngineTicket:
    return EngineTicket(
        attempt_id=number,
        run_id=7,
        attempt=number,
        token="fo_attempt_x",
        server_url="http://127.0.0.1:1",
        app_dir=Path("/app"),
    )


def eventually(check: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(params=["fake", "local"])
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EngineProcesses]:
    made: EngineProcesses = FakeEngines() if request.param == "fake" else local(tmp_path)
    yield made
    made.close()


def local(place: Path) -> LocalEngineProcesses:
    return LocalEngineProcesses(place, (sys.executable, "-c", SCRIPT, str(place)))


def test_it_lives_until_it_is_ended(engines: EngineProcesses) -> None:
    assert engines.start(ticket()) > 0
    assert engines.how_ended(1) is None
    engines.end(1, at_once=True)
    eventually(lambda: engines.how_ended(1))
    engines.end(1, at_once=True)
    engines.forget(1)
    engines.forget(1)


def test_one_that_was_never_started_is_none(engines: EngineProcesses) -> None:
    assert "no child" in (engines.how_ended(99) or "")
    engines.end(99)


def test_all_end_with_the_server_manager(engines: EngineProcesses) -> None:
    engines.start(ticket(1))
    engines.start(ticket(2))
    engines.close()
    assert engines.how_ended(1) is not None
    assert engines.how_ended(2) is not None


# --- real ones --------------------------------------------------------------------------------


def test_its_ticket_comes_on_its_standard_input_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDOPS_DATABASE_URL", "postgresql+psycopg://u:secret@h/d")
    monkeypatch.setenv("FEDOPS_TOKEN", "fo_admin_secret")
    made = local(tmp_path)
    pid = made.start(ticket())
    eventually((tmp_path / "ticket").exists)
    assert json.loads((tmp_path / "ticket").read_text())["token"] == "fo_attempt_x"
    assert "'OPENBLAS_NUM_THREADS': '1'" in (tmp_path / "env").read_text()
    assert "secret" not in (tmp_path / "env").read_text()
    assert "fo_attempt" not in (tmp_path / "env").read_text()
    assert not any("fo_attempt" in word for word in psutil.Process(pid).cmdline())
    made.close()


def test_how_it_ended_and_its_last_words(tmp_path: Path) -> None:
    made = local(tmp_path)
    made.start(ticket())
    eventually((tmp_path / "ticket").exists)
    (tmp_path / "do").write_text("3")
    eventually(lambda: made.how_ended(1))
    assert made.how_ended(1) == "exit code 3"
    assert made.last_words(1) == "these are the last words"
    made.forget(1)
    assert made.last_words(1) == ""
    made.close()


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    made = local(tmp_path)
    made.start(ticket())
    eventually((tmp_path / "ticket").exists)
    child = psutil.Process(int((tmp_path / "child").read_text()))
    assert child.status() != psutil.STATUS_ZOMBIE
    made.end(1)
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert made.how_ended(1) is not None
    made.close()


PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_engine_processes import local, ticket
made = local(Path(sys.argv[1]))
(Path(sys.argv[1]) / "pid").write_text(str(made.start(ticket())))
time.sleep(60)
"""


def test_it_ends_when_the_server_manager_is_killed(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    parent = spawn([sys.executable, "-c", PARENT, str(tmp_path), here], env=dict(os.environ))
    eventually((tmp_path / "ticket").exists)
    pid = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    assert parent.stdin is not None
    parent.stdin.close()
    eventually(lambda: not psutil.pid_exists(pid), 10.0)


def test_what_an_earlier_life_left_behind_is_ended(tmp_path: Path) -> None:
    before, after = local(tmp_path), local(tmp_path)
    pid = before.start(ticket())
    eventually((tmp_path / "ticket").exists)
    after.clean()
    eventually(lambda: before.how_ended(1))
    assert "killed by signal" in (before.how_ended(1) or "")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
    before.close()


def test_a_program_that_cannot_be_started_is_said_so(tmp_path: Path) -> None:
    made = LocalEngineProcesses(tmp_path, ("/no/such/program",))
    with pytest.raises(Unavailable, match="cannot be started"):
        made.start(ticket())
