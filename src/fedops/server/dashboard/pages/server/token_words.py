"""What the forms of tokens ask for, and the token that is shown once."""

from __future__ import annotations

from fedops.core.contracts import PersonalTokenCreate, PersonalTokenRead
from fedops.core.errors import Invalid, NotFound
from fedops.core.states import Role
from fedops.server.dashboard.web.forms import Shown, Submission
from fedops.server.dashboard.web.view import whole_number

#: How long a token is good, in seconds.
VALID = {"90 days": 7_776_000.0, "1 day": 86_400.0, "30 days": 2_592_000.0, "1 year": 31_536_000.0}
ROLES = tuple(role.value for role in Role)


def role_of(text: str) -> Role:
    """``Invalid`` for what is no role."""
    if text not in ROLES:
        raise Invalid(f"role: choose one of {', '.join(ROLES)}")
    return Role(text)


def tasks_of(text: str) -> list[str] | None:
    """Task names with commas or spaces between them. None: nothing was typed, which means all tasks.

    ``Invalid`` for what names none: a slip must not give more rights.
    """
    named = text.replace(",", " ").split()
    if text and not named:
        raise Invalid(f"tasks: '{text[:40]}' names no task; leave it empty for all")
    return named or None


def token_asked(sent: Submission) -> PersonalTokenCreate:
    """The token that a form asks for."""
    role = sent.text("role")
    if sent.text("valid") not in VALID:
        raise Invalid(f"valid for: choose one of {', '.join(VALID)}")
    return PersonalTokenCreate(
        note=sent.text("note"),
        role=role_of(role) if role else None,
        tasks=tasks_of(sent.text("tasks")),
        expires_in_seconds=VALID[sent.text("valid")],
    )


def token_id_of(sent: Submission) -> int:
    """The token that the path names."""
    found = whole_number(sent.path["token_id"])
    if found is None:
        raise NotFound(f"there is no token '{sent.path['token_id'][:40]}'")
    return found


def shown_once(made: PersonalTokenRead, back: str) -> Shown:
    """The page with a new token's secret."""
    return Shown("server/token_made.html", {"made": made, "back": back, "title": "The new token"})
