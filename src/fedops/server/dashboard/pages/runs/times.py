"""Where the time of a round went, client by client."""

from __future__ import annotations

from typing import Any

from fedops.server.dashboard.pages.runs.run_page import run_of
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.pictures import grids
from fedops.server.pictures.round_times import ClientTime


def times(view: View) -> dict[str, Any]:
    """The slowest clients of the round that the address names (``?round=7``), or of the last one."""
    run = run_of(view)
    asked = whole_number(view.query.get("round", ""))
    last = run.committed_rounds if run.committed_rounds >= run.first_round else None
    number = asked if asked is not None and last and run.first_round <= asked <= last else last
    found = grids.slowest_clients(view.session, run.id, number) if number else []
    longest = max((one.total for one in found), default=0.0) or 1.0
    return {
        "run": run,
        "number": number,
        "last": last,
        "clients": [(one, _bar(one, longest)) for one in found],
    }


def _bar(one: ClientTime, longest: float) -> list[tuple[str, str, str]]:
    """Its parts from left to right: what, where it begins, how wide it is (percent)."""
    parts, begins = [], 0.0
    for what in ("waits", "fetches", "works", "sends"):
        seconds = getattr(one, what)
        share = 100 * seconds / longest
        parts.append((what, f"{begins:.2f}%", f"{share:.2f}%"))
        begins += share
    return parts
