"""Models: all versions of all tasks, the newest first, and the way to compare two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fedops.core.contracts import ModelVersionRead
from fedops.core.errors import Invalid
from fedops.server.access.principal import Principal
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.paths import address
from fedops.server.dashboard.web.resources import Resource
from fedops.server.dashboard.web.view import View, whole_number
from fedops.server.models import versions
from fedops.server.services.services import Services
from fedops.server.tasks import tasks

PAGE = 40
#: How many metrics have a column of their own.
_COLUMNS = 3
#: Which come first, of those that there are.
_FIRST = ("accuracy", "auc", "f1", "loss")


def chosen_task(view: View) -> str | None:
    """The task that the address names. None: all."""
    return view.query.get("task") or None


def main_metrics(found: Iterable[ModelVersionRead], most: int = _COLUMNS) -> list[str]:
    """The metrics that most of these versions have: the well-known ones first."""
    counted = Counter(name for version in found for name in version.metrics)

    def place(name: str) -> tuple[int, int, str]:
        known = [i for i, part in enumerate(_FIRST) if part == name.lower()]
        return known[0] if known else len(_FIRST), -counted[name], name

    return sorted(counted, key=place)[:most]


def table(view: View) -> dict[str, Any]:
    """A page of versions."""
    task = chosen_task(view)
    total, quarantined = versions.count_versions(view.session, task, view.tasks)
    last = max(1, -(-total // PAGE))
    page = min(whole_number(view.query.get("page", "")) or 1, last)
    found = versions.newest_versions(view.session, task, view.tasks, PAGE, (page - 1) * PAGE)
    return {
        "task": task,
        "tasks": tasks.task_names(view.session, view.tasks),
        "versions": found,
        "metrics": main_metrics(found),
        "promotes": view.may("POST /tasks/{task}/models/{version}/promote"),
        "total": total,
        "quarantined": quarantined,
        "page": page,
        "last": last,
        "newer": address("/models", {}, task=task, page=page - 1) if page > 1 else "",
        "older": address("/models", {}, task=task, page=page + 1) if page < last else "",
    }


async def _compare(request: Request, services: Services, who: Principal) -> Response:
    chosen = [text.rpartition("/") for text in request.query_params.getlist("version")]
    if len(chosen) != 2 or len({text[0] for text in chosen}) != 1 or not chosen[0][0]:
        raise Invalid(
            "two versions of one task are compared: tick two of them on the page of models"
        )
    task = quote(chosen[0][0], safe="")
    older, newer = sorted((quote(text[2], safe="") for text in chosen), key=_as_number)
    return RedirectResponse(f"/tasks/{task}/models/{older}/compare/{newer}", status_code=303)


def _as_number(text: str) -> tuple[int, str]:
    digits = text.removeprefix("V")
    return (int(digits) if digits.isascii() and digits.isdigit() else 0), text


PAGES = (
    Page(
        path="/models",
        template="models/page.html",
        section="models",
        title=lambda view: "Models",
        panels=lambda view: (
            Panel("versions", "models/table.html", table, on=("model.", "alias.", "task.")),
        ),
        concerns=any_event,
    ),
)
RESOURCES = (Resource("/models/compare", _compare),)
