"""Keeps rollouts going: begins those of new commits, judges waves, asks the next, lets late devices converge.

Everything is read first; a short transaction then writes what follows, if nothing has changed meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.delivery.waves import StepKind, WaveStep
from fedops.core.errors import FedOpsError, Invalid
from fedops.core.reasons.commits import short_commit
from fedops.core.reasons.durations import pluralised
from fedops.core.states import ROLLOUT_MOVING, CommitStatus, RolloutStatus, TaskStatus
from fedops.failpoints import reached
from fedops.server.database.compare_and_set import compare_and_set
from fedops.server.database.database import Database
from fedops.server.database.tables import CommitRow, RolloutRow, SourceRow, TaskRow
from fedops.server.delivery.rollouts import deployments, rollout_rows, rollouts, windows
from fedops.server.delivery.rollouts.adoption import adopt
from fedops.server.delivery.rollouts.deployments import Asked, back_to, of_wave
from fedops.server.delivery.rollouts.standing import Look, look_at
from fedops.server.devices.membership import tell_members
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.events.notifications import WorkForRollouts, notify
from fedops.server.tasks.tasks import ConfigOf

logger = logging.getLogger("fedops.server.rollouts")
R = RolloutStatus


class Rollouts:
    """All rollouts of a server. ``leads``: confirms in a transaction that this process may decide."""

    def __init__(
        self,
        db: Database,
        config_of: ConfigOf,
        *,
        clock: Callable[[], float] = time.time,
        confirm: Callable[[Session], None] = lambda _: None,
    ) -> None:
        self._db = db
        self._config_of = config_of
        self._clock = clock
        self._confirm = confirm
        self._complaints: dict[str, str] = {}

    def step(self) -> None:
        """One look at every task. One that cannot be helped now does not keep the others waiting."""
        with self._db.read() as session:
            names = _tasks(session)
        for task in names:
            try:
                self._begin_newest(task)
                self._move(task)
                self._converge(task)
                self._complaints.pop(task, None)
            except FedOpsError as error:
                self._complain(task, error.message)
            except ValueError as error:  # a policy that an earlier FedOps wrote, for example
                self._complain(task, f"its rollouts stand still: {error}")

    def _complain(self, task: str, text: str) -> None:
        """Once, not at every look."""
        if self._complaints.get(task) != text:
            logger.warning("task '%s': %s", task, text)
        self._complaints[task] = text

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with self._db.write() as session:
            self._confirm(session)
            yield session

    # --- a new commit --------------------------------------------------------------------------

    def _begin_newest(self, task: str) -> None:
        """Roll out what the source names, if that has not been tried with the same policy before."""
        with self._db.read() as session:
            if newest_untried(session, task) is None:
                return
        with self._write() as session:
            commit = newest_untried(session, task)
            if commit is not None:
                change = Change(event_log.SERVER, "it is the newest of the source", self._clock())
                rollouts.begin(session, commit, change)

    # --- the rollout that goes on ----------------------------------------------------------------

    def _move(self, task: str) -> None:
        now = self._clock()
        with self._db.read() as session:
            row = rollout_rows.current_rollout(session, task)
            if row is None:
                return
            seen = _Seen(row)
            hold = windows.reason_to_hold(rollout_rows.policy_of(row).windows, now)
            moves = hold == row.hold and row.status in ROLLOUT_MOVING
            look = look_at(session, row, now) if moves else None
        if look is None:
            self._set_hold(seen, hold, now)
        elif seen.status is not R.PAUSED or look.step.kind is StepKind.STOP:
            self._follow(seen, look, now)

    def _set_hold(self, seen: _Seen, hold: str, now: float) -> None:
        """A window begins or ends. The time of a wave counts while devices may switch."""
        if hold == seen.hold:
            return
        with self._write() as session:
            row = seen.again(session)
            if row is not None:
                row.hold, row.wave_since = hold, now
                tell_members(session, row.task)
                what = Change(event_log.SERVER, hold or "devices may switch now", now)
                rollout_rows.log(session, row, what, "held" if hold else "freed")
                notify(session, WorkForRollouts())

    def _follow(self, seen: _Seen, look: Look, now: float) -> None:
        step = look.step
        if step.kind is StepKind.WAIT:
            return
        if step.kind is StepKind.HOLD:
            self._finish(seen, step, now)
            return
        with self._write() as session:
            row = seen.again(session)
            if row is None:
                return
            change = Change(event_log.SERVER, step.why, now)
            match step.kind:
                case StepKind.NEXT:
                    _next_wave(session, row, [look.ids[one] for one in step.devices], change)
                case StepKind.ASK | StepKind.PAUSE:
                    rollout_rows.move_rollout(session, row, R.PAUSED, change)
                case StepKind.STOP:
                    rollouts.stop(session, row, change)
        reached(f"server.rollout.{step.kind.value}")

    def _finish(self, seen: _Seen, step: WaveStep, now: float) -> None:
        """The last gate is passed: whoever comes gets the commit, and so do the task's next runs."""
        with self._db.read() as session:
            commit = rollout_rows.require_sound(session, seen.task, seen.commit)
            bundle = str(commit.bundle)
        self._config_of(bundle)  # it is kept: no file is read in the transaction
        try:
            with self._write() as session:
                row = seen.again(session)
                if row is None:
                    return
                change = Change(event_log.SERVER, step.why, now)
                commit = rollout_rows.require_sound(session, seen.task, seen.commit)
                adopt(session, commit, self._config_of, change)
                rollout_rows.move_rollout(session, row, R.HOLDING, change)
                notify(session, WorkForRollouts())
        except Invalid as error:  # a person has to mend it; what passes by itself is tried again
            self._pause(seen, error.message, now)
        reached("server.rollout.hold")

    def _pause(self, seen: _Seen, why: str, now: float) -> None:
        with self._write() as session:
            row = seen.again(session)
            if row is not None:
                change = Change(event_log.SERVER, why, now)
                rollout_rows.move_rollout(session, row, R.PAUSED, change)

    # --- who comes late ----------------------------------------------------------------------------

    def _converge(self, task: str) -> None:
        """Devices that came, or came back, are asked for what the others run. None of them is a canary."""
        with self._db.read() as session:
            found = _late(session, task)
        if found is None:
            return
        asked, ids = found
        with self._write() as session:
            if _late(session, task) == found:
                deployments.ask(session, task, ids, asked, self._clock())


