"""Signing in: by password, personal token or one-time code. What fails is the same for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.orm import Session

from fedops.core.contracts import PersonalTokenRead, SignInCode
from fedops.core.contracts import SignIn as PasswordSignIn
from fedops.core.errors import FedOpsError, Forbidden
from fedops.core.states import TokenKind
from fedops.server.access import tokens, user_tokens, users
from fedops.server.access.passwords import Passwords
from fedops.server.access.principal import Principal
from fedops.server.access.sign_in_limits import OnceInAWhile, SignInLimits
from fedops.server.access.tokens import Unauthorized
from fedops.server.database.compare_and_set import compare_and_set
from fedops.server.database.database import Database
from fedops.server.database.tables import TokenRow, UserRow
from fedops.server.events import event_log
from fedops.server.events.acting import Person, acting_as
from fedops.server.events.notifications import TokensChanged, notify

T = TypeVar("T")
#: What is done for a user who has shown who they are, in one transaction.
Then = Callable[[Session, UserRow, float], T]
#: How long a browser stays signed in, and how long a code may be used. Seconds.
SESSION_SECONDS, CODE_SECONDS = 12 * 3_600.0, 120.0
#: How long the code may be used that a server shows at its first start. Seconds.
FIRST_CODE_SECONDS = 900.0
_REFUSED = "this does not sign anybody in: name and password, token or code are not right"


class SignIn:
    """Used in one event loop; the database and the hashing are asked beside it."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], float],
        passwords: Passwords | None = None,
        limits: SignInLimits | None = None,
    ) -> None:
        self._db = db
        self._clock = clock
        self.passwords = passwords or Passwords()
        self._limits = limits or SignInLimits(clock)
        self._refused = OnceInAWhile(clock)

    def close(self) -> None:
        self.passwords.close()

    async def by_password(self, name: str, password: str, address: str | None, then: Then[T]) -> T:
        """What ``then`` makes for the user of this name and password.

        ``Unauthorized`` otherwise, after the same time whether there is such a user or not.
        """
        self._limits.require_turn(address, name)
        try:
            kept = await asyncio.to_thread(self._kept_password, name)
            right = await self.passwords.matches(kept, password)
            made = await asyncio.to_thread(self._confirmed, name, kept, then) if right else None
        except FedOpsError:  # of ours, such as too much to do: it says nothing about the password
            self._limits.forgive(address, name)
            raise
        return await self._outcome(made, address, name)

    async def by_secret(self, secret: str, address: str | None) -> PersonalTokenRead:
        """A session of a browser, for a personal token or a one-time code."""
        self._limits.require_turn(address, None)
        made = await asyncio.to_thread(self._exchange, secret.strip(), address)
        return await self._outcome(made, address, None)

    async def token_refused(self, why: str, address: str | None) -> None:
        """A token was sent that is worth nothing. On record once in a while for each address."""
        if self._refused.is_news(address or "unknown"):
            await asyncio.to_thread(self._note, "token", "user.token_refused", why, address)

    async def _outcome(self, made: T | None, address: str | None, name: str | None) -> T:
        if made is None:
            await asyncio.to_thread(self._note_failure, name, address)
            raise Unauthorized(_REFUSED)
        self._limits.forgive(address, name)
        return made

    def _kept_password(self, name: str) -> str | None:
        with self._db.read() as session:
            row = users.find_user(session, name)
            return None if row is None or row.disabled_at is not None else row.password

    def _confirmed(self, name: str, kept: str | None, then: Then[T]) -> T | None:
        with self._db.write() as session:
            row = users.find_user(session, name)
            if row is None or row.disabled_at is not None or row.password != kept:
                return None  # changed while it was compared
            return then(session, row, self._clock())

    def _exchange(self, secret: str, address: str | None) -> PersonalTokenRead | None:
        now = self._clock()
        with self._db.write() as session:
            found = _valid(session, secret, now)
            if found is None:
                return None
            row, used = found
            made = _session_of(session, row, used, now)
            how = "with a one-time code" if used.kind is TokenKind.CODE else f"with token {used.id}"
            _signed_in(session, row, made.id, address, how, now)
            return made

    def _note_failure(self, name: str | None, address: str | None) -> None:
        """The name that was typed is kept if it is a user's: else it may be a password."""
        with self._db.read() as session:
            row = users.find_user(session, name) if name else None
            subject = f"user {row.name}" if row else "user unknown"
        self._note(subject, "user.sign_in_failed", "", address)

    def _note(self, subject: str, what: str, why: str, address: str | None) -> None:
        with self._db.write(durable=False) as session, acting_as(Person(None, None, address)):
            event_log.append_event(session, self._clock(), event_log.SOMEBODY, subject, what, why)


