"""Schedules and their firings on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from fedops.console.format import fields, moment, or_dash, table_of, version_name
from fedops.core import contracts as c
from fedops.core.states import FiringStatus


def schedules_table(schedules: Sequence[c.ScheduleRead]) -> RenderableType:
    if not schedules:
        return "No schedule yet: 'fedops schedule set TASK NAME --every 1d' makes one."
    titles = ("NAME", "WHEN", "DEVICES", "NEXT", "LAST")
    rows = [
        (one.name, one.when, ", ".join(one.devices), one.next, _last(one.last)) for one in schedules
    ]
    return table_of(titles, rows, optional=("DEVICES", "LAST"))


def schedule_fields(one: c.ScheduleRead) -> RenderableType:
    return fields(
        {
            "schedule": f"{one.name} of task {one.task}",
            "when": one.when,
            "next": one.next,
            "paused": one.paused_why,
            "devices": ", ".join(one.devices) or "all",
            "overrides": ", ".join(one.overrides),
            "promotes": promotion_text(one.promotion),
            "missed ticks": "made up for once" if one.missed == "once" else "skipped",
            "last": _last(one.last),
        }
    )


def promotion_text(rule: c.PromotionRule) -> str:
    """``when accuracy is better by 0.01``."""
    if rule.rule != "better":
        return {"always": "every sound version", "never": "nothing"}[rule.rule]
    by = f" by {rule.margin:g}" if rule.margin else ""
    return f"when {rule.metric or 'the metric of the gate'} is better{by}"


def firings_table(firings: Sequence[c.FiringRead]) -> RenderableType:
    if not firings:
        return "It has not fired yet."
    titles = ("FIRING", "AT", "WHY", "RUN", "MODEL", "STATUS", "OUTCOME")
    rows = [
        (
            str(one.id),
            moment(one.at),
            one.why + (f", and {one.more} more" if one.more else ""),
            or_dash(one.run_id),
            version_name(one.version),
            one.status.value,
            one.outcome,
        )
        for one in firings
    ]
    return table_of(titles, rows, right=("FIRING", "RUN"), optional=("RUN", "MODEL"))


def firing_sentence(one: c.FiringRead) -> str:
    """What became of a firing that was asked for."""
    if one.status is FiringStatus.RUNNING:
        return f"Run {one.run_id} has begun: 'fedops run why {one.run_id}' says how it is."
    return f"Firing {one.id} is {one.status.value}: {one.outcome or 'it is about to begin'}."


def _last(one: c.FiringRead | None) -> str:
    if one is None:
        return ""
    outcome = f": {one.outcome}" if one.outcome else ""
    return f"{moment(one.at)} {one.status.value}{outcome}"
