"""Users and their tokens, as tables."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import RenderableType

from fedops.console.format import fields, moment, or_dash, table
from fedops.core import contracts as c
from fedops.core.states import Role


def rights(user: c.UserRead) -> str:
    """``an operator of mnist, digits``."""
    article = "a" if user.role is Role.VIEWER else "an"
    return f"{article} {user.role.value}" + (f" of {', '.join(user.tasks)}" if user.tasks else "")


def users_table(users: Sequence[c.UserRead]) -> RenderableType:
    result = table("USER", "ROLE", "TASKS", "PASSWORD", "STATE", "SINCE")
    for user in users:
        result.add_row(
            user.name,
            user.role.value,
            _tasks(user.tasks),
            "yes" if user.has_password else "-",
            "disabled" if user.disabled else "enabled",
            moment(user.created_at),
        )
    return result


def user_tokens_table(tokens: Sequence[c.PersonalTokenRead]) -> RenderableType:
    if not tokens:
        return "No token yet: 'fedops user token create' makes one."
    result = table("ID", "KIND", "ROLE", "TASKS", "EXPIRES", "STATE", "NOTE", right=("ID",))
    for token in tokens:
        result.add_row(
            str(token.id),
            token.kind,
            or_dash(token.role and token.role.value),
            _tasks(token.tasks) if token.tasks else "-",
            moment(token.expires_at),
            _state(token),
            token.note,
        )
    return result


def _state(token: c.PersonalTokenRead) -> str:
    if token.revoked:
        return "revoked"
    over = token.expires_at is not None and token.expires_at <= time.time()
    return "expired" if over else "valid"


def whoami_fields(url: str, found: c.WhoAmI) -> RenderableType:
    return fields(
        {
            "server": url,
            "user": found.user,
            "role": " and ".join(role.value for role in found.roles),
            "tasks": _tasks(found.tasks),
            "token": found.token_id,
            "expires": moment(found.expires_at),
        }
    )


def _tasks(tasks: Sequence[str] | None) -> str:
    return "all" if tasks is None else ", ".join(tasks) or "none"
