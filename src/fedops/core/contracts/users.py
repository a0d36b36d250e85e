"""Users: who they are, what they may do, and the tokens and passwords that show it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedops.core.contracts.base import Finite, Name, Reply, Request
from fedops.core.states import Role

#: Shorter ones can be guessed.
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 200
Password = Annotated[str, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
#: What somebody types, right or wrong.
Typed = Annotated[str, Field(max_length=LONGEST_PASSWORD)]
TaskNames = Annotated[list[Name], Field(min_length=1, max_length=256)]
#: At most a hundred years: a calendar must be able to show when that is.
Lifetime = Annotated[Finite, Field(gt=0, le=3_153_600_000)]


class UserCreate(Request):
    """``tasks``: the only ones that an operator or a viewer gets to see; None: all."""

    name: Name
    role: Role
    tasks: TaskNames | None = None
    password: Password | None = Field(default=None, repr=False)


class UserUpdate(Request):
    """What is None stays. ``all_tasks`` takes a limit to named tasks away."""

    role: Role | None = None
    tasks: TaskNames | None = None
    all_tasks: bool = False
    disabled: bool | None = None


class UserRead(Reply):
    name: str
    role: Role
    #: None: all of them.
    tasks: list[str] | None
    has_password: bool
    disabled: bool
    created_at: float


class PasswordSet(Request):
    password: Password = Field(repr=False)


class PasswordChange(PasswordSet):
    """``current``: what it was; not needed when there was none."""

    current: Typed = Field(default="", repr=False)


class PersonalTokenCreate(Request):
    """A token that shows who a user is. ``role``, ``tasks``: less than the user's own."""

    note: str = Field(default="", max_length=200)
    role: Role | None = None
    tasks: TaskNames | None = None
    expires_in_seconds: Lifetime | None = None


class PersonalTokenRead(Reply):
    """``session``: of a browser that is signed in."""

    id: int
    user: str
    kind: Literal["personal", "session"]
    note: str
    role: Role | None
    tasks: list[str] | None
    created_at: float
    expires_at: float | None
    revoked: bool
    #: The secret itself: only in the answer to the request that made it.
    token: str | None = None


class SignIn(Request):
    """A name and a password, for a personal token."""

    user: Name
    password: Typed = Field(repr=False)
    note: str = Field(default="", max_length=200)
    expires_in_seconds: Lifetime = 30 * 86_400.0


class SignInCode(Reply):
    """Opens one session of a browser, once, as whoever asked for it."""

    code: str
    expires_at: float


class WhoAmI(Reply):
    """A user, and what the token used lets them do."""

    user: str
    #: Each of these is asked: the user's, and the token's if it has one of its own.
    roles: list[Role]
    #: None: all of them.
    tasks: list[str] | None
    token_id: int
    expires_at: float | None
