"""Join tokens: those there are, and how one is made worthless."""

from __future__ import annotations

from typing import Any

from fedops.server.access import tokens
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.pages.server.token_words import token_id_of
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View

_SHOWN = 200


def listed(view: View) -> dict[str, Any]:
    """The newest join tokens, without their secrets."""
    return {"tokens": tokens.list_tokens(view.session, _SHOWN), "most": _SHOWN}


async def _revoke(sent: Submission) -> Done:
    services, token = sent.services, token_id_of(sent)
    await services.change(lambda s: tokens.revoke_token(s, token, services.clock()))
    return Done("/tokens", f"Join token {token} is revoked.")


PAGES = (
    Page(
        path="/tokens",
        template="server/tokens_page.html",
        section="more",
        title=lambda view: "Join tokens",
        panels=lambda view: (Panel("tokens", "server/tokens.html", listed),),
        concerns=any_event,
    ),
)
FORMS = (
    Form(
        "/tokens/{token_id}/revoke",
        "server/token_revoke.html",
        "more",
        lambda view: f"Revoke join token {view.path['token_id']}",
        _revoke,
        lambda view: {"back": "/tokens"},
    ),
)
