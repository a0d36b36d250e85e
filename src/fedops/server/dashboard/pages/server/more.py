"""What has no place of its own in the navigation."""

from __future__ import annotations

from typing import Any

from fedops.core.contracts import EventRead
from fedops.core.states import Role
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.view import View
from fedops.server.events import event_log
from fedops.server.events.news import newest_event

_LATEST = 200


def links(view: View) -> dict[str, Any]:
    """The other pages."""
    return {}


def events(view: View) -> dict[str, Any]:
    """The latest events that this user may know of, newest first."""
    audits = all(role in (Role.ADMIN, Role.AUDITOR) for role in view.who.roles)
    after = max(newest_event(view.session) - event_log.PAGE, 0)
    found: list[EventRead] = event_log.list_events(
        view.session, after=after, within=view.tasks, audits=audits
    )
    return {"events": list(reversed(found))[:_LATEST], "audits": audits}


PAGES = (
    Page(
        path="/more",
        template="server/more.html",
        section="more",
        title=lambda view: "More",
        panels=lambda view: (Panel("links", "server/links.html", links),),
        concerns=lambda view: lambda event: False,
    ),
    Page(
        path="/events",
        template="server/events.html",
        section="more",
        title=lambda view: "Events",
        panels=lambda view: (Panel("events", "server/events_table.html", events),),
        concerns=any_event,
    ),
)
