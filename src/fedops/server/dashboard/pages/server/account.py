"""Oneself: who one is, one's password, tokens and sessions."""

from __future__ import annotations

from typing import Any

from fedops.core.contracts import PasswordChange
from fedops.server.access import user_tokens, users
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.pages.server.token_words import (
    ROLES,
    VALID,
    shown_once,
    token_asked,
    token_id_of,
)
from fedops.server.dashboard.web.forms import Done, Form, Shown, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.events.acting import acting_person


def account(view: View) -> dict[str, Any]:
    """Who one is, with one's tokens and open sessions, newest first."""
    row = users.require_user(view.session, view.who.user or "")
    return {
        "me": users.user_read(row),
        "tokens": user_tokens.list_of(view.session, row, view.now),
    }


async def _change_password(sent: Submission) -> Done:
    services, acting = sent.services, acting_person()
    typed = {name: sent.fields.get(name, [""])[-1] for name in ("current", "password")}
    body = PasswordChange(**typed)
    hashed = await services.sign_in.passwords.hash(body.password)
    await services.sign_in.by_password(
        sent.who.user or "",
        body.current,
        acting.address if acting else None,
        lambda session, user, now: users.set_password(session, user.name, hashed, now),
    )
    return Done("/sign-in", "Your password is changed. Sign in with the new one.")


async def _make_token(sent: Submission) -> Shown:
    services, body = sent.services, token_asked(sent)
    made = await services.change(
        lambda s: user_tokens.create_own(s, sent.who, body, services.clock())
    )
    return shown_once(made, "/account")


async def _revoke(sent: Submission) -> Done:
    services, token = sent.services, token_id_of(sent)
    await services.change(lambda s: user_tokens.revoke_own(s, sent.who, token, services.clock()))
    return Done("/account", f"Token {token} is revoked.")


async def _rotate(sent: Submission) -> Shown:
    services, token = sent.services, token_id_of(sent)
    made = await services.change(
        lambda s: user_tokens.rotate_own(s, sent.who, token, services.clock())
    )
    return shown_once(made, "/account")


PAGES = (
    Page(
        path="/account",
        template="server/account_page.html",
        section="more",
        title=lambda view: "Account",
        panels=lambda view: (Panel("account", "server/account.html", account),),
        concerns=any_event,
        personal=True,
    ),
)
FORMS = (
    Form(
        "/account/password",
        "server/account_password.html",
        "more",
        lambda view: "Change your password",
        _change_password,
    ),
    Form(
        "/account/tokens",
        "server/account_token.html",
        "more",
        lambda view: "Make a token for yourself",
        _make_token,
        lambda view: {"roles": ROLES, "valid": list(VALID)},
    ),
    Form(
        "/account/tokens/{token_id}/revoke",
        "server/token_revoke.html",
        "more",
        lambda view: f"Revoke token {view.path['token_id']}",
        _revoke,
        lambda view: {"back": "/account"},
    ),
    Form(
        "/account/tokens/{token_id}/rotate",
        "server/token_rotate.html",
        "more",
        lambda view: f"Rotate token {view.path['token_id']}",
        _rotate,
    ),
)
