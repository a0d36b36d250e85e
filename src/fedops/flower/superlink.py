"""The SuperLink as a child process: started in memory on a loopback port, watched, ended as a whole tree."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from fedops.core.errors import Unavailable
from fedops.flower import superlink_process
from fedops.processes import (
    TREE_VARIABLE,
    clean_env,
    end_leftover,
    end_named_tree,
    end_tree,
    spawn,
    tethered,
    write_pid_file,
)

logger = logging.getLogger("fedops.flower.superlink")

HOST = "127.0.0.1"
START_SECONDS = 60.0
HEALTH_SECONDS = 2.0
#: A SuperLink that lives but does not answer so many checks in a row is taken for hung.
MAX_SILENT_CHECKS = 5
#: Between SIGTERM and SIGKILL when it is ended: it keeps nothing that could be lost.
GRACE_SECONDS = 0.2
LOG_BYTES = 5_000_000
#: glibc: give large blocks back at once. Else what held one round's updates stays with the process.
MALLOC = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
#: What flower-superexec is called on its command line.
SUPEREXEC = "flower-superexec"


class SuperLink:
    """One SuperLink at a time, with all it starts. Its files live in ``home``."""

    def __init__(
        self, home: Path, attempts_dir: Path, start_seconds: float = START_SECONDS
    ) -> None:
        self.home = home
        self.port = 0
        #: Whether a start is under way that nobody waits for yet.
        self.launched = False
        self._attempts_dir = attempts_dir
        self._start_seconds = start_seconds
        # The name outlives us: what a killed Server Manager left behind is found by it.
        self.tree = "superlink-" + hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]
        self._process: subprocess.Popen[bytes] | None = None
        self._superexec: psutil.Process | None = None
        self._silent_checks = 0
        self._cancelled = threading.Event()
        self._lock = threading.RLock()

    @property
    def address(self) -> str:
        """Host and port of all its APIs."""
        return f"{HOST}:{self.port}"

    @property
    def log_file(self) -> Path:
        return self.home / "superlink.log"

    @property
    def _pid_file(self) -> Path:
        return self.home / "superlink.pid"

    # --- starting and ending ---------------------------------------------------------------------

    def launch(self) -> None:
        """Begin to start it and return at once; ``start`` then waits for what is under way.

        What an earlier one left behind is ended first.
        """
        with self._lock:
            self.stop()
            self._cancelled.clear()
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._end_leftovers()
            self.port = _free_port()
            self._spawn()
            self.launched = True

    def start(self) -> None:
        """Start it and return when it answers."""
        with self._lock:
            if not self.launched:
                self.launch()
            self.launched = False
            self._wait_until_up()
        logger.info("the SuperLink is up on %s (pid %d)", self.address, self._pid())

    def _end_leftovers(self) -> None:
        end_leftover(self._pid_file)
        if count := end_named_tree(self.tree, grace=0.0):
            logger.warning("ended %d processes that an earlier SuperLink left behind", count)

    def _spawn(self) -> None:
        command = [
            *(sys.executable, superlink_process.__file__, "flower-superlink"),
            "--insecure",
            "--disable-runtime-dependency-installation",
            *("--host", HOST, "--port", str(self.port)),
        ]
        _keep_tail(self.log_file)
        with self.log_file.open("ab") as log:
            self._process = spawn(
                tethered(command, grace=GRACE_SECONDS, tree=self.tree),
                env=self._env(),
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        write_pid_file(self._pid_file, self._process.pid)
        self._silent_checks = 0

    def _env(self) -> dict[str, str]:
        env = {name: value for name, value in clean_env().items() if not name.startswith("FLWR_")}
        return env | {
            **MALLOC,
            "FLWR_HOME": str(self.home / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
            "FLWR_LOG_LEVEL": "WARNING",
            "FEDOPS_ATTEMPTS_DIR": str(self._attempts_dir),
            "PYTHONUNBUFFERED": "1",
        }

    def _wait_until_up(self) -> None:
        process, deadline = self._process, time.monotonic() + self._start_seconds
        assert process is not None
        while not self._answers(HEALTH_SECONDS):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
            late = time.monotonic() > deadline or self._cancelled.is_set()
            if late or process.returncode is not None:
                raise self._did_not_start(process.returncode)
        self._superexec = self._find_superexec()

    def _did_not_start(self, code: int | None) -> Unavailable:
        what = (
            f"ended with code {code}"
            if code is not None
            else f"did not answer within {self._start_seconds:.0f} s"
        )
        tail = tail_of(self.log_file)
        self.stop()
        return Unavailable(
            f"the SuperLink could not be started: it {what}. See {self.log_file}. Its last words: {tail}"
        )

    def cancel_start(self) -> None:
        """Let a start that is under way in another thread fail soon."""
        self._cancelled.set()

    def stop(self) -> None:
        """End it and every process it started."""
        with self._lock:
            self.launched = False
            process, self._process, self._superexec = self._process, None, None
            if process is None:
                return
            end_tree(process.pid, GRACE_SECONDS + 2.0)
            end_named_tree(self.tree, grace=0.0)
            process.wait()
            if process.stdin:
                process.stdin.close()
            self._pid_file.unlink(missing_ok=True)

    # --- watching ----------------------------------------------------------------------------------

    def sickness(self) -> str | None:
        """None when it is well, else what is wrong with it."""
        with self._lock:
            if self._process is None:
                return "it is not started"
            if (code := self._process.poll()) is not None:
                return f"it ended with code {code}"
            if not _lives(self._superexec):
                return "its SuperExec died"
            if self._answers(HEALTH_SECONDS):
                self._silent_checks = 0
                return None
            self._silent_checks += 1
            if self._silent_checks < MAX_SILENT_CHECKS:
                return None
            return f"it did not answer {self._silent_checks} health checks in a row"

    def _answers(self, timeout: float) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _find_superexec(self) -> psutil.Process | None:
        for child in self._descendants():
            with contextlib.suppress(psutil.Error):
                if any(Path(word).name == SUPEREXEC for word in child.cmdline()[:3]):
                    return child
        return None

    def _descendants(self) -> list[psutil.Process]:
        try:
            return list(psutil.Process(self._pid()).children(recursive=True))
        except psutil.Error:
            return []

    def _pid(self) -> int:
        return self._process.pid if self._process else 0

    # --- the processes of its runs -----------------------------------------------------------------

    def runs_process(self, pid: int) -> bool:
        """Whether this process lives and is one of the SuperLink's: a number alone proves nothing."""
        return self._own_process(pid) is not None

    def kill_process(self, pid: int) -> None:
        """End one of its processes at once, with its children. Any other is left alone."""
        if self._own_process(pid) is not None:
            end_tree(pid, grace=0.0)

    def _own_process(self, pid: int) -> psutil.Process | None:
        with contextlib.suppress(psutil.Error, OSError, ValueError, OverflowError):
            process = psutil.Process(pid)
            if _lives(process) and process.environ().get(TREE_VARIABLE) == self.tree:
                return process
        return None


def _lives(process: psutil.Process | None) -> bool:
    try:
        return process is not None and (
            process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _keep_tail(log: Path) -> None:
    """Begin a new file when the old one is long; the one before is kept."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


def tail_of(log: Path, characters: int = 1_000) -> str:
    """The end of a log file, on one line."""
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - characters, 0))
            return " | ".join(file.read().decode(errors="replace").split("\n")).strip(" |")
    except OSError:
        return ""
