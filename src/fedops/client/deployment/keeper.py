"""Makes the device run the commit that the server wants: level-triggered, in a thread of its own.

``waiting -> fetching -> preparing -> awaiting_approval? -> checking -> active | rolled_back``. Every step
looks first whether it is done already, so that it can be begun anew at any time, whatever has happened.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from fedops.client.deployment.commits.cleaning import clean_up
from fedops.client.deployment.commits.deployment_state import (
    CommitNote,
    DeploymentState,
    StateFile,
)
from fedops.client.deployment.commits.downloads import NoRoom
from fedops.client.deployment.commits.fetching import Fetching
from fedops.client.deployment.commits.places import Places
from fedops.client.deployment.commits.preparing import NotYet, Preparation
from fedops.client.deployment.reporting import report_of, status_of
from fedops.client.deployment.switching import Switching
from fedops.client.deployment.wishes import wish_for
from fedops.client.device.device_config import Deploy
from fedops.client.local.messages import AwaitedCommit, DeployedStatus
from fedops.client.work.reachability import Over
from fedops.core.contracts import DeploymentReport, DesiredDeployment, Work
from fedops.core.errors import Conflict, FedOpsError, Invalid, Unavailable
from fedops.core.states import DeploymentStatus
from fedops.failpoints import reached
from fedops.storage.shortages import why_not_written

logger = logging.getLogger("fedops.client")

_D = DeploymentStatus
_AT_REST = (_D.ACTIVE, _D.ROLLED_BACK)
#: How soon it is looked again whether the server has the packages, and whether the work is done. Seconds.
_PACKAGES_SECONDS, WORK_SECONDS = 3.0, 0.5


class Turn(Protocol):
    """The device's work: ``work.WorkDesk``."""

    def reserve(self) -> bool:
        """Take on no more work, until ``release``. False: some is in hand."""
        ...

    def release(self) -> None: ...


@dataclass(frozen=True)
class KeeperParts:
    """What a keeper works with."""

    places: Places
    fetching: Fetching
    preparation: Preparation
    switching: Switching
    turn: Turn
    owner: Deploy
    platform: str
    #: Something changed that the server waits for.
    news: Callable[[], None]
    #: Something worth keeping happened: name and text.
    event: Callable[[str, str], None]
    #: How often something that cannot go on is looked at. Seconds.
    look_seconds: float


