"""Which device did what in which round of a run: the grid, one of its cells, and the devices in trouble."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fedops.server.access.principal import Principal
from fedops.server.dashboard.pages.runs.run_page import run_of
from fedops.server.dashboard.web.resources import Resource
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.pictures import cell_details, grids
from fedops.server.pictures.cells import KEYS, TROUBLE, WORDS
from fedops.server.pictures.grids import Grid, Troubled
from fedops.server.services.services import Services

_NEWEST, _IN_TROUBLE, _LEVEL = 2, 12, 1


def grid_of(view: View) -> Grid:
    """The grid of the run that the page is about."""
    return view.once("grid", lambda: grids.read_grid(view.session, run_of(view).id))


def _troubled(view: View) -> list[Troubled]:
    return view.once("troubled", lambda: grids.in_trouble(grid_of(view)))


def grid(view: View) -> dict[str, Any]:
    """What the canvas is told when something changes: the newest rounds. The rest it fetches once."""
    found = grid_of(view)
    newest = list(found.columns)[-_NEWEST:]
    seen = grids.kinds_of(found)
    return {
        "run": run_of(view),
        "grid": found,
        "troubled": len(_troubled(view)),
        "news": {
            "devices": len(found.devices),
            "columns": {number: _text(found.columns[number]) for number in newest},
        },
        "keys": [(int(cell), WORDS[cell]) for cell in KEYS if cell in seen],
    }


def trouble(view: View) -> dict[str, Any]:
    """The devices in trouble, those in most rounds first, with why it was the last time."""
    found, run = _troubled(view), run_of(view)
    shown = found[:_IN_TROUBLE]
    reasons = grids.reasons_of(view.session, run.id, [(one.device, one.last) for one in shown])
    return {
        "run": run,
        "troubled": [(one, WORDS[one.cell], reasons.get((one.device, one.last))) for one in shown],
        "count": len(found),
        "devices": len(grid_of(view).devices),
    }


def cell(view: View) -> dict[str, Any]:
    """The cell that the address names: ``?cell=pi,7``."""
    device, _, number = view.query.get("cell", "").rpartition(",")
    run, found = run_of(view), grid_of(view)
    at = whole_number(number)
    if device not in found.devices or at not in found.columns:
        return {"device": device, "number": number, "run": run, "details": None}
    code = found.columns[at][found.devices.index(device) :][:1]
    kind = next((one for one in WORDS if code and one == code[0]), next(iter(WORDS)))
    return {
        "run": run,
        "device": device,
        "number": at,
        "word": WORDS[kind],
        "is_bad": kind in TROUBLE,
        "details": cell_details.cell_details(view.session, run.id, device, at),
    }


async def _whole(request: Request, services: Services, who: Principal) -> Response:
    """The whole grid, for the canvas."""
    run_id = int(request.path_params["run_id"])

    def read() -> bytes:
        with services.db.read() as session:
            found = grids.read_grid(session, run_id)
        told = {
            "devices": found.devices,
            "rounds": list(found.columns),
            "columns": [_text(cells) for cells in found.columns.values()],
            "words": list(WORDS.values()),
        }
        return gzip.compress(json.dumps(told).encode(), _LEVEL)

    headers = {"content-encoding": "gzip", "cache-control": "no-store"}
    data = await asyncio.to_thread(read)
    return Response(data, media_type="application/json", headers=headers)


def _text(cells: bytes) -> str:
    return base64.b64encode(cells).decode()


RESOURCES = (Resource("/runs/{run_id}/grid", _whole),)
