"""``python -m fedops.processes.tether -- CMD...``: ends CMD's whole tree with whoever started it."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence

import psutil

from fedops.platforms.processes import KILL, adopt_orphans, killed_with_us
from fedops.platforms.terminals import terminal_at_end
from fedops.processes.process_tree import TREE_VARIABLE, carrying, descendants, end_tree, signal_all
from fedops.processes.threads import in_thread


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command tied to our stdin; returns its exit code, 128 + n when signal n ended it."""
    parser = argparse.ArgumentParser(prog="python -m fedops.processes.tether")
    parser.add_argument("--grace", type=float, default=5.0)
    parser.add_argument("--tree", default=None)
    parser.add_argument("--terminal", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    tree = options.tree or uuid.uuid4().hex
    named = dict(item.split("=", 1) for item in options.set)
    return _tether(
        options.command, options.grace, tree, {**named, TREE_VARIABLE: tree}, options.terminal
    )


def _tether(
    command: list[str], grace: float, tree: str, extra: dict[str, str], terminal: bool
) -> int:
    adopt_orphans()
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    child = _start_tethered(command, extra, terminal)
    in_thread(_set_at_exit, child, done)
    in_thread(_set_at_end_of_stdin, done)
    done.wait()
    end_tree(child.pid, grace)
    signal_all([*descendants(psutil.Process()), *_carrying_others(tree)], KILL)
    code = child.wait()
    return 128 - code if code < 0 else code


def _start_tethered(
    command: list[str], extra: dict[str, str], terminal: bool
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=terminal_at_end() if terminal else subprocess.DEVNULL,
            env={**os.environ, **extra},
            **killed_with_us(),
        )
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


def _carrying_others(tree: str) -> list[psutil.Process]:
    return [p for p in carrying(tree) if p.pid != os.getpid()]


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
