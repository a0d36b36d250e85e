"""Whom a request speaks for."""

from __future__ import annotations

from dataclasses import dataclass

from fedops.core.states import Role, TokenKind


@dataclass(frozen=True)
class Principal:
    """A device, an attempt, or a user with what the token used leaves of their rights."""

    kind: TokenKind
    token_id: int
    device_id: str | None = None
    attempt_id: int | None = None
    user_id: int | None = None
    #: The user's name.
    user: str | None = None
    #: The user's role and the token's, if it has one of its own: each must be allowed.
    roles: tuple[Role, ...] = ()
    #: None: all of them.
    tasks: frozenset[str] | None = None
    #: POSIX seconds. None: it stays valid.
    expires_at: float | None = None
