"""Child processes that end with us, and carry none of our secrets."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import psutil

from fedops.platforms.processes import KILL, end_by_kernel_after_parent, of_its_own
from fedops.processes.process_tree import TREE_VARIABLE, descendants, signal_all
from fedops.processes.threads import in_thread

#: A child that lost its parent is gone at the latest after this many seconds.
ORPHAN_SECONDS = 2.0
_SECRET_NAME = re.compile(r"FEDOPS_.*(TOKEN|SECRET|PASSWORD|KEY|DATABASE_URL)", re.IGNORECASE)
_CREDENTIAL_NAME = re.compile(
    r"PG.*|AWS_.*|.*(TOKEN|SECRET|PASSW|API_?KEY|ACCESS_KEY|PRIVATE_KEY|CREDENTIAL|DATABASE_URL|_DSN).*",
    re.IGNORECASE,
)
_CREDENTIAL_VALUE = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_SECRET_VALUE = re.compile(r"\bfo_(admin|join|device|attempt)_")

# PR_SET_PDEATHSIG fires when the *thread* that started the child ends, so all children are started
# by one thread that lives as long as the process.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
Stream = int | IO[Any] | None
#: This process, once it has been tied to its parent: the stdin that it has then says nothing of that.
_tied: set[int] = set()


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


def without_credentials(env: Mapping[str, str]) -> dict[str, str]:
    """For code that has no business with this user's accounts, whichever programs they are for."""
    return {
        name: value
        for name, value in env.items()
        if not _CREDENTIAL_NAME.fullmatch(name) and not _CREDENTIAL_VALUE.search(value)
    }


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET_NAME.fullmatch(name) or _SECRET_VALUE.search(value))


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    tree: str | None = None,
    stdout: Stream = None,
    stderr: Stream = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, holding its stdin: when we die, it reads the end of it.

    The child calls ``die_with_parent`` early, or is run through the tether (``tethered``).
    ``env`` None means ``clean_env()``; an environment given is used as it is. ``tree`` names the child and
    all that it starts, for ``end_named_tree``.
    """
    named = {TREE_VARIABLE: tree} if tree else {}
    options: dict[str, Any] = {
        "env": {**(clean_env() if env is None else env), **named},
        "cwd": cwd,
        "stdin": subprocess.PIPE,
        "stdout": stdout,
        "stderr": stderr,
        **of_its_own(pass_fds),
    }
    return _spawner.submit(_popen, list(command), options).result()


def _popen(command: list[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, **options)


def let_go(child: subprocess.Popen[bytes]) -> None:
    """Cut the tie to a child: one that lives takes it for our end."""
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()


def tethered(
    command: Sequence[str],
    *,
    grace: float = 5.0,
    tree: str | None = None,
    terminal: bool = False,
    extra: Mapping[str, str] | None = None,
) -> list[str]:
    """The command line that runs ``command`` tied to the life of whoever ``spawn``s it.

    ``tree`` names the process tree, so that ``end_named_tree`` finds it even after the tether was killed.
    ``terminal`` gives it a terminal at end of file as its stdin, for programs that ask for its size;
    ``extra`` are variables that the command gets and the tether does not: no secrets.
    """
    options = ["--grace", str(grace), *(["--tree", tree] if tree else [])]
    options += ["--terminal"] if terminal else []
    options += [part for item in (extra or {}).items() for part in ("--set", "=".join(item))]
    return [sys.executable, "-m", "fedops.processes.tether", *options, "--", *command]


def die_with_parent(before: Callable[[], None] | None = None) -> None:
    """End this process and its children soon after its parent is gone, or closes our stdin.

    Called early by our own programs that were started with ``spawn``. ``before`` may tidy up; the
    process is gone after ``ORPHAN_SECONDS`` whether it returns or not. Our stdin becomes empty, so
    that nothing else reads (or inherits) the tie to the parent. A second call changes nothing.
    """
    if os.getpid() in _tied:
        return
    _tied.add(os.getpid())
    tie = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    end_by_kernel_after_parent()
    in_thread(_watch_tie, tie, before, name="parent-watch")


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
    signal_all(descendants(psutil.Process()), KILL)
    os._exit(1)
