"""Keeps an upgrade going: judges its waves, asks the next, stops it when a device cannot run the release."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from fedops import __version__
from fedops.core.delivery.waves import StepKind
from fedops.core.reasons.durations import pluralised
from fedops.core.reasons.releases import same_release
from fedops.core.states import ROLLOUT_MOVING, RolloutStatus
from fedops.server.database.compare_and_set import compare_and_set
from fedops.server.database.database import Database
from fedops.server.database.tables import UpgradeRow
from fedops.server.delivery.upgrades import upgrade_rows
from fedops.server.delivery.upgrades.standing import Look, look_at
from fedops.server.events import event_log
from fedops.server.events.event_log import Change

logger = logging.getLogger("fedops.server.upgrades")
R, K = RolloutStatus, StepKind


class Upgrades:
    """``confirm``: that this process may decide, within the transaction."""

    def __init__(
        self,
        db: Database,
        *,
        clock: Callable[[], float] = time.time,
        confirm: Callable[[Session], None] = lambda _: None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._confirm = confirm

    def step(self) -> None:
        """One look at the upgrade that goes on, if there is one."""
        now = self._clock()
        with self._db.read() as session:
            row = upgrade_rows.current_upgrade(session)
            if row is None:
                return
            is_ours = same_release(row.release, __version__)
            if is_ours and row.status not in ROLLOUT_MOVING:
                return
            seen = _state_of(row)
            look = look_at(session, row, now) if is_ours else None
        if look is not None and not _moves(look, seen[1]):
            return
        with self._db.write() as session:
            self._confirm(session)
            row = upgrade_rows.current_upgrade(session)
            if row is None or _state_of(row) != seen:
                return
            if look is None:
                why = f"this server has FedOps {__version__} now"
                change = Change(event_log.SERVER, why, now)
                upgrade_rows.move_upgrade(session, row, R.SUPERSEDED, change)
            else:
                _follow(session, row, look, now)


_State = tuple[int, RolloutStatus, int, float]


def _state_of(row: UpgradeRow) -> _State:
    return (row.id, row.status, row.wave, row.wave_since)


def _moves(look: Look, status: RolloutStatus) -> bool:
    """Whether there is anything to write. One that is paused goes on when its wave is well after all."""
    kind = look.step.kind
    return kind is not K.WAIT and not (kind is K.PAUSE and status is R.PAUSED)


def _follow(session: Session, row: UpgradeRow, look: Look, now: float) -> None:
    step = look.step
    change = Change(event_log.SERVER, step.why, now)
    match step.kind:
        case K.NEXT:
            _next_wave(session, row, [look.ids[one] for one in step.devices], change)
        case K.PAUSE:
            upgrade_rows.move_upgrade(session, row, R.PAUSED, change)
        case K.STOP:
            upgrade_rows.move_upgrade(session, row, R.STOPPED, change)
            logger.warning("the upgrade to FedOps %s is stopped: %s", row.release, step.why)
        case K.HOLD:
            if row.status is R.PAUSED:
                upgrade_rows.move_upgrade(session, row, R.WAVING, change)
            upgrade_rows.move_upgrade(session, row, R.HOLDING, change)
            upgrade_rows.ask(session, row, None, now)


def _next_wave(session: Session, row: UpgradeRow, ids: Sequence[str], change: Change) -> None:
    wave = row.wave + 1
    upgrade_rows.move_upgrade(session, row, R.WAVING, change)
    compare_and_set(session, row, "wave", wave, wave_since=change.at, why=change.why)
    upgrade_rows.ask(session, row, wave, change.at, ids)
    what = f"wave {wave} asks {pluralised(len(ids), 'device')}: {change.why}"
    upgrade_rows.log(session, row, Change(change.who, what, change.at), "wave")
    logger.info("FedOps %s: %s", row.release, what)