class _Seen:
    """A rollout as it was when it was looked at."""

    def __init__(self, row: RolloutRow) -> None:
        self.id, self.task, self.commit = row.id, row.task, row.commit
        self.status, self.hold = row.status, row.hold
        self._state = self._state_of(row)

    @staticmethod
    def _state_of(row: RolloutRow) -> tuple[object, ...]:
        return (row.status, row.wave, row.wave_since, row.approved, row.hold)

    def again(self, session: Session) -> RolloutRow | None:
        """The row, if nobody has changed it since."""
        row = session.get(RolloutRow, self.id)
        return row if row is not None and self._state_of(row) == self._state else None


def _tasks(session: Session) -> list[str]:
    """The tasks that have anything to roll out."""
    sound = select(CommitRow.task).where(CommitRow.status == CommitStatus.SOUND)
    query = select(TaskRow.name).where(TaskRow.status == TaskStatus.READY, TaskRow.name.in_(sound))
    return list(session.scalars(query.order_by(TaskRow.name)))


def newest_untried(session: Session, task: str) -> CommitRow | None:
    """The commit that is to be rolled out by itself now: the newest sound one, once with each policy.

    A source that goes back to a commit is followed, unless that was stopped before.
    """
    source = session.get(SourceRow, task)
    if source is None or source.pinned is not None:
        return None
    commit = rollout_rows.commit_of_source(session, source)
    if commit is None:
        return None
    current = rollout_rows.current_rollout(session, task)
    if current is not None and current.commit == commit.commit:
        return None
    policy = rollouts.policy_of_task(session, task)
    query = select(RolloutRow).where(RolloutRow.task == task, RolloutRow.commit == commit.commit)
    tried = any(
        rollout_rows.policy_of(row) == policy and not _is_past(row, commit)
        for row in session.scalars(query)
    )
    return None if tried else commit


def _is_past(row: RolloutRow, commit: CommitRow) -> bool:
    """Whether another commit took its place, and the source has come back to it since then."""
    return row.status is R.SUPERSEDED and row.created_at < commit.seen_at


def _next_wave(session: Session, row: RolloutRow, ids: Sequence[str], change: Change) -> None:
    wave = row.wave + 1
    if row.status is R.PENDING:
        rollout_rows.move_rollout(session, row, R.WAVING, change)
    compare_and_set(session, row, "wave", wave, wave_since=change.at, why=change.why)
    deployments.ask(session, row.task, ids, of_wave(row, wave), change.at)
    what = f"wave {wave} asks {pluralised(len(ids), 'device')}: {change.why}"
    rollout_rows.log(session, row, Change(change.who, what, change.at), "wave", wave=wave)
    logger.info("task '%s', commit %s: %s", row.task, short_commit(row.commit), what)


def _late(session: Session, task: str) -> tuple[Asked, list[str]] | None:
    """What devices that are in no wave are to run, and those that are asked for something else."""
    row = rollout_rows.current_rollout(session, task)
    if row is not None and row.status is R.HOLDING:
        asked = of_wave(row, None)
    else:
        good = rollout_rows.last_good_commit(session, task)
        if good is None:
            return None
        asked = back_to(session, task, good)
    # While another rollout is on its way, only who runs nothing yet is given what is good.
    ids = deployments.who_wants(
        session, task, asked, new_only=row is not None and asked.rollout is None
    )
    return (asked, ids) if ids else None