def session_by_password(address: str | None) -> Then[PersonalTokenRead]:
    """A session for a browser whose user typed a password."""

    def open_(session: Session, user: UserRow, now: float) -> PersonalTokenRead:
        row, secret = tokens.issue_token(
            session, TokenKind.SESSION, now, expires_in=SESSION_SECONDS, user_id=user.id
        )
        row.opened_with = user_tokens.BY_PASSWORD
        _signed_in(session, user, row.id, address, "with the password", now)
        return user_tokens.token_read(user, row, secret)

    return open_


def token_by_password(body: PasswordSignIn, address: str | None) -> Then[PersonalTokenRead]:
    """A personal token for a command line whose user typed a password."""

    def make(session: Session, user: UserRow, now: float) -> PersonalTokenRead:
        row, secret = tokens.issue_token(
            session,
            TokenKind.PERSONAL,
            now,
            note=body.note,
            expires_in=body.expires_in_seconds,
            user_id=user.id,
        )
        row.opened_with = user_tokens.BY_PASSWORD
        _signed_in(session, user, row.id, address, f"with the password, for token {row.id}", now)
        return user_tokens.token_read(user, row, secret)

    return make


def _session_of(session: Session, user: UserRow, used: TokenRow, now: float) -> PersonalTokenRead:
    """A session that may do what the token used may, no longer than that."""
    parent = used.id if used.kind is TokenKind.PERSONAL else used.opened_with
    limit = used if used.kind is TokenKind.PERSONAL else session.get(TokenRow, parent)
    ends = limit.expires_at if limit is not None else None
    seconds = SESSION_SECONDS if ends is None else min(SESSION_SECONDS, ends - now)
    row, secret = tokens.issue_token(
        session, TokenKind.SESSION, now, expires_in=seconds, user_id=user.id
    )
    row.role, row.tasks, row.opened_with = used.role, used.tasks, parent
    return user_tokens.token_read(user, row, secret)


def _valid(session: Session, secret: str, now: float) -> tuple[UserRow, TokenRow] | None:
    """The user and the token, if it opens a session; a code does so once."""
    try:
        principal = tokens.authenticate(session, secret, now)
    except Forbidden:
        return None
    row = session.get_one(TokenRow, principal.token_id)
    if principal.user_id is None or row.kind is TokenKind.SESSION:
        return None
    if row.kind is TokenKind.CODE and not compare_and_set(session, row, "uses_left", 0):
        return None
    return session.get_one(UserRow, principal.user_id), row


def issue_code(
    session: Session, principal: Principal, now: float, seconds: float = CODE_SECONDS
) -> SignInCode:
    """A code that opens one session for whoever asks for it, with what their token lets them do."""
    used = session.get_one(TokenRow, principal.token_id)
    row, secret = tokens.issue_token(
        session, TokenKind.CODE, now, expires_in=seconds, uses=1, user_id=principal.user_id
    )
    row.role, row.tasks, row.opened_with = used.role, used.tasks, used.id
    return SignInCode(code=secret, expires_at=now + seconds)


def sign_out(session: Session, principal: Principal, now: float) -> None:
    """End a session."""
    row = session.get_one(TokenRow, principal.token_id)
    row.revoked_at = row.revoked_at or now
    notify(session, TokensChanged())
    event_log.append_event(
        session, now, event_log.OPERATOR, f"user {principal.user}", "user.signed_out"
    )


def _signed_in(
    session: Session, user: UserRow, token_id: int, address: str | None, how: str, now: float
) -> None:
    with acting_as(Person(user.name, token_id, address)):
        event_log.append_event(
            session, now, event_log.OPERATOR, f"user {user.name}", "user.signed_in", how
        )
