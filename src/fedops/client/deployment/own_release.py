"""The release of FedOps that the server wants here: a child installs it, if this device's owner lets it.

The child does what ``fedops client upgrade`` does: it tries the new release, and puts the one before back
unless that works. Each wish is tried once, whatever happens meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fedops import __version__
from fedops.client.deployment.keeper import Turn
from fedops.client.device.data_dir import DataDir
from fedops.core.contracts import Work, WorkPoll
from fedops.core.delivery.upgrades import OWNERS_TURN
from fedops.core.errors import Conflict, NotFound
from fedops.core.printable import printable
from fedops.core.reasons.releases import same_release
from fedops.failpoints import reached
from fedops.processes.spawn import clean_env
from fedops.storage.atomic_files import write_atomic
from fedops.storage.shortages import why_not_written

logger = logging.getLogger("fedops.client")

_COMMAND = (sys.executable, "-m", "fedops.client.upgrade.upgrade_here")
#: How long the child may take: it fetches packages twice, and waits for the server. Seconds.
_CHILD_SECONDS = 4_000.0
#: How long one that is told to end may take to put the release before back. Seconds.
_BACK_SECONDS = 15.0
#: How soon it is looked again whether the work is done. Seconds.
_WORK_SECONDS = 0.5
_PROBLEM_LENGTH = 2_000
#: A person has to do something here: it is no installation that can be replaced, or no device.
_PERSONS_TURN = (Conflict.exit_code, NotFound.exit_code)


def upgrade_env(server: str, ca_file: Path | None) -> dict[str, str]:
    """What the child has to know beside the data dir."""
    authorities = {"FEDOPS_CLIENT_CA_FILE": str(ca_file)} if ca_file else {}
    return {"FEDOPS_CLIENT_SERVER": server, **authorities}


@dataclass(frozen=True)
class Outcome:
    """What became of a wish. Kept on disk: the next Client Manager does not try it again."""

    attempt: int = 0
    problem: str = ""
    stalled: bool = False


class OwnRelease:
    """``allowed``: by ``[deploy] upgrade``. ``changed``: the server should hear at once. ``leave``: end, so
    that what is installed then is started."""

    def __init__(
        self,
        home: DataDir,
        allowed: bool,
        turn: Turn,
        changed: Callable[[], None],
        leave: Callable[[], None],
        *,
        env: dict[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> None:
        self._file = home.path / "upgrade.json"
        self._allowed, self._turn = allowed, turn
        self._changed, self._leave = changed, leave
        self._env = env or {}
        self._command = [*(command or _COMMAND), str(home.path)]
        self._outcome = self._read()
        self._wish = Wish()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()

    # --- for other threads -------------------------------------------------------------------------

    def take(self, work: Work) -> None:
        """What the server wants, heard now. Returns at once."""
        with self._lock:
            self._wish = wish = Wish(work.upgrade, work.upgrade_attempt)
            if not (wish.is_open and self._allowed) or wish.attempt == self._outcome.attempt:
                return
            if self._stopped.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(
                target=self._run, args=(wish,), name="upgrade", daemon=True
            )
        self._thread.start()

    def report(self, poll: WorkPoll) -> WorkPoll:
        """The poll with what is in the way of the newest wish, if something is."""
        with self._lock:
            wish, outcome = self._wish, self._outcome
            at_work = self._thread is not None and self._thread.is_alive()
        if not wish.is_open or at_work:
            return poll
        if not self._allowed:
            outcome = Outcome(wish.attempt, OWNERS_TURN, True)
        if outcome.attempt != wish.attempt:
            return poll
        return poll.model_copy(
            update={
                "upgrade_problem": outcome.problem,
                "upgrade_stalled": outcome.stalled,
                "upgrade_attempt": outcome.attempt,
            }
        )

    def stop(self) -> None:
        """A child that is at it puts the release before back."""
        self._stopped.set()
        child, thread = self._child, self._thread
        if child is not None and child.poll() is None:
            child.terminate()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_BACK_SECONDS)

    # --- one wish ----------------------------------------------------------------------------------

    def _run(self, wish: Wish) -> None:
        while not self._turn.reserve():
            if self._stopped.wait(_WORK_SECONDS) or wish != self._wish:
                return
        outcome = self._see_through(wish)
        if outcome is None:
            self._leave()
            return
        if outcome.problem:
            logger.warning("FedOps %s is not used: %s", wish.release, outcome.problem)
        with contextlib.suppress(OSError):
            self._keep(outcome)
        self._turn.release()
        self._thread = None
        self._changed()

    def _see_through(self, wish: Wish) -> Outcome | None:
        """None: it is installed, and runs as soon as this Client Manager has been started anew."""
        try:
            self._keep(Outcome(wish.attempt, _half_done(wish), True))
            reached("manager.upgrade.begun")
            logger.info("installing FedOps %s, which the server wants", wish.release)
            return self._install(wish)
        except OSError as error:
            why = why_not_written(error, self._file, "this device")
            return Outcome(wish.attempt, why[:_PROBLEM_LENGTH], True)

    def _install(self, wish: Wish) -> Outcome | None:
        with self._lock:
            if self._stopped.is_set():
                return Outcome()
            self._child = child = subprocess.Popen(
                self._command,
                env=clean_env(self._env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        try:
            said, _ = child.communicate(timeout=_CHILD_SECONDS)
        except subprocess.TimeoutExpired:
            child.terminate()
            said, _ = child.communicate()
        if child.returncode == 0:
            return None
        if self._stopped.is_set():  # it was told to end: the next Client Manager tries it
            return Outcome()
        problem = _message(said) or f"the upgrade ended with exit code {child.returncode}"
        return Outcome(wish.attempt, problem, child.returncode in _PERSONS_TURN)

    # --- on disk -----------------------------------------------------------------------------------

    def _keep(self, outcome: Outcome) -> None:
        with self._lock:
            self._outcome = outcome
        write_atomic(self._file, json.dumps(asdict(outcome)).encode(), 0o600)

    def _read(self) -> Outcome:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Outcome(**json.loads(self._file.read_text(encoding="utf-8")))
        return Outcome()


@dataclass(frozen=True)
class Wish:
    """What the server wants here. ``release`` "": nothing."""

    release: str = ""
    attempt: int = 0

    @property
    def is_open(self) -> bool:
        return bool(self.release) and not same_release(self.release, __version__)


def _half_done(wish: Wish) -> str:
    """What is true if a Client Manager of this release is asked again after it began."""
    return (
        f"FedOps {wish.release} was installed, or half of it, and FedOps {__version__} runs here still: run"
        " 'fedops client upgrade', and look which environment its service starts"
    )


def _message(said: str) -> str:
    """What the child says is wrong."""
    with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
        message = json.loads(said.strip().splitlines()[-1])["message"]
        return printable(str(message))[:_PROBLEM_LENGTH]
    return ""
