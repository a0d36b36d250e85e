"""Delivery: is everything converging? All tasks in short, and one task whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedops.core.contracts import CommitRead, DeliveryRead
from fedops.core.states import ROLLOUT_MOVING, RolloutStatus
from fedops.server.dashboard.live.page import Page, Panel
from fedops.server.dashboard.pages.delivery.convergence import Kind, groups_of, trouble_first
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.rollouts import delivery_views, task_standings
from fedops.server.delivery.serving import serving_views
from fedops.server.events import event_log
from fedops.server.events.news import EventNews
from fedops.server.tasks import tasks

_DEVICES, _ROLLOUTS, _EVENTS, _SERVING = 200, 10, 15, 100


def delivery_of(view: View) -> DeliveryRead:
    """All about the task that the address names."""
    task = view.query["task"]
    return view.once("delivery", lambda: delivery_views.read_delivery(view.session, task, view.now))


def awaited(found: DeliveryRead) -> str | None:
    """The commit that goes from wave to wave now."""
    rollout = found.rollout
    return rollout.commit if rollout and rollout.status in ROLLOUT_MOVING else None


def overview(view: View) -> dict[str, Any]:
    """All tasks, with how many devices run what is wanted."""
    return {"standings": task_standings.list_standings(view.session, view.tasks)}


def head(view: View) -> dict[str, Any]:
    """What is wanted, what goes on, and what a person can do about it."""
    found = delivery_of(view)
    return {
        "delivery": found,
        "bundle": tasks.require_task(view.session, found.task).bundle,
        "decisions": _decisions(found),
        "state": _state(found),
    }


def _state(found: DeliveryRead) -> str:
    """In one word."""
    devices = trouble_first(found.deployments, awaited(found))
    kinds = {kind for kind, _ in devices}
    if found.rollout and found.rollout.status is RolloutStatus.PAUSED:
        return "waiting for you"
    for kind in (Kind.FAILED, Kind.INSTALLING, Kind.WAITING, Kind.CONVERGED):
        if kind in kinds:
            return kind.value
    return Kind.OWN.value if kinds else "no device yet"


def _decisions(found: DeliveryRead) -> list[tuple[str, str]]:
    """What may be decided now: the decision, and the word on its button."""
    rollout = found.rollout
    if rollout is None or rollout.ended_at is not None:
        able = []
    elif rollout.status is RolloutStatus.PAUSED:
        able = [
            ("approve", "Approve the next wave"),
            ("resume", "Resume"),
            ("stop", "Stop the rollout"),
        ]
    elif rollout.status is RolloutStatus.HOLDING:
        able = [("roll_back", "Roll back")] if rollout.previous else []
    else:
        able = [("pause", "Pause"), ("stop", "Stop the rollout")]
    pinned = found.source is not None and found.source.pinned is not None
    return [*able, ("unpin", "Unpin")] if pinned else able


def waves(view: View) -> dict[str, Any]:
    """By wave, how many devices are how far; and what the wanted commit changes."""
    found = delivery_of(view)
    wanted = found.rollout.commit if found.rollout else None
    commit = next((one for one in found.commits if one.commit == wanted), None)
    return {
        "groups": groups_of(found.deployments, awaited(found)),
        "delivery": found,
        "changed": commit,
    }


def devices(view: View) -> dict[str, Any]:
    """Each device: where it is, since when, and why."""
    found = delivery_of(view)
    ordered = trouble_first(found.deployments, awaited(found))
    return {
        "devices": ordered[:_DEVICES],
        "more": len(ordered) - len(ordered[:_DEVICES]),
        "task": found.task,
    }


def commits(view: View) -> dict[str, Any]:
    """The newest commits, and what came of their check."""
    found = delivery_of(view)
    return {"commits": found.commits, "delivery": found, "going": _going(found)}


def _going(found: DeliveryRead) -> str | None:
    rollout = found.rollout
    return rollout.commit if rollout and rollout.ended_at is None else None


def history(view: View) -> dict[str, Any]:
    """The newest rollouts, and what happened."""
    delivery = delivery_of(view)
    task, known = delivery.task, delivery.rollout
    found = delivery_views.list_rollouts(view.session, task, view.now, known)
    subject = f"task {task}"
    return {
        "rollouts": found[:_ROLLOUTS],
        "events": event_log.newest_about(view.session, subject, _EVENTS),
    }


def serving(view: View) -> dict[str, Any]:
    """Which devices serve which version of the model."""
    found = serving_views.serving_read(view.session, delivery_of(view).task, view.now)
    return {"serving": found[:_SERVING], "more": len(found) - len(found[:_SERVING])}


def sound_commits(found: DeliveryRead) -> list[CommitRead]:
    """Those that may be rolled out."""
    return [one for one in found.commits if one.status == "sound"]


def _panels(view: View) -> tuple[Panel, ...]:
    if not view.query.get("task"):
        return (Panel("tasks", "delivery/tasks.html", overview),)
    return (
        Panel("head", "delivery/head.html", head),
        Panel("waves", "delivery/waves.html", waves),
        Panel("devices", "delivery/devices.html", devices),
        Panel("commits", "delivery/commits.html", commits),
        Panel("serving", "delivery/serving.html", serving),
        Panel("history", "delivery/history.html", history),
    )


def _title(view: View) -> str:
    task = view.query.get("task")
    return f"Delivery of {delivery_of(view).task}" if task else "Delivery"


def _concerns(view: View) -> Callable[[EventNews], bool]:
    task = view.query.get("task")
    subjects = (f"task {task}", "device ", "alias ") if task else ("task ", "device ")
    return lambda event: event.subject.startswith(subjects)


PAGES = (
    Page(
        path="/delivery",
        template="delivery/page.html",
        section="delivery",
        title=_title,
        panels=_panels,
        around=lambda view: {"task": view.query.get("task", "")},
        concerns=_concerns,
    ),
)
