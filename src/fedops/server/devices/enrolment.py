"""How devices come in and are let in: joining by token, approval, rejection, revocation."""

from __future__ import annotations

import itertools
import secrets
import uuid
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fedops.core.contracts import JoinReply, JoinRequest, ProcessReport
from fedops.core.errors import Conflict, Forbidden, NotApproved
from fedops.core.join_statement import join_statement
from fedops.core.states import (
    ENROLMENT_IN,
    ENROLMENT_OUT,
    ENROLMENT_TRANSITIONS,
    RUN_TERMINAL,
    Enrolment,
    InvalidTransition,
    TokenKind,
)
from fedops.server.access import tokens
from fedops.server.assignments import assignments
from fedops.server.database.compare_and_set import transition
from fedops.server.database.lookup import require_device
from fedops.server.database.tables import AssignmentRow, DeviceRow, MembershipRow, RunRow
from fedops.server.devices import presence_history
from fedops.server.devices.going_offline import tell_gone
from fedops.server.devices.joining import device_keys
from fedops.server.devices.names_in_scores import rename_in_scores
from fedops.server.devices.renaming import RESERVED, is_like_an_id
from fedops.server.events import event_log
from fedops.server.events.event_log import Change
from fedops.server.events.notifications import DeviceChanged, notify
from fedops.settings import ServerSettings

#: As in ``contracts.NAME_PATTERN``.
_NAME_LENGTH = 63
#: Of the name of a device that was removed, so much is left. Characters.
_SHOWN_OF_REMOVED = 44
DECISIONS = {
    "approve": Enrolment.APPROVED,
    "reject": Enrolment.REJECTED,
    "revoke": Enrolment.REVOKED,
    "remove": Enrolment.REMOVED,
}


def join(
    session: Session,
    body: JoinRequest,
    settings: ServerSettings,
    now: float,
    address: str | None = None,
) -> JoinReply:
    """Enrol a device, or give a device that joins again (the same key) a new token.

    ``address``: where it calls from.
    """
    key = device_keys.parse(body.public_key.encode())
    device_keys.verify(key, join_statement(body.token, body.public_key), body.proof)
    token = tokens.spend_token(session, body.token, now)
    tokens.require_from(token, address)
    query = select(DeviceRow).where(DeviceRow.fingerprint == key.fingerprint)
    row = session.scalars(query).one_or_none()
    if row is None:
        row = _enrol(session, body, key, now)
        if settings.approval == "auto":
            why = f"join token {token.id} approves at once"
            _move(session, row, Enrolment.APPROVED, Change(event_log.SERVER, why, now))
    elif row.enrolment in ENROLMENT_OUT:
        raise Forbidden(
            f"device '{row.name}' was {row.enrolment.value}: it cannot join again with the same key"
        )
    else:
        row.info = body.info.model_dump()
        tokens.revoke_device_tokens(session, row.id, now)
        text = "the same key: its former token is void"
        event_log.append_event(
            session, now, _me(row), f"device {row.name}", "device.joined_again", text
        )
    row.only_task, row.joined_with = token.for_task, token.id
    _, secret = tokens.issue_token(session, TokenKind.DEVICE, now, note=row.name, device_id=row.id)
    return JoinReply(device_id=row.id, name=row.name, device_token=secret, enrolment=row.enrolment)


def require_approved(session: Session, device_id: str) -> str | None:
    """``NotApproved`` unless an operator has let the device in. The only task it may take part in, if one.

    A device in quarantine was let in: it is asked for nothing, and stays ready.
    """
    row = session.get_one(DeviceRow, device_id)
    if row.enrolment not in ENROLMENT_IN:
        raise NotApproved(
            f"device '{row.name}' is {row.enrolment.value}: it sees nothing before an operator lets it in "
            f"('fedops device approve {row.name}')"
        )
    return row.only_task


def _enrol(
    session: Session, body: JoinRequest, key: device_keys.DeviceKey, now: float
) -> DeviceRow:
    row = DeviceRow(
        id=uuid.uuid4().hex,
        name=_free_name(session, body.name),
        public_key=key.openssh,
        fingerprint=key.fingerprint,
        enrolment=Enrolment.PENDING,
        info=body.info.model_dump(),
        created_at=now,
        node_number=secrets.randbits(62) | 1 << 62,
        process=ProcessReport().model_dump(mode="json"),
        problems=[],
    )
    session.add(row)
    session.flush()
    text = "" if row.name == body.name else f"the name '{body.name}' was taken"
    event_log.append_event(session, now, _me(row), f"device {row.name}", "device.joined", text)
    return row


