"""The owner's own folder in place of what the server sends: never changed by us, looked at and reported.

At another commit the training client starts anew, so that the commit reported is the one that runs. While
somebody edits, nothing is loaded.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fedops.client.deployment.keeper import WORK_SECONDS, Turn
from fedops.client.deployment.running import RunningApp
from fedops.client.local.messages import AwaitedCommit, DeployedStatus
from fedops.client.supervision.process_run import Program
from fedops.client.supervision.training_program import AppPlace
from fedops.core.contracts import DeploymentReport, DesiredDeployment, Work
from fedops.core.errors import Conflict, FedOpsError
from fedops.core.states import DeploymentStatus
from fedops.processes.short_commands import output_of

logger = logging.getLogger("fedops.client")

_GIT_SECONDS = 20.0
#: How long work is kept away while the training client starts with what the owner changed. Seconds.
_START_SECONDS = 30.0
#: What Python writes beside the code when it is run.
_NOT_COMPILED = ":(exclude,glob)**/__pycache__/**"


def commit_of(folder: Path) -> tuple[str | None, bool]:
    """The commit that a folder is at, and whether files in it differ from that.

    Of a folder without Git, the digest of what the app is made of: it never differs.
    """
    git = ["git", "-c", f"safe.directory={_top(folder)}", "-C", str(folder)]
    head = output_of([*git, "rev-parse", "--verify", "HEAD"], seconds=_GIT_SECONDS)
    if head is None:
        return _digest(folder), False
    words = ["status", "--porcelain", "--untracked-files=all", "--", ".", _NOT_COMPILED]
    changed = output_of([*git, *words], seconds=_GIT_SECONDS)
    return head.strip(), changed is None or bool(changed.strip())


def _top(folder: Path) -> Path:
    """The repository's folder, which may be another user's."""
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)


def _digest(folder: Path) -> str | None:
    from fedops.flower.app_package import build_bundle  # few devices need it, and it takes a second

    try:
        return hashlib.sha256(build_bundle(folder)).hexdigest()
    except FedOpsError:
        return None


class LocalFolder:
    """An app of the device's owner, for a task whose code the server has too."""

    def __init__(
        self,
        task: str,
        app: Path,
        running: RunningApp,
        turn: Turn,
        news: Callable[[], None],
        look_seconds: float,
    ) -> None:
        self._task = task
        self._app = app
        self._running = running
        self._turn = turn
        self._news = news
        self._look_seconds = look_seconds
        self._wish: DesiredDeployment | None = None
        self._commit: str | None = None
        self._dirty = False
        self._fingerprint = ""
        self._problem = ""
        self._since = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="local-folder", daemon=True)

    @property
    def folder(self) -> str | None:
        return str(self._app)

    def start(self) -> None:
        self._begin("the owner's own folder runs")
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def take(self, work: Work) -> None:
        self._wish = next((one for one in work.deployments if one.task == self._task), None)

    def learn(self, fingerprint: str) -> None:
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._news()

    def reports(self) -> list[DeploymentReport]:
        wish = self._wish
        return [
            DeploymentReport(
                task=self._task,
                commit=self._commit,
                attempt=wish.attempt if wish else 0,
                status=DeploymentStatus.WAITING if self._problem else DeploymentStatus.ACTIVE,
                reason=self._why(),
                stalled=bool(self._problem),
                active=self._commit,
                local=True,
                dirty=self._dirty,
                fingerprint=self._fingerprint,
                seconds=time.monotonic() - self._since,
            )
        ]

    def status(self) -> DeployedStatus:
        report, wish = self.reports()[0], self._wish
        return DeployedStatus(
            task=self._task,
            desired=wish.commit if wish else None,
            active=self._commit,
            status=report.status,
            why=report.reason,
            stalled=report.stalled,
            local=True,
            dirty=self._dirty,
        )

    def awaited(self) -> AwaitedCommit:
        raise Conflict(
            f"this device runs a folder of its own ({self._app}), which the server never changes: there is "
            "nothing to approve"
        )

    def approve(self, commit: str) -> None:
        self.awaited()

    def _why(self) -> str:
        where = f"the device runs its owner's folder {self._app}"
        if self._problem:
            return f"{where}: {self._problem}"
        wish = self._wish
        if (
            wish is None
            or self._commit is None
            or (wish.commit == self._commit and not self._dirty)
        ):
            return ""
        changed = ", with changes" if self._dirty else ""
        return (
            f"{where} at {self._commit[:12]}{changed}, and the server wants {wish.commit[:12]}: "
            "its owner has to update it, for example with 'git pull'"
        )

    def _run(self) -> None:
        known: tuple[str | None, bool] | None = None
        while not self._stopped.is_set():
            found = commit_of(self._app)
            other = known is not None and found != known and not found[1]
            if (other or self._problem) and not self._begin_anew():
                self._stopped.wait(WORK_SECONDS)
                continue
            if found != known:
                known = self._commit, self._dirty = found
                self._since = time.monotonic()
                self._news()
            self._stopped.wait(self._look_seconds)

    def _begin(self, reason: str) -> Program | None:
        """Have the folder run as it is now. None: it cannot, and ``_problem`` says why."""
        app = AppPlace(self._app)
        found = self._running.run(app, reason)
        if isinstance(found, str):
            if found != self._problem:
                self._running.rest(found)
                self._problem = found
                self._news()
            return None
        self._problem = ""
        self._running.remember(app, self._task)
        return found

    def _begin_anew(self) -> bool:
        """Have the training client load what is there now. False: it has work in hand."""
        if not self._turn.reserve():
            return False
        try:
            if (program := self._begin("its owner changed the folder")) is not None:
                logger.info("%s has changed: the training client loads it anew", self._app)
                self._running.supervisor.settled(program, _START_SECONDS)
                self._news()
        finally:
            self._turn.release()
        return True
