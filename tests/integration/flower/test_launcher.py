"""The launcher with real processes: what it passes on, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from flwr.app import Context, RecordDict

from fedops.core.errors import FedOpsError
from fedops.flower.launch import device_launcher, flwr_run_stream, host_process
from fedops.flower.launch.device_launcher import run_launcher

#: Begins like the real one, with a child of its own that must not be left.
OPENING = """
import os, subprocess, sys, time
from fedops.processes.spawn import die_with_parent
die_with_parent()
out = OUTPUT
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=out, stderr=out)
with open("child.pid", "w") as file:
    file.write(str(child.pid))
"""


class FakeGrid:
    """As much of a grid as a launcher looks at."""

    def __init__(self, submitted: str = "") -> None:
        self.run = SimpleNamespace(fab_id="gfedops/testapp", pending_at=submitted)
        self.looks = 0

    def get_node_ids(self) -> list[int]:
        self.looks += 1
        return []


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is registered with Flower for the end of the test process."""
    monkeypatch.setattr(host_process, "on_exit", lambda _: None)
    for name in ("FEDOPS_TASK_ID", "FEDOPS_SERVER", "FEDOPS_JOIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Writes an app whose Client Manager is the code given.

    ``shared``: what it started holds its output open, and is waited for a second.
    """

    def write(code: str, shared: bool = False) -> Path:
        opening = OPENING.replace("OUTPUT", "None" if shared else "subprocess.DEVNULL")
        (tmp_path / "manager.py").write_text(opening + code)
        return tmp_path

    yield write
    pid = tmp_path / "child.pid"
    assert not pid.exists() or _gone(int(pid.read_text()))


def _gone(pid: int, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def context(**run_config: Any) -> Context:
    return Context(1, 2, {}, RecordDict(), run_config)


def launch(folder: Path, grid: Any = None, **run_config: Any) -> None:
    run_launcher(grid or FakeGrid(), context(**run_config), folder, "manager")


def in_thread(folder: Path, grid: Any = None) -> tuple[threading.Thread, list[Exception]]:
    errors: list[Exception] = []

    def run() -> None:
        try:
            launch(folder, grid)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 20
    while not (folder / "child.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return thread, errors


def test_lines_come_with_a_prefix_and_an_orderly_end_is_no_error(
    app: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code = "print('hello')\nsys.stderr.write('training client | loss 0.5\\n\\nlast')"
    launch(app(code, shared=True))
    assert capsys.readouterr().out.splitlines() == [
        "client manager | hello",
        "training client | loss 0.5",
        "client manager | last",
    ]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('fedops: which task?\\n  one\\n  two'); sys.exit(4)", "which task?\n  one\n  two"),
        ("print('on my way'); sys.exit(3)", "the Client Manager ended with code 3: on my way"),
        ("os.kill(os.getpid(), 9)", "the Client Manager ended with code -9, without a word"),
        (
            "print('training client | fedops: x', flush=True); sys.exit(1)",
            "the Client Manager ended with code 1, without a word",
        ),
    ],
)
def test_an_error_is_raised_with_its_reason(
    app: Callable[[str], Path], code: str, reason: str
) -> None:
    with pytest.raises(FedOpsError) as failed:
        launch(app(code))
    assert failed.value.message == reason


def test_what_the_child_is_given(
    app: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FEDOPS_JOIN_TOKEN", "fo_join_secret")
    monkeypatch.setenv("FEDOPS_TASK_ID", "of-the-environment")
    monkeypatch.setenv("FEDOPS_TOKEN", "fo_admin_secret")
    code = """
e = os.environ.get
print(e("FEDOPS_TASK_ID"), e("FEDOPS_SERVER"), e("FEDOPS_JOIN_TOKEN"), e("FEDOPS_TOKEN"), *sys.argv[1:])
"""
    launch(app(code), task_id="task_id", server="")
    launch(app(code), task_id="mine", server="http://s:1", set="a.b=1 'c=x y'")
    first, second = (
        line.removeprefix(device_launcher.MANAGER_PREFIX)
        for line in capsys.readouterr().out.splitlines()
    )
    assert first == "of-the-environment None fo_join_secret None --tethered"
    assert second == ("mine http://s:1 fo_join_secret None --tethered --set a.b=1 --set c=x y")


def test_it_stays_as_long_as_the_child_does_and_asks_flower_meanwhile(
    app: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_launcher, "_LOOK_SECONDS", 0.2)
    grid = FakeGrid()
    began = time.monotonic()
    launch(app("time.sleep(1)"), grid)
    assert time.monotonic() - began > 1.0
    assert grid.looks >= 2


def test_ending_the_manager_by_hand_ends_the_run(app: Callable[[str], Path]) -> None:
    folder = app("time.sleep(600)")
    thread, errors = in_thread(folder)
    manager = psutil.Process(int((folder / "child.pid").read_text())).parent()
    assert manager is not None
    manager.send_signal(signal.SIGTERM)
    thread.join(10)
    assert not thread.is_alive()
    assert [str(error) for error in errors] == [
        "the Client Manager ended with code -15, without a word"
    ]


def test_a_closed_stream_ends_the_child_within_seconds(
    app: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "testapp"\n')
    stream = streaming(tmp_path)
    try:
        grid = FakeGrid(datetime.now(UTC).isoformat())
        folder = app("time.sleep(600)")
        thread, errors = in_thread(folder, grid)
        assert thread.is_alive()
        stream.send_signal(signal.SIGINT)
        began = time.monotonic()
        thread.join(10)
        assert time.monotonic() - began < 5.0
        assert errors == []
    finally:
        stream.kill()
        stream.wait()


def test_a_child_deaf_to_sigterm_is_killed(
    app: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_launcher, "GRACE_SECONDS", 0.5)
    code = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(600)"
    child = device_launcher.Child([sys.executable, "-m", "manager"], dict(os.environ), app(code))
    _until(lambda: child.reason().endswith(": deaf"))
    began = time.monotonic()
    child.end()
    child.end()
    assert child.wait(2.0)
    assert time.monotonic() - began < 3.0
    assert child.asked_to_end


def test_killing_the_launcher_ends_the_child(app: Callable[[str], Path], tmp_path: Path) -> None:
    folder = app("time.sleep(600)")
    script = tmp_path / "launch.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_launcher import launch\nlaunch(Path(sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, str(script), str(folder)])
    deadline = time.monotonic() + 30
    while not (folder / "child.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert _gone(int((folder / "child.pid").read_text()))


# --- who streams -----------------------------------------------------------------------------


def streaming(folder: Path, *words: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """A process that looks like ``flwr run --stream`` in a folder."""
    program = folder / "bin" / "flwr"
    program.parent.mkdir(exist_ok=True)
    program.write_text("import time\ntime.sleep(600)\n")
    command = [sys.executable, *before, str(program), "run", *words, "--stream"]
    process = subprocess.Popen(command, cwd=folder)
    deadline = time.monotonic() + 10
    while "--stream" not in psutil.Process(process.pid).cmdline():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "streamed"\n')
    made: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        made.append(streaming(tmp_path, *words))
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.wait()


def now(later: float = 0.0) -> str:
    return datetime.fromtimestamp(time.time() + later, UTC).isoformat()


def test_the_stream_that_submitted_a_run_is_found(
    streams: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = streams(".")
    found = flwr_run_stream.find_stream("streamed", now())
    assert found is not None
    assert found.process.pid == process.pid
    assert found.open
    process.kill()
    process.wait()
    assert not found.open
    assert not replace(found).open


def test_who_only_runs_the_stream_is_not_it(tmp_path: Path) -> None:
    """Another program in front: ``uv run flwr run . --stream``."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "streamed"\n')
    runs = "import subprocess, sys; subprocess.Popen([sys.executable, *sys.argv[1:]]).wait()"
    outer = streaming(tmp_path, ".", before=("-c", runs))
    try:
        deadline = time.monotonic() + 10
        while (
            not (inner := psutil.Process(outer.pid).children())
            or "--stream" not in inner[0].cmdline()
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        found = flwr_run_stream.find_stream("streamed", now())
        assert found is not None
        assert found.process.pid == inner[0].pid
    finally:
        for process in psutil.Process(outer.pid).children():
            process.kill()
        outer.wait()


def test_another_apps_another_times_and_nobodys_stream_are_not(
    streams: Callable[..., subprocess.Popen[bytes]],
) -> None:
    assert flwr_run_stream.find_stream("streamed", now()) is None
    streams()
    assert flwr_run_stream.find_stream("other", now()) is None
    assert flwr_run_stream.find_stream("streamed", now(later=-60)) is None
    assert (
        flwr_run_stream.find_stream("streamed", now(later=flwr_run_stream.SUBMIT_SECONDS + 5))
        is None
    )
    assert flwr_run_stream.find_stream("streamed", "") is None


def test_of_two_streams_neither_is_taken(
    streams: Callable[..., subprocess.Popen[bytes]],
) -> None:
    streams(".")
    streams(".")
    assert flwr_run_stream.find_stream("streamed", now()) is None
