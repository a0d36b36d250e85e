"""FL servers as child processes, one an attempt: started with a ticket, watched, ended as whole trees."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fedops.core.contracts import EngineTicket
from fedops.core.errors import Unavailable
from fedops.core.reasons.durations import pluralised
from fedops.processes.json_lines import write_line
from fedops.processes.process_tree import end_named_tree, end_tree
from fedops.processes.spawn import clean_env, let_go, spawn, without_credentials
from fedops.server.jobs import config_examination
from fedops.server.jobs.app_code import AppCode
from fedops.server.jobs.app_outputs import keep_outputs
from fedops.server.protocol.error_replies import as_shortage

logger = logging.getLogger("fedops.server.engine")

COMMAND = (sys.executable, "-m", "fedops.flower.server_app")
#: A strategy's sums in one order, so that a run that is continued comes to the same bits.
ONE_ORDER = {"OPENBLAS_NUM_THREADS": "1"}
#: glibc: give large blocks back at once. Else what held one round's updates stays with the process.
MALLOC = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
_LAST_CHARACTERS = 2_000
#: From SIGTERM to SIGKILL of a FL server that is ended: what counts is with the Server Manager already.
_REAP_SECONDS = 1.0
_GRACE_SECONDS = 0.5


class EngineProcesses(Protocol):
    """Starts FL servers and knows how they are. All of them end with the Server Manager."""

    def clean(self) -> None:
        """End what an earlier life of the Server Manager left behind."""
        ...

    def start(self, ticket: EngineTicket) -> int:
        """Start the FL server of an attempt; returns its process id. ``Unavailable`` when it cannot be."""
        ...

    def how_ended(self, attempt_id: int) -> str | None:
        """None while it lives, else how it ended ("exit code 1")."""
        ...

    def last_words(self, attempt_id: int) -> str:
        """The end of what it wrote."""
        ...

    def end(self, attempt_id: int, *, at_once: bool = False) -> None:
        """End it with all it started. Gone already is no error."""
        ...

    def forget(self, attempt_id: int) -> None:
        """The attempt is over and its process gone: remove what is left of it."""
        ...

    def examine(
        self, app_dir: Path, config: Mapping[str, Any], seconds: float, *, only_strategy: bool
    ) -> str | None:
        """What of an app and its config would be wrong on every device; "": nothing; None: unknown."""
        ...

    def close(self) -> None:
        """End all of them."""
        ...

    def why(self) -> str:
        """One sentence on how they are, for operators."""
        ...


class LocalEngineProcesses:
    """``EngineProcesses`` on this machine. What they print goes to files under ``home``."""

    def __init__(
        self, home: Path, command: Sequence[str] = COMMAND, code: AppCode | None = None
    ) -> None:
        self._home = home
        self._code = code
        self._command = command
        # The name outlives us: what a killed Server Manager left behind is found by it.
        self._tree = tree_of(home)
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def clean(self) -> None:
        if left := end_named_tree(self._tree, grace=0.0):
            logger.warning("ended %d processes that an earlier Server Manager left behind", left)

    def start(self, ticket: EngineTicket) -> int:
        try:
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
            ticket = self._code.prepare(ticket) if self._code else ticket
            work = self._work(ticket.attempt_id)
            with self._log(ticket.attempt_id).open("wb") as log:
                child = spawn(
                    self._command_of(ticket),
                    env=self._env(work),
                    tree=self._tree,
                    cwd=work,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        except OSError as error:
            lacking = as_shortage(error)
            text = lacking.message if lacking else str(error)
            raise Unavailable(f"the FL server cannot be started: {text}") from error
        with self._lock:
            self._children[ticket.attempt_id] = child
        assert child.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already: that is noticed elsewhere
            write_line(child.stdin.fileno(), ticket.model_dump(mode="json"))
        return child.pid

    def _command_of(self, ticket: EngineTicket) -> Sequence[str]:
        """By the interpreter of the commit's own environment, where it has one."""
        python = ticket.python
        return self._command if python is None else (str(python), *self._command[1:])

    def _work(self, attempt_id: int) -> Path:
        return self._code.work_folder(attempt_id) if self._code else self._home

    def _env(self, work: Path) -> dict[str, str]:
        """No credential and nothing of where the server's data are: an app reads what is in it."""
        env = self._code.env(work) if self._code else without_credentials(clean_env())
        return {**ONE_ORDER, **env} | {
            **MALLOC,
            "FLWR_HOME": str(work / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def how_ended(self, attempt_id: int) -> str | None:
        child = self._children.get(attempt_id)
        if child is None:
            return "it is no child of this Server Manager"
        code = child.poll()
        if code is None:
            return None
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def last_words(self, attempt_id: int) -> str:
        try:
            with self._log(attempt_id).open("rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - _LAST_CHARACTERS, 0))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def end(self, attempt_id: int, *, at_once: bool = False) -> None:
        child = self._children.get(attempt_id)
        if child is not None and child.poll() is None:
            end_tree(child.pid, 0.0 if at_once else _GRACE_SECONDS)

    def forget(self, attempt_id: int) -> None:
        with self._lock:
            child = self._children.pop(attempt_id, None)
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_REAP_SECONDS)  # it is gone, the kernel may not have said so yet
            let_go(child)
        self._log(attempt_id).unlink(missing_ok=True)
        if self._code:
            work = self._work(attempt_id)
            keep_outputs(work, self._code.kept_folder)
            shutil.rmtree(work, ignore_errors=True)

    def examine(
        self, app_dir: Path, config: Mapping[str, Any], seconds: float, *, only_strategy: bool
    ) -> str | None:
        hold = self._code.of_check if self._code else None
        return config_examination.examine(
            app_dir,
            config,
            seconds,
            self._env,
            self._tree,
            hold=hold,
            only_strategy=only_strategy,
        )

    def close(self) -> None:
        for attempt_id in list(self._children):
            self.end(attempt_id)
            self.forget(attempt_id)
        end_named_tree(self._tree, grace=0.0)

    def why(self) -> str:
        living = sum(child.poll() is None for child in list(self._children.values()))
        return f"{pluralised(living, 'FL server')} running" if living else "no FL server is running"

    def _log(self, attempt_id: int) -> Path:
        return self._home / f"attempt-{attempt_id}.log"


def tree_of(home: Path) -> str:
    """What the processes of FL servers with this folder are named by (``processes.TREE_VARIABLE``)."""
    return "engine-" + hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]
