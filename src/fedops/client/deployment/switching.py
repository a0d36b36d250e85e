"""From one commit to another: tried beside the one that runs, switched to, confirmed by itself or taken back.

What is on the disk says at every moment which of them comes back after a power cut: the new one only once it
has been confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fedops.client.deployment.commits.cleaning import clean_up
from fedops.client.deployment.commits.deployment_state import (
    MOST_TRIALS,
    CommitNote,
    DeploymentState,
)
from fedops.client.deployment.commits.fetching import Fetching
from fedops.client.deployment.commits.places import Places
from fedops.client.deployment.commits.preparing import Preparation
from fedops.client.deployment.running import RunningApp
from fedops.client.deployment.trial import TrialOrder
from fedops.client.deployment.trial_messages import TrialAnswer
from fedops.client.supervision.training_program import AppPlace
from fedops.client.work.reachability import Over
from fedops.core.contracts import DesiredDeployment
from fedops.core.errors import Invalid
from fedops.core.states import DeploymentStatus
from fedops.failpoints import reached

logger = logging.getLogger("fedops.client")

_D = DeploymentStatus
_MOST_VALUES, _MOST_TEXT = 200, 255


class Progress(Protocol):
    """Where it is noted: ``Keeper``."""

    @property
    def state(self) -> DeploymentState: ...

    @property
    def is_stopped(self) -> bool:
        """Whether this process ends."""
        ...

    def is_over(self) -> bool: ...

    def note(self, *, must: bool = True, **changes: Any) -> None: ...

    def say(self, status: DeploymentStatus, reason: str = "") -> None: ...


class TriesCommits(Protocol):
    """Tries a commit beside the one that runs: ``Trials``."""

    def clear(self) -> None:
        """Remove what an earlier life left in the middle of a trial."""
        ...

    def run(self, order: TrialOrder, over: Callable[[], bool]) -> TrialAnswer: ...


@dataclass(frozen=True)
class Switching:
    """Of one task."""

    places: Places
    fetching: Fetching
    preparation: Preparation
    trials: TriesCommits
    running: RunningApp

    # --- the start of a Client Manager -------------------------------------------------------------

    def come_back(self, state: DeploymentState) -> DeploymentState:
        """Run what was confirmed last; the state from here on."""
        self.trials.clear()
        if state.trying is not None:
            logger.warning("the switch to commit %s was never confirmed", state.trying[:12])
            state = state.at(_D.WAITING, "it was interrupted while it was switched to")
            state = state.model_copy(update={"trying": None, "passed": False})
        if state.active is not None and self._app(state.active) is None:
            logger.warning("commit %s is not whole any more: it begins anew", state.active[:12])
            gone = {"active": None, "trials": 0, "passed": False}
            state = state.at(_D.WAITING, "its folder or environment was gone").model_copy(
                update=gone
            )
        if self.places.linked() != state.active:
            self._link(state.active)
        self._run(state.active)
        return state

    def _link(self, commit: str | None) -> None:
        try:
            self.places.link(commit)
        except OSError as error:  # the state says what runs; the link is for people
            logger.warning("cannot write %s: %s", self.places.current, error.strerror)

    def _run(self, commit: str | None) -> None:
        app = self._app(commit) if commit else None
        if app is None or commit is None:
            self.running.rest(f"no commit of task '{self.places.task}' runs here yet")
        elif isinstance(problem := self.running.run(app, f"commit {commit[:12]} runs"), str):
            self.running.rest(problem)
        else:
            self.running.remember(app, self.places.task)

    def _app(self, commit: str) -> AppPlace | None:
        """The app of a commit; None: something of it is not here."""
        folder, python = self.places.commit(commit).app, self.preparation.python(commit)
        return AppPlace(folder, python) if folder.is_dir() and python else None

    def _require(self, commit: str) -> AppPlace:
        found = self._app(commit)
        if found is None:
            raise FileNotFoundError(2, "it is gone", str(self.places.commit(commit).path))
        return found

    # --- the trial ---------------------------------------------------------------------------------

    def try_out(self, wish: DesiredDeployment, progress: Progress) -> None:
        """Try the commit beside the one that runs.

        Raises:
            Over: it is not wanted any more, or this process ends.
            Invalid: it is no good here, with the reason.
            NoRoom, OSError: the disk is full, which says nothing about the commit.
        """
        if progress.state.trials >= MOST_TRIALS:
            raise Invalid(
                f"its trial was interrupted {MOST_TRIALS} times, by a crash of the Client Manager or of this "
                "machine: look into their logs"
            )
        progress.say(_D.CHECKING, "it loads its model and data, trains a batch and evaluates")
        progress.note(trials=progress.state.trials + 1)
        try:
            self._measure(wish, progress)
        except Exception:  # it came back: what is counted is what took this process with it
            self._not_counted(progress)
            raise

    def _measure(self, wish: DesiredDeployment, progress: Progress) -> None:
        model = self.fetching.model(wish, progress.is_over, lambda _: None)
        found = self._tried(wish.commit, model, progress)
        if found.problem:
            raise Invalid(f"it was tried and failed: {found.problem}")
        before = self._before(wish, model, progress)
        place = self.places.commit(wish.commit)
        note = CommitNote.read(place) or CommitNote.of(wish)
        packages = {**_short(found.packages), **self.preparation.versions(wish.commit)}
        known = {"fingerprint": found.fingerprint[:64], "packages": packages}
        note.model_copy(update=known).write(place)
        progress.note(passed=True, metrics=_bounded(found.metrics), before=_bounded(before))

    def _tried(self, commit: str, model: Path | None, progress: Progress) -> TrialAnswer:
        note = CommitNote.read(self.places.commit(commit))
        order = TrialOrder(self._require(commit), model, named=note.named if note else [])
        return self.trials.run(order, progress.is_over)

    def _before(
        self, wish: DesiredDeployment, model: Path | None, progress: Progress
    ) -> dict[str, float]:
        """The newest model under the commit that runs, so that the server can compare."""
        active = progress.state.active
        if not wish.metric or model is None or active is None:
            return {}
        order = TrialOrder(self._require(active), model, trains=False)
        found = self.trials.run(order, progress.is_over)
        if found.problem:
            logger.warning("commit %s cannot be compared: %s", active[:12], found.problem)
        return found.metrics

    def _not_counted(self, progress: Progress) -> None:
        """It ended in good order: that says nothing about the commit."""
        progress.note(must=False, trials=max(progress.state.trials - 1, 0), passed=False)

    # --- the switch --------------------------------------------------------------------------------

    def switch(self, wish: DesiredDeployment, progress: Progress) -> None:
        """Run it from now on: for good once it has said itself that it is ready.

        Raises:
            Over: it is not wanted any more, or this process ends. What ran before runs again, or will.
            Invalid: it did not start; what ran before runs again.
        """
        app, before = self._require(wish.commit), progress.state.active
        progress.say(_D.CHECKING, "the training client starts with it")
        progress.note(trying=wish.commit)
        self._link(wish.commit)
        reached("manager.deployment.switched")
        try:
            problem = self.running.try_run(
                app, f"commit {wish.commit[:12]} is switched to", progress.is_over
            )
        except Over:
            if progress.is_stopped:
                self._not_counted(progress)
            else:
                self._go_back(before, progress)
            raise
        if problem:
            self._go_back(before, progress)
            raise Invalid(f"the training client did not start with it: {problem}")
        previous = before if before != wish.commit else progress.state.previous
        self._confirm(wish.commit, previous, progress)
        reached("manager.deployment.confirmed")
        progress.say(_D.ACTIVE)
        self.running.remember(app, self.places.task)
        clean_up(self.places, progress.state, self.preparation.environments)

    def _confirm(self, commit: str, previous: str | None, progress: Progress) -> None:
        try:
            progress.note(active=commit, previous=previous, trying=None)
        except OSError as error:  # it runs; after a restart it is tried again
            logger.warning("commit %s cannot be confirmed: %s", commit[:12], error.strerror)
            progress.note(must=False, active=commit, previous=previous, trying=None)

    def _go_back(self, commit: str | None, progress: Progress) -> None:
        self._link(commit)
        progress.note(must=False, trying=None, passed=False)
        self._run(commit)


def _bounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name[:_MOST_TEXT]: value for name, value in list(metrics.items())[:_MOST_VALUES]}


def _short(packages: dict[str, str]) -> dict[str, str]:
    named = list(packages.items())[:_MOST_VALUES]
    return {name[:_MOST_TEXT]: text[:_MOST_TEXT] for name, text in named}
