"""Who did what: the newest events first, filtered, a page at a time."""

from __future__ import annotations

from typing import Any

from fedops.server.access.rules import AUDITS
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.view import View
from fedops.server.events import event_log

_ROWS = 100
_LONGEST = 200


def events(view: View) -> dict[str, Any]:
    """The events that the filters leave, and where the older ones begin."""
    asked = {key: view.query.get(key, "").strip()[:_LONGEST] for key in ("by", "subject", "name")}
    before = view.query.get("before", "")
    audits = all(role in AUDITS for role in view.who.roles)
    found = event_log.newest_events(
        view.session,
        before=int(before) if before.isdecimal() and len(before) <= 18 else None,
        **asked,
        within=view.tasks,
        audits=audits,
        limit=_ROWS,
    )
    older = found[-1].id if len(found) == _ROWS else None
    return {"events": found, "asked": asked, "older": older, "audits": audits}


PAGES = (
    Page(
        path="/events",
        template="server/events_page.html",
        section="more",
        title=lambda view: "Events",
        panels=lambda view: (Panel("events", "server/events.html", events),),
        around=lambda view: {
            "asked": {key: view.query.get(key, "")[:_LONGEST] for key in ("by", "subject", "name")}
        },
        concerns=any_event,
    ),
)
