"""Child processes: started with a cleaned environment, tied to their parent's life, ended as a whole tree.

``python -m fedops.processes -- CMD...`` is a tether for programs that are not ours: it ends CMD's whole
tree when its own parent dies (its stdin reaches its end) or when it gets SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import psutil

from fedops.core.errors import Conflict

#: Names a whole process tree: inherited by every descendant, whatever session or parent it ends up in.
TREE_VARIABLE = "FEDOPS_TREE"
#: A child that lost its parent is gone at the latest after this many seconds.
ORPHAN_SECONDS = 2.0

_SECRET_NAME = re.compile(r"FEDOPS_.*(TOKEN|SECRET|PASSWORD|KEY|DATABASE_URL)", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\bfo_(admin|join|device|attempt)_")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform.startswith("linux")

# PR_SET_PDEATHSIG fires when the *thread* that started the child ends, so all children are started
# by one thread that lives as long as the process.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

Stream = int | IO[Any] | None


# --- starting --------------------------------------------------------------------------------


def clean_env(
    extra: Mapping[str, str] | None = None, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment for a child: ours without FedOps secrets, this interpreter's programs first on PATH."""
    source = os.environ if base is None else base
    env = {name: value for name, value in source.items() if not _is_secret(name, value)}
    programs = str(Path(sys.executable).parent)
    path = [part for part in env.get("PATH", os.defpath).split(os.pathsep) if part != programs]
    env["PATH"] = os.pathsep.join([programs, *path])
    env.pop(TREE_VARIABLE, None)
    return {**env, **(extra or {})}


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET_NAME.fullmatch(name) or _SECRET_VALUE.search(value))


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: Stream = None,
    stderr: Stream = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, holding its stdin: when we die, it reads the end of it.

    The child calls ``die_with_parent`` early, or is run through the tether (``tethered``).
    ``env`` None means ``clean_env()``; an environment given is used as it is.
    """
    options: dict[str, Any] = {
        "env": clean_env() if env is None else dict(env),
        "cwd": cwd,
        "stdin": subprocess.PIPE,
        "stdout": stdout,
        "stderr": stderr,
        "pass_fds": tuple(pass_fds),
        "start_new_session": True,
    }
    return _spawner.submit(_popen, list(command), options).result()


def _popen(command: list[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, **options)


def tethered(command: Sequence[str], *, grace: float = 5.0, tree: str | None = None) -> list[str]:
    """The command line that runs ``command`` tied to the life of whoever ``spawn``s it.

    ``tree`` names the process tree, so that ``end_named_tree`` finds it even after the tether was killed.
    """
    options = ["--grace", str(grace), *(["--tree", tree] if tree else [])]
    return [sys.executable, "-m", "fedops.processes", *options, "--", *command]


# --- dying with the parent -------------------------------------------------------------------


def die_with_parent(before: Callable[[], None] | None = None) -> None:
    """End this process and its children soon after its parent is gone, or closes our stdin.

    Called early by our own programs that were started with ``spawn``. ``before`` may tidy up; the
    process is gone after ``ORPHAN_SECONDS`` whether it returns or not. Our stdin becomes empty, so
    that nothing else reads (or inherits) the tie to the parent.
    """
    tie = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    _end_by_kernel_after_parent()
    threading.Thread(
        target=_watch_tie, args=(tie, before), name="parent-watch", daemon=True
    ).start()


def _watch_tie(tie: int, before: Callable[[], None] | None) -> None:
    with contextlib.suppress(OSError):
        while os.read(tie, 1024):
            pass
    last = threading.Timer(ORPHAN_SECONDS, os._exit, (1,))
    last.daemon = True
    last.start()
    with contextlib.suppress(Exception):
        if before is not None:
            before()
    _signal_all(_descendants(psutil.Process()), signal.SIGKILL)
    os._exit(1)


def _end_by_kernel_after_parent() -> None:
    # The watching thread needs the interpreter; native code may never give it back. On Linux the kernel
    # sends SIGQUIT when the parent dies. Its handler is libc's alarm() itself, called with the signal's
    # number (3) as its argument: three seconds later SIGALRM ends the process, Python or not.
    if not _LINUX:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.signal.restype = ctypes.c_void_p
    libc.signal(int(signal.SIGQUIT), ctypes.cast(libc.alarm, ctypes.c_void_p))
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT))


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


# --- ending ----------------------------------------------------------------------------------


def end_tree(pid: int, grace: float = 5.0) -> None:
    """SIGTERM to a process, SIGKILL after ``grace`` seconds to it and to whatever it started.

    Does not reap: the exit code stays for whoever waits on the ``Popen``. No such process is no error.
    """
    root = _process(pid)
    if root is not None:
        _end([root, *_descendants(root)], grace, lambda: _descendants(root))


def end_named_tree(tree: str, grace: float = 5.0) -> int:
    """End every process of this user that carries the tree's name; returns how many there were."""
    found = _carrying(tree)
    _end(found, grace, lambda: _carrying(tree))
    return len(found)


