"""Light, dark, or as the system has it: a browser's choice, in a cookie, so that no page flashes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from fedops.server.dashboard.web.answers import THEME, THEMES, own_path
from fedops.server.dashboard.web.forms import LARGEST_OF_STRANGERS, fields_of

router = APIRouter(include_in_schema=False)
_YEAR = 31_536_000


@router.post("/theme")
async def choose(request: Request) -> Response:
    """Keep the choice and go back."""
    fields = await fields_of(request, LARGEST_OF_STRANGERS)
    chosen = fields.get("theme", [""])[-1]
    answer = RedirectResponse(own_path(fields.get("next", ["/"])[-1]), status_code=303)
    if chosen in THEMES:
        answer.set_cookie(THEME, chosen, max_age=_YEAR, samesite="strict")
    else:
        answer.delete_cookie(THEME)
    return answer
