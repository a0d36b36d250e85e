"""Whom the last round of a task chose, and why, and where the rest of that run is to be seen."""

from __future__ import annotations

from typing import Any

from fedops.server.contribution import score_views
from fedops.server.dashboard.pages.tasks.task_page import run_of, task_of
from fedops.server.dashboard.web.view import View

#: So many of those that were chosen, and of those that were not, are shown.
_EACH = 6


def last_round(view: View) -> dict[str, Any]:
    """The newest choice of the run that goes on or was the last."""
    run = run_of(view)
    found = score_views.selections(view.session, run.id, None, 1) if run else []
    decisions = found[0].decisions if found else []
    chosen = [one for one in decisions if one.chosen]
    others = [one for one in decisions if not one.chosen]
    return {
        "task": task_of(view),
        "run": run,
        "round": found[0].round if found else None,
        "at": found[0].at if found else None,
        "decisions": [*chosen[:_EACH], *others[:_EACH]],
        "chosen": len(chosen),
        "all": len(decisions),
    }
