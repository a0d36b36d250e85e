"""What has no place of its own in the navigation: links to the rest, as far as one may see it."""

from __future__ import annotations

from typing import Any

from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.view import View

#: Where, its words, what it answers.
_PLACES = (
    ("/models", "Models", "which version serves, and which one to ship"),
    ("/delivery", "Delivery", "is everything converging"),
    ("/contribution", "Contribution", "which device helps, and which harms"),
    ("/explanations", "Explanations", "what the models look at"),
    ("/events", "Events", "who did what, and when"),
    ("/users", "Users", "who may do what"),
    ("/tokens", "Join tokens", "who may still bring devices in"),
    ("/notifications", "Notifications", "who is told of what"),
    ("/settings", "Settings", "what this server runs with"),
    ("/account", "Account", "your password, tokens and sessions"),
)


def places(view: View) -> dict[str, Any]:
    """The places that exist and that this user may see."""
    return {"places": [place for place in _PLACES if view.may(f"GET {place[0]}")]}


PAGES = (
    Page(
        path="/more",
        template="server/more_page.html",
        section="more",
        title=lambda view: "More",
        panels=lambda view: (Panel("places", "server/more.html", places),),
        concerns=any_event,
    ),
)
