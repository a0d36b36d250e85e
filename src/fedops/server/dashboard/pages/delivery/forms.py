"""What a person does about a delivery: decides, has the source looked at, a commit checked or rolled out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fedops.core.contracts import RolloutDecision, RolloutStart
from fedops.core.errors import Invalid
from fedops.core.reasons.commits import short_commit
from fedops.server.dashboard.pages.delivery.page import sound_commits
from fedops.server.dashboard.web.forms import Done, Form, Submission
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.commits import commit_states
from fedops.server.delivery.rollouts import delivery_views, rollouts
from fedops.server.delivery.sources import task_sources
from fedops.server.services.services import Services
from fedops.server.tasks import app_bundles

#: Of each decision: the verb on its button, what follows from it, and what is said once it is made.
_DECISIONS = {
    "approve": (
        "Approve the next wave",
        "The next wave is asked now, whatever the one before is like.",
        "The next wave begins.",
    ),
    "pause": (
        "Pause the rollout",
        "No further wave is asked until somebody resumes it. Devices that were asked go on.",
        "The rollout is paused.",
    ),
    "resume": (
        "Resume the rollout",
        "The wave is judged anew from now, and the next one follows by itself when it is well.",
        "The rollout goes on.",
    ),
    "stop": (
        "Stop the rollout",
        "Every device that was asked for this commit goes back to the commit before. It is not rolled "
        "out again by itself.",
        "The rollout is stopped.",
    ),
    "roll_back": (
        "Roll back",
        "Every device goes back to the commit before, and so do the task's next runs. This commit is "
        "not rolled out again by itself.",
        "The commit is rolled back.",
    ),
    "unpin": (
        "Unpin",
        "Newer commits of the source are rolled out by themselves again.",
        "Newer commits are rolled out again.",
    ),
}


def _back(task: str) -> str:
    return f"/delivery?task={quote(task)}"


def _found(view: View) -> Mapping[str, Any]:
    """The delivery of the task that the path names."""
    found = delivery_views.read_delivery(view.session, view.path["task"], view.now)
    return {"delivery": found, "task": found.task}


# --- decisions -------------------------------------------------------------------------------


def _choice(view: View) -> Mapping[str, Any]:
    asked = view.query.get("decision", "")
    options = {asked: _DECISIONS[asked]} if asked in _DECISIONS else _DECISIONS
    return {**_found(view), "options": options}


def _decision_title(view: View) -> str:
    asked = view.query.get("decision", "")
    verb = _DECISIONS[asked][0] if asked in _DECISIONS else "Decide about the rollout"
    return f"{verb} of {view.path['task']}"


async def _decide(sent: Submission) -> Done:
    task, decision = sent.path["task"], sent.text("decision")
    if decision not in _DECISIONS:
        raise Invalid("choose what is to be done about the rollout")
    body = RolloutDecision.model_validate(
        {"decision": decision, "because": sent.text("because")[:1_000]}
    )
    await asyncio.to_thread(_decided, sent.services, task, body)
    return Done(_back(task), _DECISIONS[decision][2])


def _decided(services: Services, task: str, body: RolloutDecision) -> None:
    opened = app_bundles.config_from(services.artifacts)
    with services.db.read() as session:
        bundle = rollouts.bundle_to_roll_back_to(session, task)
    if bundle is not None and body.decision == "roll_back":
        opened(bundle)  # it is kept: no file is read in the transaction
    with services.db.write() as session:
        rollouts.decide(session, task, body, opened, services.clock())


# --- a rollout by hand -----------------------------------------------------------------------


def _commits(view: View) -> Mapping[str, Any]:
    data = _found(view)
    return {
        **data,
        "commits": sound_commits(data["delivery"]),
        "asked": view.query.get("commit", ""),
    }


async def _start(sent: Submission) -> Done:
    task, services = sent.path["task"], sent.services
    body = RolloutStart(
        commit=sent.text("commit") or None,
        pin=sent.text("pin") == "yes",
        again=sent.text("again") == "yes",
    )
    commit = await services.change(
        lambda s: rollouts.start_rollout(s, task, body, services.clock()).commit
    )
    return Done(_back(task), f"Commit {short_commit(commit)} is rolled out.")


# --- the source and its commits --------------------------------------------------------------


async def _look(sent: Submission) -> Done:
    task, services = sent.path["task"], sent.services
    await services.change(lambda s: task_sources.look_soon(s, task, services.clock()))
    services.wake_delivery()
    return Done(_back(task), "The source is looked at now.")


async def _check(sent: Submission) -> Done:
    task, commit, services = sent.path["task"], sent.path["commit"], sent.services
    await services.change(lambda s: commit_states.check_again(s, task, commit, services.clock()))
    services.wake_delivery()
    return Done(_back(task), f"Commit {short_commit(commit)} is checked again.")


FORMS = (
    Form(
        path="/tasks/{task}/rollouts/decision",
        template="delivery/decision.html",
        section="delivery",
        title=_decision_title,
        show=_choice,
        submit=_decide,
    ),
    Form(
        path="/tasks/{task}/rollouts",
        template="delivery/rollout.html",
        section="delivery",
        title=lambda view: f"Roll out a commit of {view.path['task']}",
        show=_commits,
        submit=_start,
    ),
    Form(
        path="/tasks/{task}/source/look",
        template="delivery/look.html",
        section="delivery",
        title=lambda view: f"Look at the source of {view.path['task']} now",
        show=_found,
        submit=_look,
    ),
    Form(
        path="/tasks/{task}/commits/{commit}/check",
        template="delivery/check.html",
        section="delivery",
        title=lambda view: f"Check commit {short_commit(view.path['commit'])} again",
        show=_found,
        submit=_check,
    ),
)
