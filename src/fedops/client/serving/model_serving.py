"""Makes it so that the folder holds the version that the server wants, and that the owner's command knows.

Level-triggered: it looks at what is wanted and at what is there, and does the next step. Killed at any point,
the next life looks again; the command may be run twice for a version, and is never left out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedops.client.device.device_config import Serving
from fedops.client.local.messages import ServingOrder, ServingState
from fedops.client.serving.model_source import ModelSource
from fedops.client.serving.owner_command import OwnerCommand
from fedops.client.serving.progress import ProgressBook
from fedops.client.serving.served_model import Remembered, ServedModel
from fedops.client.serving.serving_folder import ServingFolder, WrongBytes
from fedops.client.work.reachability import Over
from fedops.core.backoff import pause_after
from fedops.core.contracts import DesiredModel, ServingReport, Work
from fedops.core.errors import Conflict, FedOpsError, Invalid
from fedops.core.states import ServingStatus
from fedops.failpoints import reached
from fedops.storage.shortages import why_not_written

logger = logging.getLogger("fedops.client")
S = ServingStatus


@dataclass(frozen=True)
class Pace:
    """Seconds: to the first new try, to any later one at most, and between looks at what is in place."""

    first: float = 2.0
    longest: float = 300.0
    look: float = 30.0


@dataclass(frozen=True)
class Goal:
    """What is to be so: what the server wants, and what the owner does not want."""

    heard: bool
    desired: DesiredModel | None
    held: int | None


class ModelServing:
    """A thread of its own. ``changed`` is called when the server should hear at once."""

    def __init__(
        self,
        config: Serving,
        state: Path,
        source: ModelSource,
        folder: ServingFolder,
        changed: Callable[[], None],
        pace: Pace | None = None,
    ) -> None:
        self._config = config
        self._state = state
        self._source = source
        self._folder = folder
        self._command = OwnerCommand(config.command, config.command_seconds)
        self._changed = changed
        self._pace = pace or Pace()
        self._progress = ProgressBook()
        self._wake = threading.Condition()
        self._stopped = False
        self._task = ""
        self._heard: dict[str, DesiredModel] | None = None
        self._remembered = Remembered()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="serving", daemon=True)

    # --- its life ----------------------------------------------------------------------------------

    def start(self, tasks: list[str]) -> None:
        """Begin, once it is known which tasks the device takes part in. ``Invalid``: which one is meant?"""
        self._task = which_task(self._config.task, tasks)
        before = Remembered.load(self._state)
        served = before.active.task if before.active else self._task
        self._remembered = before if served == self._task else Remembered()
        self._thread.start()

    def stop(self) -> None:
        """End; a command that runs is ended, and run again in the next life."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        self._source.wake()
        if self._thread.is_alive():
            self._thread.join(3.0)

    # --- the server --------------------------------------------------------------------------------

    def take(self, work: Work) -> None:
        """What the server wants, heard now."""
        heard = {model.task: model for model in work.serving}
        with self._wake:
            if heard != self._heard:
                self._heard = heard
                self._wake.notify_all()

    def reports(self) -> list[ServingReport]:
        """As the server is told."""
        if not self._task:
            return []
        now, seconds = self._progress.read()
        return [
            ServingReport(
                task=self._task,
                alias=self._config.alias,
                wanted=now.wanted,
                active=now.active,
                status=now.status,
                reason=now.reason[:2_000],
                stalled=now.stalled,
                seconds=seconds,
            )
        ]

    # --- the owner ---------------------------------------------------------------------------------

    def status(self) -> ServingState:
        """As the owner of the device is told."""
        now, seconds = self._progress.read()
        return ServingState(
            task=self._task or self._config.task,
            alias=self._config.alias,
            folder=str(self._folder.path),
            wanted=now.wanted,
            active=now.active,
            status=now.status,
            reason=now.reason,
            stalled=now.stalled,
            seconds=round(seconds, 1),
            before=now.before,
        )

    def decide(self, order: ServingOrder) -> None:
        """Put the version before back, or take the newest again.

        Raises:
            Conflict: there is no version before, or nothing is held.
        """
        now, _ = self._progress.read()
        with self._wake:
            held = self._remembered.held
            if order.action == "back" and held is None:
                if now.before is None or now.wanted is None:
                    raise Conflict(
                        f"there is no earlier version in {self._folder.path} to go back to"
                    )
                self._remember(held=now.wanted)
            elif order.action == "again":
                if held is None:
                    raise Conflict("nothing is held: the newest version is taken anyway")
                self._remember(held=None)
            self._wake.notify_all()

    # --- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped:
            goal = self._goal()
            try:
                self._converge(goal)
                self._failures = 0
                pause = self._pace.look
            except Over:
                continue
            except Exception as error:  # this thread is the only one, and has to go on
                pause = self._failed(error)
            self._await_news(goal, pause)

    def _goal(self) -> Goal:
        with self._wake:
            desired = self._heard.get(self._task) if self._heard else None
            held = self._remembered.held
            if desired is not None and held is not None and held != desired.version:
                self._remember(held=None)
            return Goal(self._heard is not None, desired, self._remembered.held)

    def _is_over(self, goal: Goal) -> bool:
        """Whether something else is to be so."""
        return self._stopped or goal != self._goal()

    def _await_news(self, goal: Goal, seconds: float) -> None:
        with self._wake:
            if self._wake.wait_for(lambda: self._is_over(goal), seconds):
                self._failures = 0

    def _converge(self, goal: Goal) -> None:
        desired = goal.desired
        self._see(desired)
        if goal.held is not None and (former := self._folder.former()) is not None:
            self._go_back(former, goal.held)
        elif desired is None:
            self._tell(S.WAITING, self._why_nothing(goal))
        elif not ServedModel.of(desired).is_same(self._folder.current()):
            self._bring(desired, goal)
        else:
            self._activate(ServedModel.of(desired), desired.hold)

    def _bring(self, desired: DesiredModel, goal: Goal) -> None:
        """Get the version, put it in place and have the command take it."""
        if desired.hold:
            self._tell(S.WAITING, desired.hold)
            return
        self._progress.set(S.FETCHING)
        self._folder.prepare()
        file = self._source.obtain(desired, lambda: self._is_over(goal), self._waits)
        reached("manager.serving.fetched")
        self._folder.place(file, ServedModel.of(desired))
        self._see(desired)
        self._activate(ServedModel.of(desired), "")

    def _go_back(self, former: ServedModel, held: int) -> None:
        if not former.is_same(self._folder.current()):
            self._folder.bring_back(former)
        why = f"the owner put V{former.version} back; 'fedops client serving --again' takes V{held}"
        self._activate(former, why, S.HELD)

    def _activate(self, model: ServedModel, why: str, status: ServingStatus = S.ACTIVE) -> None:
        """Have the command take what is in place, unless it has."""
        if not model.is_same(self._remembered.active):
            self._progress.set(S.RELOADING)
            problem = self._command.run(self._folder.model, model, lambda: self._stopped)
            if self._stopped and problem:
                raise Over
            if problem:
                raise Invalid(f"V{model.version} is in {self._folder.path}, but {problem}")
            reached("manager.serving.reloaded")
            with self._wake:
                self._remember(active=model)
            logger.info(
                "V%d of '%s' is served from %s", model.version, model.task, self._folder.path
            )
            self._see(self._goal().desired)
        self._source.tidy()
        self._tell(status, why, stalled=status is S.HELD)

    # --- what is said ------------------------------------------------------------------------------

    def _see(self, desired: DesiredModel | None) -> None:
        active, former = self._remembered.active, self._folder.former()
        self._progress.versions(
            desired.version if desired else None,
            active.version if active and active.task == self._task else None,
            former.version if former and former.task == self._task else None,
        )

    def _tell(self, status: ServingStatus, reason: str = "", *, stalled: bool = False) -> None:
        if self._progress.set(status, reason, stalled=stalled):
            self._changed()

    def _waits(self, error: FedOpsError) -> None:
        """The server or the disk does not let us go on yet."""
        stalled = isinstance(error.__cause__, OSError)
        self._tell(S.FAILED if stalled else S.FETCHING, error.message, stalled=stalled)

    def _failed(self, error: Exception) -> float:
        """Say what went wrong. Returns after how long it is tried again, in seconds."""
        reason, stalled = str(error), False
        if isinstance(error, OSError):
            reason, stalled = why_not_written(error, self._folder.path), True
        elif isinstance(error, WrongBytes):
            reason = "the file was changed while it was put in place"
        elif not isinstance(error, FedOpsError):
            logger.exception("serving the model failed, and is tried again")
            reason = f"{type(error).__name__}: {error}"
        before, _ = self._progress.read()
        if before.reason != reason:
            logger.warning("the model of '%s' is not served: %s", self._task, reason)
        self._tell(S.FAILED, reason, stalled=stalled)
        self._failures += 1
        return pause_after(self._failures, self._pace.first, self._pace.longest)

    def _why_nothing(self, goal: Goal) -> str:
        if not goal.heard:
            return "the server has not said yet which version it is"
        return f"no version of '{self._task}' is called '{self._config.alias}' on the server yet"

    def _remember(self, **values: object) -> None:
        """Called with the lock."""
        self._remembered = self._remembered.model_copy(update=values)
        try:
            self._remembered.save(self._state)
        except OSError as error:  # the next life may run the command once more
            logger.warning("cannot write %s: %s", self._state, error.strerror or error)


def which_task(wanted: str, tasks: list[str]) -> str:
    """The task whose model is served. ``Invalid``: the device takes no part in it, or in several."""
    there = ", ".join(f"'{task}'" for task in tasks)
    if wanted and wanted not in tasks:
        raise Invalid(
            f"device.toml: [serving] task = '{wanted}', but this device takes part in {there}: name one of"
            f" these, or take part in it, too ('fedops client run --task {wanted}')"
        )
    if not wanted and len(tasks) != 1:
        raise Invalid(
            f"device.toml: this device takes part in {there}: write into [serving] whose model it serves,"
            f" such as task = '{tasks[0] if tasks else 'mnist'}'"
        )
    return wanted or tasks[0]
