"""Children really end: with their parent, as a tree, and whatever they do to stay."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from fedops.core.errors import Conflict
from fedops.processes import json_lines, lock, process_tree, short_commands, spawn, threads

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
    + SLEEP
)


def gone(pid: int, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def start_parent(code: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Run ``code``, which prints the ids of the processes it starts, in a process of its own."""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    return parent, [int(word) for word in parent.stdout.readline().split()]


def finish(parent: subprocess.Popen[str]) -> None:
    parent.kill()
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()


CHILD_OF_OURS = """
import subprocess, sys, time
from fedops.processes.spawn import die_with_parent, spawn
child = '''
import subprocess, sys, time
from fedops.processes.spawn import die_with_parent
die_with_parent()
assert sys.stdin.read() == ""
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(grandchild.pid, flush=True)
{busy}
'''
p = spawn([sys.executable, "-c", child], stdout=subprocess.PIPE)
print(p.pid, p.stdout.readline().decode().strip(), flush=True)
time.sleep(60)
"""


def test_a_child_and_its_children_end_when_the_parent_is_killed() -> None:
    parent, pids = start_parent(CHILD_OF_OURS.format(busy="time.sleep(60)"))
    finish(parent)
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs PR_SET_PDEATHSIG")
def test_a_child_stuck_in_native_code_ends_too() -> None:
    # PyDLL keeps the interpreter lock while libc waits: no Python thread of the child runs.
    stuck = "import ctypes, os; ctypes.PyDLL(None).read(os.pipe()[0], b'x', 1)"
    parent, (child, grandchild) = start_parent(CHILD_OF_OURS.format(busy=stuck))
    finish(parent)
    assert gone(child)
    os.kill(grandchild, signal.SIGKILL)


def test_a_parent_that_drops_the_thread_which_spawned_keeps_its_child() -> None:
    code = '''
import subprocess, sys, threading, time
from fedops.processes.spawn import spawn
child = """
import time
from fedops.processes.spawn import die_with_parent
die_with_parent()
print(1, flush=True)
time.sleep(60)
"""
found = []
def start():
    p = spawn([sys.executable, "-c", child], stdout=subprocess.PIPE)
    p.stdout.readline()
    found.append(p)
t = threading.Thread(target=start); t.start(); t.join()
print(found[0].pid, flush=True)
time.sleep(60)
'''
    parent, (child,) = start_parent(code)
    assert not gone(child, 3.5)
    finish(parent)
    assert gone(child)


