"""Users of a test's server, by their roles, and what they send."""

from __future__ import annotations

from collections.abc import Sequence

from managing import World

from fedops.core import contracts as c
from fedops.core.errors import NotFound
from fedops.core.states import Role
from fedops.server.access import user_tokens, users


def user_token(world: World, role: Role, tasks: Sequence[str] | None = None) -> str:
    """A fresh token of a user of this role, who is made when there is none yet."""
    name = f"{role.value}-of-{'-'.join(tasks)}" if tasks else f"the-{role.value}"
    limits, now = None if tasks is None else list(tasks), world.manager.services.clock()
    with world.manager.services.db.write() as session:
        try:
            row = users.require_user(session, name)
        except NotFound:
            made = c.UserCreate(name=name, role=role, tasks=limits)
            users.add_user(session, made, None, now)
            row = users.require_user(session, name)
        made_token = user_tokens.create_for(session, row, c.PersonalTokenCreate(), now)
    assert made_token.token
    return made_token.token
