"""Who did what: the newest events first, filtered, a page at a time; and as a file to take along."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fedops.core.contracts import EventRead
from fedops.server.access.principal import Principal
from fedops.server.access.rules import AUDITS
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.look.times import exact
from fedops.server.dashboard.web import downloads
from fedops.server.dashboard.web.paths import address
from fedops.server.dashboard.web.resources import Resource
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.events import event_search
from fedops.server.events.event_search import Sought
from fedops.server.services.services import Services
from fedops.server.tasks import tasks

_ROWS, _LONGEST = 100, 200
#: A file has so many lines at most, read so many at a time.
_MOST_LINES, _CHUNK = 1_000_000, 1_000
_TEXTS = ("by", "subject", "name", "text", "task")
_TIMES = ("since", "until")
_COLUMNS = ("id", "at", "who", "subject", "event", "text", "user", "token", "address", "data")


def _asked(query: Mapping[str, str]) -> dict[str, str]:
    return {name: query.get(name, "").strip()[:_LONGEST] for name in (*_TEXTS, *_TIMES)}


def sought(query: Mapping[str, str]) -> Sought:
    """What an address asks for. A time that is none does not matter."""
    asked = _asked(query)
    texts = {name: asked[name] for name in _TEXTS}
    return Sought(**texts, since=moment(asked["since"]), until=moment(asked["until"]))


def moment(text: str) -> float | None:
    """``2026-11-30`` or ``2026-11-30T05:16`` as POSIX seconds, by UTC. None: it is no time."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _audits(who: Principal) -> bool:
    return all(role in AUDITS for role in who.roles)


def events(view: View) -> dict[str, Any]:
    """The events that the filters leave, and where the older ones begin."""
    before, wanted, audits = (
        whole_number(view.query.get("before", "")),
        sought(view.query),
        _audits(view.who),
    )
    found = event_search.search(
        view.session, wanted, before=before, within=view.tasks, audits=audits, limit=_ROWS
    )
    asked, older = _asked(view.query), found.older
    return {
        "events": found.events,
        "older": address("/events", asked, before=older) if older else "",
        "newest": address("/events", asked) if before else "",
        "filtered": not wanted.everything,
        "looked_through": event_search.LOOKED_THROUGH,
        "audits": audits,
        "files": [
            (kind, address(f"/events.{kind}", asked))
            for kind in ("csv", "jsonl")
            if view.may(f"GET /events.{kind}")
        ],
    }


def _around(view: View) -> dict[str, Any]:
    asked = _asked(view.query)
    wrong = [name for name in _TIMES if asked[name] and moment(asked[name]) is None]
    return {
        "asked": asked,
        "tasks": tasks.task_names(view.session, view.tasks),
        "wrong": f"{' and '.join(wrong)}: write a time as 2026-11-30T05:16" if wrong else "",
    }


# --- as a file -------------------------------------------------------------------------------


def _file(kind: str, media_type: str) -> Resource:
    async def answer(request: Request, services: Services, who: Principal) -> Response:
        lines = _lines(services, who, sought(request.query_params), kind)
        headers = downloads.headers(f"events.{kind}")
        return StreamingResponse(lines, media_type=media_type, headers=headers)

    return Resource(f"/events.{kind}", answer)


async def _lines(
    services: Services, who: Principal, wanted: Sought, kind: str
) -> AsyncIterator[str]:
    """The file, some lines at a time, the newest first: never more than these are in memory."""
    if kind == "csv":
        yield downloads.csv_lines([_COLUMNS])
    before, left, audits = None, _MOST_LINES, _audits(who)
    while left > 0:
        found = await services.look(
            lambda session, before=before: event_search.search(  # type: ignore[misc]
                session, wanted, before=before, within=who.tasks, audits=audits, limit=_CHUNK
            )
        )
        told = found.events[:left]
        if told:
            yield _csv(told) if kind == "csv" else _jsonl(told)
        before, left = found.older, left - len(told)
        if before is None:
            return


def _csv(found: list[EventRead]) -> str:
    return downloads.csv_lines(
        [
            one.id,
            exact(one.at),
            one.who,
            one.subject,
            one.name,
            one.text,
            one.by_user,
            one.by_token,
            one.by_address,
            json.dumps(one.data) if one.data else "",
        ]
        for one in found
    )


def _jsonl(found: list[EventRead]) -> str:
    return "".join(f"{one.model_dump_json()}\n" for one in found)


PAGES = (
    Page(
        path="/events",
        template="server/events_page.html",
        section="more",
        title=lambda view: "Events",
        panels=lambda view: (Panel("events", "server/events.html", events),),
        around=_around,
        concerns=any_event,
    ),
)
RESOURCES = (_file("csv", "text/csv; charset=utf-8"), _file("jsonl", "application/jsonl"))