def test_the_tether_ends_a_whole_tree_even_across_sessions(tmp_path: Path) -> None:
    leaf = f"import os; os.setsid(); {STUBBORN}"
    program = (
        "import subprocess, sys, os; "
        f"p = subprocess.Popen([sys.executable, '-c', {leaf!r}], stdout=subprocess.PIPE); "
        "p.stdout.readline(); print(os.getpid(), p.pid, flush=True); p.wait()"
    )
    command = spawn.tethered([sys.executable, "-c", program], grace=0.3)
    child = spawn.spawn(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdin is not None
    pids = [int(word) for word in child.stdout.readline().split()]
    child.stdin.close()
    assert child.wait(5) == 128 + signal.SIGTERM
    child.stdout.close()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_named_tree_is_found_after_its_tether_was_killed() -> None:
    tree = uuid.uuid4().hex
    program = (
        "import subprocess, sys, os, time; "
        f"p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True); "
        "print(os.getpid(), p.pid, flush=True); time.sleep(60)"
    )
    child = spawn.spawn(
        spawn.tethered([sys.executable, "-c", program], tree=tree), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    pids = [int(word) for word in child.stdout.readline().split()]
    child.kill()
    child.wait()
    process_tree.end_named_tree(tree, grace=0.5)
    child.stdout.close()
    child.stdin.close()
    assert all(gone(pid) for pid in pids)


def test_what_was_started_under_a_name_is_found_by_it_and_letting_go_is_our_end() -> None:
    tree = uuid.uuid4().hex
    program = (
        "import os, sys, subprocess; "
        f"p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True); "
        "print(p.pid, flush=True); sys.exit(len(sys.stdin.read()))"
    )
    child = spawn.spawn([sys.executable, "-c", program], tree=tree, stdout=subprocess.PIPE)
    assert child.stdout is not None
    orphan = int(child.stdout.readline())
    assert child.poll() is None
    spawn.let_go(child)
    spawn.let_go(child)  # may be repeated
    assert child.wait(5) == 0
    child.stdout.close()
    assert process_tree.end_named_tree(tree, grace=0.0) == 1
    assert gone(orphan)


def test_the_tether_passes_the_exit_code_on_and_names_what_it_cannot_start() -> None:
    command = spawn.tethered([sys.executable, "-c", "raise SystemExit(7)"])
    with spawn.spawn(command) as child:
        assert child.wait(10) == 7
    command = spawn.tethered(["no-such-program-here"])
    with spawn.spawn(command, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        said = child.stderr.read().decode().strip()
    assert said == "cannot start no-such-program-here: No such file or directory"


def test_end_tree_kills_what_ignores_sigterm_and_leaves_the_exit_code() -> None:
    child = spawn.spawn([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdin is not None
    child.stdout.readline()
    begin = time.monotonic()
    process_tree.end_tree(child.pid, grace=0.3)
    assert 0.3 <= time.monotonic() - begin < 2.0
    assert child.wait(1) == -signal.SIGKILL
    child.stdout.close()
    child.stdin.close()


def test_end_tree_of_nothing_is_no_error() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    process_tree.end_tree(child.pid)
    assert child.returncode == 0, "it was not there to be ended"


def test_a_leftover_is_ended_but_never_another_process_with_its_number(tmp_path: Path) -> None:
    noted = tmp_path / "run" / "child.pid"
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    lock.write_pid_file(noted, child.pid)
    noted.write_text(f"{child.pid} 12345.0\n")
    assert not lock.end_leftover(noted)
    assert child.poll() is None
    lock.write_pid_file(noted, child.pid)
    assert lock.end_leftover(noted)
    assert child.wait(2) == -signal.SIGTERM
    assert not noted.exists()
    assert not lock.end_leftover(noted)


def test_a_lock_is_held_once_and_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "home" / "lock"
    held = lock.hold_lock(path, "a Client Manager")
    with pytest.raises(Conflict) as caught:
        lock.hold_lock(path, "a Client Manager")
    assert str(os.getpid()) in caught.value.message
    assert str(path.parent) in caught.value.message
    held.close()
    lock.hold_lock(path, "a Client Manager").close()


def test_a_lock_holds_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    path = tmp_path / "lock"
    with (
        lock.hold_lock(path, "a backup"),
        pytest.raises(Conflict, match="process unknown"),
    ):
        lock.hold_lock(path, "a backup")


def test_the_environment_of_a_child_has_no_fedops_secret() -> None:
    base = {
        "PATH": "/usr/bin",
        "HOME": "/home/u",
        "CUDA_VISIBLE_DEVICES": "0",
        "FEDOPS_MNIST_DIR": "/data",
        "FEDOPS_JOIN_TOKEN": "x",
        "FEDOPS_DATABASE_URL": "postgresql://u:p@h/d",
        "SOMETHING": "fo_admin_abc",
        process_tree.TREE_VARIABLE: "outer",
    }
    env = spawn.clean_env({"EXTRA": "1"}, base)
    assert sorted(env) == sorted(
        ["PATH", "HOME", "CUDA_VISIBLE_DEVICES", "FEDOPS_MNIST_DIR", "EXTRA"]
    )
    assert env["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/usr/bin"]


# --- what is said over a pipe, and asked of other programs ---------------------------------------


def piped(*documents: object, raw: bytes = b"") -> int:
    """The end to read from of a pipe with these documents, and then ``raw``."""
    reading, writing = os.pipe()
    for document in documents:
        json_lines.write_line(writing, document)
    os.write(writing, raw)
    os.close(writing)
    return reading


def test_objects_come_over_a_pipe_and_what_is_none_is_passed_over() -> None:
    reading = piped({"a": 1}, [1, 2], {"path": Path("/x")}, raw=b'no json\n\n{"last": true}')
    with os.fdopen(reading, "rb") as stream:
        found = list(json_lines.read_objects(stream))
    assert found == [{"a": 1}, {"path": "/x"}, {"last": True}]


def test_a_document_that_is_larger_than_the_pipe_arrives_whole() -> None:
    reading, writing = os.pipe()
    large = {"text": "x" * 500_000}
    thread = threads.in_thread(json_lines.write_line, writing, large, name="writer")
    with os.fdopen(reading, "rb") as stream:
        assert next(json_lines.read_objects(stream)) == large
    thread.join(5)
    os.close(writing)


def test_a_line_without_an_end_is_not_read_for_ever() -> None:
    reading, writing = os.pipe()
    thread = threads.in_thread(os.write, writing, b"x" * (3 * json_lines.MOST_BYTES))
    assert len(json_lines.read_first_line(reading)) == json_lines.MOST_BYTES
    os.close(reading)
    thread.join(5)
    os.close(writing)


def test_of_the_first_line_nothing_that_follows_is_taken() -> None:
    reading = piped({"ticket": 7}, raw=b"the rest")
    assert json.loads(json_lines.read_first_line(reading)) == {"ticket": 7}
    assert os.read(reading, 100) == b"the rest"
    assert json_lines.read_first_line(reading) == b"", "the pipe has ended"
    os.close(reading)


def test_a_program_is_asked_and_need_not_be_there() -> None:
    def asked(code: str, seconds: float = 30.0) -> str | None:
        return short_commands.output_of([sys.executable, "-c", code], seconds=seconds)

    assert asked("print('here')") == "here\n"
    assert asked("import sys; print(repr(sys.stdin.read()))") == "''\n"
    assert asked("print('here'); raise SystemExit(1)") is None
    assert asked(SLEEP, seconds=0.2) is None
    assert short_commands.output_of(["no-such-program-here"], seconds=1.0) is None