def _free_name(session: Session, wanted: str) -> str:
    """The name, or the first of ``name-2``, ``name-3``, ... that no device has."""
    taken = {*RESERVED, *session.scalars(select(DeviceRow.name))}
    suffixes = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    names = (wanted[: _NAME_LENGTH - len(suffix)] + suffix for suffix in suffixes)
    return next(name for name in names if name not in taken and not is_like_an_id(name))


def decide(session: Session, device: str, decision: str, now: float) -> None:
    """Approve, reject, revoke or remove a device. Repeating is harmless."""
    row = require_device(session, device)
    new = DECISIONS[decision]
    if new is Enrolment.APPROVED and row.enrolment is Enrolment.QUARANTINED:
        raise Conflict(
            f"device '{row.name}' is quarantined: 'fedops device release {row.name} --because TEXT'"
        )
    if new is Enrolment.REMOVED:
        _require_no_run(session, row)
    if not _move(session, row, new, Change(event_log.OPERATOR, "asked for", now)):
        return
    if new in ENROLMENT_OUT:
        tell_gone(session, row, f"{new.value} by the operator")
        row.noted_online, row.present_until = False, None
        presence_history.note_offline(session, row.id, row.last_heartbeat_at or now)
        tokens.revoke_device_tokens(session, row.id, now)
        assignments.end_device_assignments(session, row.id, now)
    if new is Enrolment.REMOVED:
        _free_its_name(session, row)


def quarantine(
    session: Session, row: DeviceRow, because: str, keep_versions: bool, now: float
) -> None:
    """A device stays enrolled and is asked for nothing. Repeating takes the newest reason.

    ``keep_versions``: what it had a part in is not quarantined with it.
    """
    row.quarantine = {"because": because, "at": now, "keep_versions": keep_versions}
    change = Change(event_log.OPERATOR, because, now)
    if _move(session, row, Enrolment.QUARANTINED, change):
        tell_gone(session, row, "quarantined by the operator")
        why = "device quarantined"
        assignments.end_device_assignments(session, row.id, now, why, hears=True)


def release(session: Session, row: DeviceRow, because: str, now: float) -> None:
    """A quarantined device takes part again. ``Conflict`` when it is in another state. Repeatable."""
    if row.enrolment is Enrolment.APPROVED:
        return
    if row.enrolment is not Enrolment.QUARANTINED:
        raise Conflict(f"device '{row.name}' is {row.enrolment.value}, and not quarantined")
    row.quarantine = None
    _move(session, row, Enrolment.APPROVED, Change(event_log.OPERATOR, because, now))


def _require_no_run(session: Session, row: DeviceRow) -> None:
    """A run that goes on knows the device by its name: it works for it, or its scores are of all of them."""
    at_work = select(AssignmentRow.run_id).where(AssignmentRow.device_id == row.id)
    tasks = select(MembershipRow.task).where(MembershipRow.device_id == row.id)
    query = select(RunRow.id, RunRow.config).where(RunRow.status.not_in(RUN_TERMINAL))
    working = session.execute(query.where(RunRow.id.in_(at_work)).limit(1)).first()
    members = session.execute(query.where(RunRow.task.in_(tasks)))
    run_id = working.id if working else next((r.id for r in members if _scores(r.config)), None)
    if run_id is not None:
        raise Conflict(
            f"device '{row.name}' takes part in run {run_id}: remove it when the run is over, or shut it out"
            f" at once with 'fedops device revoke {row.name}'"
        )


def _scores(config: dict[str, Any]) -> bool:
    """Whether a run measures what its clients contribute."""
    method: str = config.get("server", {}).get("contribution", {}).get("method", "none")
    return method != "none"


def _free_its_name(session: Session, row: DeviceRow) -> None:
    """Its rounds keep it, under a name that says so. Its own name and its key may be enrolled again."""
    former, row.name = row.name, f"{row.name[:_SHOWN_OF_REMOVED]} (removed {row.id[:6]})"
    rename_in_scores(session, former, row.name)
    row.fingerprint = f"removed {row.id}"
    session.execute(delete(MembershipRow).where(MembershipRow.device_id == row.id))


def _move(session: Session, row: DeviceRow, new: Enrolment, change: Change) -> bool:
    try:
        before = transition(
            session, row, "enrolment", ENROLMENT_TRANSITIONS, new, decided_at=change.at
        )
    except InvalidTransition as error:
        raise Conflict(f"device '{row.name}': {error.message}") from None
    if before is None:
        return False
    event_log.append_transition(session, change, f"device {row.name}", (before, new))
    notify(session, DeviceChanged(row.id))
    return True


def _me(row: DeviceRow) -> str:
    return f"device {row.name}"
