"""Rules: which users and programs may make a call, and how far somebody gets who is limited to tasks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fedops.core.errors import Forbidden
from fedops.core.states import Role, TokenKind
from fedops.server.access.principal import Principal


class Of(StrEnum):
    """What a call is about. It decides how far somebody gets who is limited to named tasks."""

    SERVER = "the server"  #: nowhere
    TASK = "the task"  #: that the path names: one of theirs
    NEW_TASK = "the new task"  #: that the body names: one of theirs
    RUN = "the run"  #: that the path names: of one of their tasks
    STUDY = "the study"  #: that the path names: of one of their tasks
    DEVICE = "the device"  #: that the path names: of one of their tasks
    THEIRS = "all of theirs"  #: the answer holds what is of their tasks, and nothing else
    SELF = "oneself"  #: as everybody else


@dataclass(frozen=True)
class Rule:
    """Who may call a route."""

    #: The users who may. Their tokens must allow it, too.
    roles: frozenset[Role] = frozenset()
    of: Of = Of.SERVER
    #: Programs that may: by the token of a device, or of an attempt.
    machines: frozenset[TokenKind] = frozenset()
    #: Asks for no token: or for one in the body.
    open: bool = False


ADMIN, OPERATOR, VIEWER, AUDITOR = Role
READS = frozenset(Role)
TAKES_MODELS = frozenset({ADMIN, OPERATOR, VIEWER})
WATCHES = frozenset({ADMIN, OPERATOR, AUDITOR})
OPERATES = frozenset({ADMIN, OPERATOR})
AUDITS = frozenset({ADMIN, AUDITOR})
ADMINISTERS = frozenset({ADMIN})
OPEN = Rule(open=True)
DEVICE = Rule(machines=frozenset({TokenKind.DEVICE}))
ATTEMPT = Rule(machines=frozenset({TokenKind.ATTEMPT}))
BLOB = Rule(ADMINISTERS, machines=DEVICE.machines | ATTEMPT.machines)


def require_allowed(principal: Principal, rule: Rule) -> None:
    """``Forbidden`` unless a caller may call what has this rule."""
    if principal.kind in rule.machines:
        return
    if principal.kind not in (TokenKind.PERSONAL, TokenKind.SESSION):
        raise Forbidden(f"this takes {_takers(rule)}; what was sent is {_WHOSE[principal.kind]}")
    if not rule.roles:
        raise Forbidden(f"this takes {_takers(rule)}; what was sent is a user's token")
    lacking = [role for role in principal.roles if role not in rule.roles]
    if lacking:
        raise Forbidden(
            f"this is for {_names(rule.roles)}; user '{principal.user}' is "
            f"{_article(lacking[0])} here"
        )
    if rule.of is Of.SERVER and principal.tasks is not None:
        raise Forbidden(
            f"this is about the whole server; user '{principal.user}' has leave for "
            f"{named_tasks(principal.tasks)} only"
        )


def is_allowed(principal: Principal, rule: Rule) -> bool:
    """Whether a caller may call what has this rule."""
    try:
        require_allowed(principal, rule)
    except Forbidden:
        return False
    return True


_WHOSE = {
    TokenKind.JOIN: "a join token",
    TokenKind.DEVICE: "the token of a device",
    TokenKind.ATTEMPT: "the token of an attempt",
    TokenKind.CODE: "a sign-in code",
}


def _takers(rule: Rule) -> str:
    machines = [_WHOSE[kind] for kind in sorted(rule.machines)]
    whose = "a user" if rule.roles == READS else _names(rule.roles)
    people = [f"the token of {whose}"] if rule.roles else []
    return " or ".join([*people, *machines]) or "no token at all"


def _names(roles: frozenset[Role]) -> str:
    return " or ".join(_article(role) for role in Role if role in roles)


def _article(role: Role) -> str:
    return f"{'a' if role is Role.VIEWER else 'an'} {role.value}"


def named_tasks(tasks: frozenset[str]) -> str:
    """Tasks as a message names them."""
    return "the tasks " + ", ".join(sorted(tasks)) if tasks else "no task"