def _end(
    processes: list[psutil.Process], grace: float, more: Callable[[], list[psutil.Process]]
) -> None:
    _signal_all(processes[:1], signal.SIGTERM)
    left = _wait_gone(processes[:1], grace)
    # A root that ended in time may have left descendants, and new ones may have appeared.
    left = [*left, *(p for p in [*processes[1:], *more()] if _alive(p))]
    _signal_all(left, signal.SIGKILL)
    _wait_gone(left, 5.0)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _carrying(tree: str) -> list[psutil.Process]:
    me, found = os.getpid(), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != me and process.environ().get(TREE_VARIABLE) == tree:
                found.append(process)
    return found


def _signal_all(processes: Iterable[psutil.Process], signal_number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            process.send_signal(signal_number)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _wait_gone(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until all have ended (zombies count as ended); returns those that have not."""
    deadline = time.monotonic() + seconds
    return [p for p in processes if not _gone_by(p, deadline)]


def _gone_by(process: psutil.Process, deadline: float) -> bool:
    while _alive(process):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        _await_exit(process.pid, left)
    return True


def _await_exit(pid: int, seconds: float) -> None:
    """Return at the end of a process, or earlier. Unlike wait() it leaves the exit code to its parent."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):  # no such call on this system, or the process is gone
        time.sleep(min(seconds, 0.02))
        return
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(handle)


# --- leftovers of a killed parent ------------------------------------------------------------


def write_pid_file(path: Path, pid: int) -> None:
    """Note a child, with its start time: a process id alone may be another program's by then."""
    process = _process(pid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{pid} {process.create_time() if process else 0.0!r}\n")


def end_leftover(path: Path, grace: float = 0.5) -> bool:
    """End the process that a pid file of a former life notes, if it still runs. Removes the file."""
    process = _noted(path)
    path.unlink(missing_ok=True)
    if process is None:
        return False
    end_tree(process.pid, grace)
    return True


def _noted(path: Path) -> psutil.Process | None:
    try:
        pid, created = path.read_text().split()
        process = psutil.Process(int(pid))
        return process if abs(process.create_time() - float(created)) < 0.05 else None
    except (OSError, ValueError, psutil.Error):
        return None


# --- one process a directory -----------------------------------------------------------------


def hold_lock(path: Path, what: str) -> IO[str]:
    """Lock a file until the handle returned is closed, or this process ends however it does.

    Raises:
        Conflict: another process holds it; ``what`` names it in the message.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    try:
        _lock(file)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise Conflict(
            f"{what} is already running on {path.parent} (process {holder}); "
            "stop it first, or give this one another directory with --home"
        ) from None
    with contextlib.suppress(OSError):  # on a full disk the lock holds, it only names nobody
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"{os.getpid()}\n".encode())
    return file


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        # Beyond the text, so that others can still read who holds it.
        file.seek(1024)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- the tether ------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command tied to our stdin; returns its exit code, 128 + n when signal n ended it."""
    parser = argparse.ArgumentParser(prog="python -m fedops.processes")
    parser.add_argument("--grace", type=float, default=5.0)
    parser.add_argument("--tree", default=None)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    return _tether(options.command, options.grace, options.tree or uuid.uuid4().hex)


def _tether(command: list[str], grace: float, tree: str) -> int:
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans of CMD become ours, so that we find them
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    child = _start_tethered(command, tree)
    threading.Thread(target=_set_at_exit, args=(child, done), daemon=True).start()
    threading.Thread(target=_set_at_end_of_stdin, args=(done,), daemon=True).start()
    done.wait()
    end_tree(child.pid, grace)
    _signal_all([*_descendants(psutil.Process()), *_carrying_others(tree)], signal.SIGKILL)
    code = child.wait()
    return 128 - code if code < 0 else code


def _start_tethered(command: list[str], tree: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, TREE_VARIABLE: tree}
    death = int(signal.SIGKILL)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            env=env,
            # Safe: nothing else runs in this process yet.
            preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, death),
        )
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


def _carrying_others(tree: str) -> list[psutil.Process]:
    return [p for p in _carrying(tree) if p.pid != os.getpid()]


def _set_at_exit(child: subprocess.Popen[bytes], done: threading.Event) -> None:
    child.wait()
    done.set()


def _set_at_end_of_stdin(done: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    done.set()


if __name__ == "__main__":
    sys.exit(main())