class Keeper:
    """Of one task."""

    def __init__(self, parts: KeeperParts) -> None:
        self._parts = parts
        self._places = parts.places
        self._file = StateFile(parts.places.state)
        self._lock = threading.RLock()
        self._state = DeploymentState()
        self._wish: DesiredDeployment | None = None
        self._heard = False
        #: Of the commit that runs.
        self._note: CommitNote | None = None
        self._fetch_at = 0.0
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deployment", daemon=True)

    # --- for other threads -------------------------------------------------------------------------

    @property
    def folder(self) -> str | None:
        active = self._state.active
        return str(self._places.commit(active).app) if active else None

    def start(self) -> None:
        try:
            self._places.prepare()
        except OSError as error:
            raise Unavailable(why_not_written(error, self._places.path)) from None
        self._set(self._parts.switching.come_back(self._file.read()))
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._look_now()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def take(self, work: Work) -> None:
        try:
            wish = wish_for(work, self._places.task)
        except Invalid as error:
            logger.warning("%s: it is not heeded", error.message)
            return
        with self._lock:
            if self._heard and wish == self._wish:
                return
            if wish is not None and not _same(wish, self._wish):
                self._fetch_at = time.monotonic() + max(wish.after_seconds, 0.0)
            self._wish, self._heard = wish, True
        self._look_now()

    def learn(self, fingerprint: str) -> None:
        """It is known from the trial."""

    def reports(self) -> list[DeploymentReport]:
        with self._lock:
            state, note = self._state, self._note
        return [report_of(self._places.task, state, note, self._parts.platform)]

    def status(self) -> DeployedStatus:
        wish = self._wish
        return status_of(self._places.task, self._state, wish.commit if wish else None)

    def awaited(self) -> AwaitedCommit:
        with self._lock:
            state, wish = self._state, self._wish
        if wish is None or state.status is not _D.AWAITING_APPROVAL or not state.is_of(wish):
            raise Conflict(
                "no commit waits for approval; 'fedops client status' shows what it does"
            )
        return AwaitedCommit(
            task=wish.task,
            commit=wish.commit,
            active=state.active,
            subject=wish.subject,
            author=wish.author,
            changes=wish.changes,
        )

    def approve(self, commit: str) -> None:
        with self._lock:
            waiting = self.awaited().commit
            if len(commit) < 7 or not waiting.startswith(commit):
                raise Conflict(f"the commit that waits for approval is {waiting}, not {commit}")
            self._set(self._state.with_approval(waiting), must=True)
        logger.info("the owner of this device allows commit %s", waiting[:12])
        self._wake.set()

    def _look_now(self) -> None:
        """Also when it waits to call the server again, which may have said for how long."""
        self._wake.set()
        self._parts.preparation.reach.wake()

    # --- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            with self._lock:
                wish = self._wish
            pause = self._looked(wish)
            self._wake.wait(pause)

    def _looked(self, wish: DesiredDeployment | None) -> float | None:
        """Do what can be done now; how long until the next look, None: until something is new."""
        try:
            if wish is not None:
                return self._make_so(wish)
            self._unwanted()
            return None
        except Over:
            return 0.0
        except NotYet as error:
            self._at(_D.PREPARING, str(error))
            return min(_PACKAGES_SECONDS * random.uniform(0.8, 1.3), self._parts.look_seconds)
        except NoRoom as error:
            self._stall(str(error))
        except Invalid as error:
            self._roll_back(error.message)
            return None
        except FedOpsError as error:
            self._stall(error.message)
        except OSError as error:
            self._stall(why_not_written(error, self._places.path))
        except Exception as error:  # the device keeps what it has, and this thread has to go on
            logger.exception("the deployment failed, and is tried again")
            self._stall(f"{type(error).__name__}: {error}")
        return self._parts.look_seconds

    def _unwanted(self) -> None:
        """The server has taken its wish back, or has not said any since the start."""
        if self._heard and self._state.commit and self._state.status not in _AT_REST:
            self._at(_D.WAITING, "the server does not name a commit for this device any more")

    def _make_so(self, wish: DesiredDeployment) -> float | None:
        if not self._state.is_of(wish):
            self._begin(wish)
        if self._state.active == wish.commit:
            self._at(_D.ACTIVE)
            return None
        if self._state.status is _D.ROLLED_BACK:
            return None
        if (left := self._fetch_at - time.monotonic()) > 0 and not self._parts.fetching.is_done(
            wish
        ):
            self._at(_D.WAITING, "devices do not all come at once: it has its turn soon")
            return left
        self._get_ready(wish)
        return self._await_approval(wish) or self._await_leave() or self._switch(wish)

    def _begin(self, wish: DesiredDeployment) -> None:
        """Turn to another commit. What is left of one that was no good, or was overtaken, makes room."""
        other = wish.commit != self._state.commit
        self._set(self._state.begun(wish))
        if other:
            clean_up(self._places, self._state, self._parts.preparation.environments)

    def _get_ready(self, wish: DesiredDeployment) -> None:
        """Have the code and its environment here. Nothing is run of it."""
        if not self._parts.fetching.is_done(wish):
            self._at(_D.FETCHING)
            self._parts.fetching.fetch(wish, self._is_over, self._tell)
            reached("manager.deployment.fetched")
        if not self._parts.preparation.is_prepared(wish.commit):
            if (
                self._state.status is not _D.PREPARING
            ):  # else the server still has its packages to find
                self._at(_D.PREPARING)
            self._parts.preparation.prepare(wish, self._is_over, self._tell)
            reached("manager.deployment.prepared")
        self._check()

    def _await_approval(self, wish: DesiredDeployment) -> float | None:
        if not self._parts.owner.approve or wish.commit in self._state.approved:
            return None
        text = (
            "its owner has to allow it: 'fedops client approve' on the device shows what would run"
        )
        self._at(_D.AWAITING_APPROVAL, text, stalled=True)
        return self._parts.look_seconds

    def _await_leave(self) -> float | None:
        """The server may say that it is to wait, and a device at work does its work first."""
        with self._lock:
            hold = self._wish.hold if self._wish else ""
        if hold:
            self._at(_D.WAITING, hold)
            return self._parts.look_seconds
        return None

    def _switch(self, wish: DesiredDeployment) -> float | None:
        if not self._parts.turn.reserve():
            self._at(_D.WAITING, "it is ready, and waits until the work in hand is done")
            return WORK_SECONDS
        try:
            switching = self._parts.switching
            if not self._state.passed:
                switching.try_out(wish, self)
            if (pause := self._await_leave()) is not None:
                return pause
            switching.switch(wish, self)
        finally:
            self._parts.turn.release()
        self._parts.event("deployment_active", f"commit {wish.commit[:12]} of '{wish.task}' runs")
        return None

    def _roll_back(self, reason: str) -> None:
        state = self._state
        kept = f"commit {state.active[:12]} runs on" if state.active else "no commit runs yet"
        logger.warning("commit %s is not used: %s", (state.commit or "")[:12], reason)
        self._at(_D.ROLLED_BACK, f"{reason}; {kept}")
        text = f"commit {(state.commit or '')[:12]} was rolled back: {reason}"
        self._parts.event("deployment_rolled_back", text[:2_000])

    # --- the state ---------------------------------------------------------------------------------

    @property
    def state(self) -> DeploymentState:
        return self._state

    def note(self, *, must: bool = True, **changes: Any) -> None:
        """Change the state. ``must``: it has to be on the disk afterwards. ``OSError``: nothing changed."""
        with self._lock:
            self._set(self._state.model_copy(update=changes), must=must)

    def say(self, status: DeploymentStatus, reason: str = "") -> None:
        self._at(status, reason)

    def is_over(self) -> bool:
        """Whether this process ends, or something else is wanted."""
        return self._is_over()

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def _is_over(self) -> bool:
        return self._stopped.is_set() or not (
            self._wish is not None and self._state.is_of(self._wish)
        )

    def _check(self) -> None:
        if self._is_over():
            raise Over

    def _stall(self, reason: str) -> None:
        logger.warning("the deployment waits: %s", reason)
        self._at(self._state.status, reason, stalled=True)

    def _tell(self, text: str) -> None:
        """How far it is: goes with the next poll, and is kept nowhere."""
        with self._lock:
            self._state = self._state.model_copy(update={"reason": text[:2_000], "stalled": False})

    def _at(self, status: DeploymentStatus, reason: str = "", stalled: bool = False) -> None:
        with self._lock:
            new = self._state.at(status, reason[:2_000], stalled)
            if new == self._state:
                return
            news = (new.status, new.stalled) != (self._state.status, self._state.stalled)
            self._set(new)
        if news:
            self._parts.news()

    def _set(self, state: DeploymentState, *, must: bool = False) -> None:
        with self._lock:
            if state.active is None or self._note is None or self._note.commit != state.active:
                active = state.active
                self._note = CommitNote.read(self._places.commit(active)) if active else None
            if must:
                self._file.write(state)
                self._state = state
            else:
                self._state = state
                self._keep(state)

    def _keep(self, state: DeploymentState) -> None:
        with contextlib.suppress(OSError):  # on a full disk; it is found out again after a restart
            self._file.write(state)


def _same(one: DesiredDeployment, other: DesiredDeployment | None) -> bool:
    return other is not None and (one.commit, one.attempt) == (other.commit, other.attempt)
