"""Keeps this process's memory right where another Server Manager changes the database.

What it hears it reads from the rows and hands to the local dispatcher, while nothing is written here: so it
fits in between what this process tells itself, and memory follows the database commit by commit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedops.core.presence import is_online
from fedops.core.states import ASSIGNMENT_OPEN, ATTEMPT_LIVE
from fedops.server.assignments import assignments, open_work
from fedops.server.database.database import Database
from fedops.server.database.tables import AssignmentRow, AttemptRow, DeviceRow, RunRow
from fedops.server.devices.cloned_devices import ClonedDevices
from fedops.server.events.notifications import (
    AttemptHello,
    AttemptOver,
    AttemptSignal,
    DeviceBack,
    DeviceLife,
    Notice,
    TokensChanged,
    WorkForScheduler,
    WorkReleased,
)
from fedops.server.jobs.periodic import PeriodicJob
from fedops.server.peers import notice_encoding
from fedops.server.peers.notice_encoding import Heard
from fedops.server.peers.row_notices import for_engine, notices_of, over_of, rows
from fedops.server.rounds.attempt_inbox import AttemptInboxes
from fedops.server.rounds.open_rounds import away
from fedops.server.rounds.work_hub import WorkHub

#: When reading failed, it is tried again after so long. Seconds.
AGAIN_SECONDS = 1.0


class MemorySync:
    """``heard`` may be called from any thread and does not wait."""

    def __init__(
        self,
        db: Database,
        hub: WorkHub,
        inboxes: AttemptInboxes,
        twins: ClonedDevices,
        clock: Callable[[], float],
    ) -> None:
        self._db = db
        self._tell = db.tell
        self._hub = hub
        self._inboxes = inboxes
        self._twins = twins
        self._clock = clock
        self._said: deque[Heard] = deque()
        #: Whether something may have been missed.
        self._stale = False
        self.up_to_date = threading.Event()
        self.worker = PeriodicJob("peers", self.step, AGAIN_SECONDS)

    def heard(self, said: Iterable[Heard]) -> None:
        """Another Server Manager said this."""
        self._said.extend(said)
        self.worker.wake()

    def step(self) -> None:
        """Take in what was said. Called by the worker, or by a test."""
        said = [self._said.popleft() for _ in range(len(self._said))]
        everything = self._stale or any(heard.kind == notice_encoding.ALL for heard in said)
        if not (said or everything):
            return
        self._stale = True  # until it is done
        with self._db.still(), self._db.read() as session:
            if everything:
                self._read_anew(session)
            else:
                self._take_in(session, said)
        self._stale = False
        self.up_to_date.set()

    def _take_in(self, session: Session, said: Sequence[Heard]) -> None:
        hosted = self._inboxes.hosted
        for heard in said:
            for notice in notices_of(session, heard, hosted):
                self._pass_on(notice)

    def _pass_on(self, notice: Notice) -> None:
        if isinstance(notice, DeviceLife):
            self._twins.heard(notice.device_id, notice.life, notice.at)
        else:
            self._tell(notice)

    # --- everything ---------------------------------------------------------------------------

    def _read_anew(self, session: Session) -> None:
        """As at a start, but for what is in memory already."""
        open_, unreleased = open_work.open_rows(session), open_work.unreleased(session)
        known, cancelled = self._hub.known
        self._hub.load(
            [(open_work.work_of(row), open_work.seen_of(row)) for row in open_],
            [(open_work.work_of(row), over_of(row)) for row in unreleased],
        )
        for row in rows(session, known - {row.id for row in open_}):
            self._tell(over_of(row))
        self._tell(WorkReleased(tuple(cancelled - {row.id for row in unreleased})))
        self._tell(TokensChanged())
        for run_id, attempt_id in self._inboxes.hosted.items():
            self._refresh(session, run_id, attempt_id)
        self._hub.all_changed()
        self._tell(WorkForScheduler())

    def _refresh(self, session: Session, run_id: int, attempt_id: int) -> None:
        """What the engine of an attempt may have missed."""
        attempt = session.get_one(AttemptRow, attempt_id)
        if attempt.status not in ATTEMPT_LIVE:
            self._tell(AttemptOver(attempt_id, run_id))
            return
        number = session.get_one(RunRow, run_id).committed_rounds + 1
        query = select(AssignmentRow).where(
            AssignmentRow.run_id == run_id,
            AssignmentRow.round.is_(None) | (AssignmentRow.round == number),
        )
        found = session.scalars(query).all()
        for notice in for_engine(session, [r for r in found if r.status not in ASSIGNMENT_OPEN]):
            self._tell(notice)
        self._refresh_presence(session, attempt, {r.device_id for r in found})
        self._tell(AttemptSignal(attempt_id))

    def _refresh_presence(self, session: Session, attempt: AttemptRow, ids: set[str]) -> None:
        now = self._clock()
        for device in session.scalars(select(DeviceRow).where(DeviceRow.id.in_(ids))):
            if is_online(device.present_until, now):
                self._tell(DeviceBack(device.id, device.name, (attempt.id,)))
            else:
                gone = ((device.name, away(device, now)),)
                self._tell(AttemptHello(attempt.id, attempt.run_id, (), gone))

    # --- for a device's call ------------------------------------------------------------------

    def learn(self, device_id: str, ids: Sequence[str] | None) -> None:
        """Take in what there is of assignments of a device; None: all that are open."""
        with self._db.still(), self._db.read() as session:
            mine = AssignmentRow.device_id == device_id
            chosen = AssignmentRow.id.in_(ids) if ids is not None else assignments.OPEN
            found = session.scalars(select(AssignmentRow).where(mine, chosen)).all()
            self._learn(found)

    def _learn(self, found: Sequence[AssignmentRow]) -> None:
        open_ = [row for row in found if row.status in ASSIGNMENT_OPEN]
        self._hub.load(
            [(open_work.work_of(row), open_work.seen_of(row)) for row in open_],
            [(open_work.work_of(row), over_of(row)) for row in found if _may_be_held(row)],
        )
        for row in found:
            if row not in open_ and not _may_be_held(row):
                self._tell(over_of(row))

    def still_open(self, ids: Sequence[str]) -> set[str]:
        """Those of these assignments that are open. The others are so in memory, too, from now on."""
        with self._db.still(), self._db.read() as session:
            found = rows(session, ids)
            for row in found:
                if row.status not in ASSIGNMENT_OPEN:
                    self._tell(over_of(row))
            return {row.id for row in found if row.status in ASSIGNMENT_OPEN}


def _may_be_held(row: AssignmentRow) -> bool:
    return row.status in assignments.ENDED_BY_SERVER and row.released_at is None
