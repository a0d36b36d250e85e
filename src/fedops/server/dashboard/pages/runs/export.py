"""The rounds of a run as a file to take along."""

from __future__ import annotations

import csv
import io
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fedops.server.access.principal import Principal
from fedops.server.dashboard.look.times import exact
from fedops.server.dashboard.web.resources import Resource
from fedops.server.database.database import ReadSession
from fedops.server.pictures import grids, round_list
from fedops.server.pictures.round_list import RoundLine
from fedops.server.services.services import Services

_COLUMNS = ("round", "committed_at", "seconds", "replied", "asked")
#: The newest so many are in it.
_MOST = 10_000


async def _export(request: Request, services: Services, who: Principal) -> Response:
    """A line a round, oldest first, with all its metrics."""
    run_id = int(request.path_params["run_id"])

    def read(session: ReadSession) -> str:
        grid = grids.read_grid(session, run_id)
        return _csv(round_list.newest_rounds(session, run_id, grid, _MOST)[::-1])

    name = f"run-{run_id}-rounds.csv"
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "no-store",
    }
    text = await services.look(read)
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _csv(lines: list[RoundLine]) -> str:
    names = sorted({name for line in lines for name in line.metrics})
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*_COLUMNS, *(_cell(name) for name in names)])
    for line in lines:
        when = "" if line.committed_at is None else exact(line.committed_at)
        own = line.round, when, line.seconds, line.replied, line.asked
        writer.writerow([*own, *(line.metrics.get(name, "") for name in names)])
    return out.getvalue()


def _cell(text: str) -> Any:
    """A name that an app chose: no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


RESOURCES = (Resource("/runs/{run_id}/rounds.csv", _export),)
