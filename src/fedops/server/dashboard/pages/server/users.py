"""Users, as auditors see them and admins keep them."""

from __future__ import annotations

from typing import Any

from fedops.core.contracts import PasswordSet, UserCreate, UserUpdate
from fedops.server.access import user_tokens, users
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.pages.server.token_words import (
    ROLES,
    VALID,
    role_of,
    shown_once,
    tasks_of,
    token_asked,
    token_id_of,
)
from fedops.server.dashboard.web.forms import Done, Form, Shown, Submission
from fedops.server.dashboard.web.view import View


def listed(view: View) -> dict[str, Any]:
    """All users, by name, with when each signed in last."""
    found = users.list_users(view.session)
    seen = users.last_sign_ins(view.session, [one.name for one in found])
    # A former user of the same name is another one.
    own = {one.name: seen[one.name] for one in found if seen.get(one.name, -1) >= one.created_at}
    return {"users": found, "seen": own}


def _user(view: View) -> dict[str, Any]:
    row = users.require_user(view.session, view.path["user"])
    return {"user_read": users.user_read(row), "roles": ROLES}


def _tokens(view: View) -> dict[str, Any]:
    row = users.require_user(view.session, view.path["user"])
    return {
        "name": row.name,
        "tokens": user_tokens.list_of(view.session, row, view.now),
        "roles": ROLES,
        "valid": list(VALID),
    }


async def _add(sent: Submission) -> Done:
    services = sent.services
    body = UserCreate(
        name=sent.text("name"),
        role=role_of(sent.text("role")),
        tasks=tasks_of(sent.text("tasks")),
        password=_password(sent) or None,
    )
    hashed = await services.sign_in.passwords.hash(body.password) if body.password else None
    await services.change(lambda s: users.add_user(s, body, hashed, services.clock()))
    return Done("/users", f"User {body.name} is added.")


async def _change(sent: Submission) -> Done:
    services, name, tasks = sent.services, sent.path["user"], tasks_of(sent.text("tasks"))
    body = UserUpdate(
        role=role_of(sent.text("role")),
        tasks=tasks,
        all_tasks="tasks" in sent.fields and tasks is None,
        disabled=sent.text("disabled") == "yes" if "disabled" in sent.fields else None,
    )
    await services.change(lambda s: users.update_user(s, name, body, services.clock()))
    return Done("/users", f"User {name} is changed.")


async def _set_password(sent: Submission) -> Done:
    services, name = sent.services, sent.path["user"]
    body = PasswordSet(password=_password(sent))
    hashed = await services.sign_in.passwords.hash(body.password)
    await services.change(lambda s: users.set_password(s, name, hashed, services.clock()))
    return Done("/users", f"The password of {name} is set, and their browsers are signed out.")


async def _remove(sent: Submission) -> Done:
    services, name = sent.services, sent.path["user"]
    await services.change(lambda s: users.remove_user(s, name, services.clock()))
    return Done("/users", f"User {name} is removed.")


async def _make_token(sent: Submission) -> Shown:
    services, name, body = sent.services, sent.path["user"], token_asked(sent)
    made = await services.change(
        lambda s: user_tokens.create_for(s, users.require_user(s, name), body, services.clock())
    )
    return shown_once(made, "/users")


async def _revoke(sent: Submission) -> Done:
    services, name, token = sent.services, sent.path["user"], token_id_of(sent)
    await services.change(
        lambda s: user_tokens.revoke_of(s, users.require_user(s, name), token, services.clock())
    )
    return Done("/users", f"Token {token} of {name} is revoked.")


def _password(sent: Submission) -> str:
    """As it was typed: spaces around it are a part of it."""
    return sent.fields.get("password", [""])[-1]


PAGES = (
    Page(
        path="/users",
        template="server/users_page.html",
        section="more",
        title=lambda view: "Users",
        panels=lambda view: (Panel("users", "server/users.html", listed),),
        concerns=any_event,
    ),
)
FORMS = (
    Form(
        "/new-user",
        "server/user_new.html",
        "more",
        lambda view: "Add a user",
        _add,
        lambda view: {"roles": ROLES},
    ),
    Form(
        "/users/{user}",
        "server/user_change.html",
        "more",
        lambda view: f"Change user {view.path['user']}",
        _change,
        _user,
    ),
    Form(
        "/users/{user}/password",
        "server/user_password.html",
        "more",
        lambda view: f"Set the password of {view.path['user']}",
        _set_password,
        _user,
    ),
    Form(
        "/users/{user}/remove",
        "server/user_remove.html",
        "more",
        lambda view: f"Remove user {view.path['user']}",
        _remove,
        _user,
    ),
    Form(
        "/users/{user}/tokens",
        "server/user_tokens.html",
        "more",
        lambda view: f"Tokens of {view.path['user']}",
        _make_token,
        _tokens,
    ),
    Form(
        "/users/{user}/tokens/{token_id}/revoke",
        "server/token_revoke.html",
        "more",
        lambda view: f"Revoke token {view.path['token_id']} of {view.path['user']}",
        _revoke,
        lambda view: {"back": "/users"},
    ),
)
