"""The rounds of a run as a file to take along."""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from fedops.server.access.principal import Principal
from fedops.server.dashboard.look.times import exact
from fedops.server.dashboard.web import downloads
from fedops.server.dashboard.web.resources import Resource
from fedops.server.database.database import ReadSession
from fedops.server.pictures import grids, round_list
from fedops.server.pictures.round_list import RoundLine
from fedops.server.services.services import Services

_COLUMNS = ("round", "committed_at", "seconds", "replied", "asked")
#: The newest so many are in it.
_MOST = 10_000


def _export(kind: str, media_type: str, write: Callable[[list[RoundLine]], str]) -> Resource:
    """All rounds, oldest first, with all their metrics."""

    async def answer(request: Request, services: Services, who: Principal) -> Response:
        run_id = int(request.path_params["run_id"])

        def read(session: ReadSession) -> str:
            grid = grids.read_grid(session, run_id)
            return write(round_list.newest_rounds(session, run_id, grid, _MOST)[::-1])

        headers = downloads.headers(f"run-{run_id}-rounds.{kind}")
        return Response(await services.look(read), media_type=media_type, headers=headers)

    return Resource(f"/runs/{{run_id}}/rounds.{kind}", answer)


def _csv(lines: list[RoundLine]) -> str:
    names = sorted({name for line in lines for name in line.metrics})
    rows = [[*_own(line), *(line.metrics.get(name, "") for name in names)] for line in lines]
    return downloads.csv_lines([[*_COLUMNS, *names], *rows])


def _own(line: RoundLine) -> list[object]:
    when = None if line.committed_at is None else exact(line.committed_at)
    return [line.round, when, line.seconds, line.replied, line.asked]


def _json(lines: list[RoundLine]) -> str:
    """A list with an object a round; ``notes`` are the devices that did not deliver, with why."""
    told = [
        {
            **dict(zip(_COLUMNS, _own(line), strict=True)),
            "metrics": line.metrics,
            "notes": [{"device": device, "reason": reason} for device, reason in line.notes],
        }
        for line in lines
    ]
    return json.dumps(told, indent=1) + "\n"


RESOURCES = (
    _export("csv", "text/csv; charset=utf-8", _csv),
    _export("json", "application/json", _json),
)
