"""The ServerApp in mode "client": starts a device's processes, passes on their words, ends with the run.

Flower ends a run by a signal, by the end of its process or by refusing its calls; whatever it is, the
processes end within seconds, and each of them also ends by itself when this process is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from flwr.app import Context
from flwr.serverapp import Grid

from fedops.core.errors import FedOpsError
from fedops.flower.launch.flwr_run_stream import Stream, find_stream
from fedops.flower.launch.host_process import on_leaving, overrides_of
from fedops.processes.process_tree import end_named_tree, end_tree
from fedops.processes.spawn import clean_env, let_go, spawn
from fedops.processes.threads import in_thread
from fedops.settings import app_settings

#: What the lines of the two processes begin with.
MANAGER_PREFIX = "client manager | "
TRAINING_PREFIX = "training client | "
#: The Client Manager's last words, when it ends with an error, begin with this.
ERROR_PREFIX = "fedops: "
#: From SIGTERM to SIGKILL.
GRACE_SECONDS = 2.5
#: How often Flower is asked whether it still wants us, and the log's stream whether it is open.
_LOOK_SECONDS = 0.5
_LAST_LINES = 40
PLACEHOLDER = "task_id"


def run_launcher(grid: Grid, context: Context, app_dir: Path, module: str) -> None:
    """Run the app's Client Manager (``python -m module``) and with it the training client, until stopped.

    Raises:
        FedOpsError: the Client Manager ended with an error; the message is its reason.
    """
    options = [word for override in overrides_of(context) for word in ("--set", override)]
    command = [sys.executable, "-m", module, "--tethered", *options]
    stream = find_stream(grid.run.fab_id.rsplit("/", 1)[-1], grid.run.pending_at)
    child = Child(command, _environment(context), app_dir)
    on_leaving(child.end)
    try:
        _stay(child, grid, stream)
    finally:
        child.end()
    if child.code and not child.asked_to_end:
        raise FedOpsError(child.reason())


def _stay(child: Child, grid: Grid, stream: Stream | None) -> None:
    """Wait until the child ends, or nobody waits for it any more."""
    if stream is not None:
        _say("Ctrl-C ends this run; to leave it running, submit it without --stream")
        in_thread(_end_with, stream, child)
    while not child.wait(_LOOK_SECONDS):
        _touch(grid)


def _end_with(stream: Stream, child: Child) -> None:
    """End the child when the stream is closed. Apart from ``_touch``, which may have to wait for Flower."""
    while not child.wait(_LOOK_SECONDS):
        if not stream.open:
            _say("the log stream was closed: ending")
            child.end()
            return


def _touch(grid: Grid) -> None:
    """Make Flower tell us when the run was stopped: it only answers, by a signal, to who calls it."""
    list(grid.get_node_ids())
    # In a simulation the grid is in this process, and only log lines go to the SuperLink.
    sys.stdout.write("")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _environment(context: Context) -> dict[str, str]:
    """The child's environment: the run config wins over what is there."""
    extra = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(_own_packages())}
    task, server = (str(context.run_config.get(key, "")) for key in ("task_id", "server"))
    if task not in ("", PLACEHOLDER):
        extra["FEDOPS_TASK_ID"] = task
    if server:
        extra["FEDOPS_SERVER"] = server
    if token := app_settings().join_token:
        extra["FEDOPS_JOIN_TOKEN"] = token
    return clean_env(extra)


def _own_packages() -> list[str]:
    """Where Flower has put what the app depends on beside what this environment has."""
    place = Path(os.environ.get("VIRTUAL_ENV", sys.prefix))
    if place == Path(sys.prefix):
        return []
    return [entry for entry in sys.path if entry and Path(entry).is_relative_to(place)]


class Child:
    """The Client Manager. What it prints goes to our output, line by line, with a prefix."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self._tree = f"launcher-{uuid.uuid4().hex}"
        self._process: subprocess.Popen[bytes] = spawn(
            command,
            env=env,
            tree=self._tree,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.asked_to_end = False
        assert self._process.stdout is not None
        self._reader = in_thread(self._relay, self._process.stdout)
        in_thread(self._await_exit)

    @property
    def code(self) -> int | None:
        return self._process.poll()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended by then."""
        return self._ended.wait(seconds)

    def end(self) -> None:
        """End it and all it started; returns when that is done. May be called again, from any thread."""
        with self._lock:
            if not self._ended.is_set():
                self.asked_to_end = True
                end_tree(self._process.pid, GRACE_SECONDS)
            end_named_tree(self._tree, grace=0.0)  # what it may have left
            let_go(self._process)
        self._reader.join(1.0)

    def reason(self) -> str:
        """Why it ended with an error: its last words."""
        lines = list(self._last)
        starts = [i for i, line in enumerate(lines) if line.startswith(ERROR_PREFIX)]
        if starts:
            return "\n".join(lines[starts[-1] :]).removeprefix(ERROR_PREFIX)
        words = f": {lines[-1]}" if lines else ", without a word"
        return f"the Client Manager ended with code {self.code}{words}"

    def _relay(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                self._take(raw.decode(errors="replace").rstrip())

    def _take(self, line: str) -> None:
        if line.startswith(TRAINING_PREFIX):
            _say(line)
        elif line:
            self._last.append(line)
            _say(f"{MANAGER_PREFIX}{line}")

    def _await_exit(self) -> None:
        self._process.wait()
        self._reader.join(1.0)
        self._ended.set()
