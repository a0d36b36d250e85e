"""Who may call what: one table of routes and roles, for the API, the command line and the pages.

A route that is not in the table answers nobody. Nothing here asks a database.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedops.server.access.page_permissions import FORMS, PAGES
from fedops.server.access.rules import (
    ADMINISTERS,
    ATTEMPT,
    AUDITS,
    BLOB,
    DEVICE,
    OPEN,
    OPERATES,
    READS,
    TAKES_MODELS,
    WATCHES,
    Of,
    Rule,
)

PREFIX = "/api/v1"


_SERVER = {
    "GET /info": Rule(READS, Of.THEIRS),
    "GET /events": Rule(READS, Of.THEIRS),
    "POST /tokens": Rule(OPERATES),
    "GET /tokens": Rule(WATCHES),
    "POST /tokens/{token_id}/revoke": Rule(OPERATES),
}
_DEVICES = {
    "POST /join": OPEN,  # the join token is in the body
    "POST /tls-upgrade": OPEN,  # the answer is proved to the device, and holds nothing secret
    "GET /devices": Rule(READS, Of.THEIRS),
    "POST /devices/upgrade": Rule(OPERATES),
    "GET /devices/upgrade": Rule(READS),
    "POST /devices/upgrade/stop": Rule(OPERATES),
    "GET /devices/{device}": Rule(READS, Of.DEVICE),
    "GET /devices/{device}/logs": Rule(READS, Of.DEVICE),
    "GET /devices/{device}/telemetry": Rule(READS, Of.DEVICE),
    "POST /devices/{device}/approve": Rule(OPERATES),
    "POST /devices/{device}/reject": Rule(OPERATES),
    "POST /devices/{device}/revoke": Rule(OPERATES),
    "POST /devices/{device}/remove": Rule(OPERATES),
    "POST /devices/{device}/rename": Rule(OPERATES),
    "PUT /devices/{device}/tags": Rule(OPERATES),
    "POST /devices/{device}/quarantine": Rule(OPERATES),
    "POST /devices/{device}/release": Rule(OPERATES),
    "GET /devices/{device}/touched": Rule(READS, Of.DEVICE),
}
_TASKS = {
    "PUT /bundles": Rule(OPERATES, Of.THEIRS),
    "POST /tasks": Rule(OPERATES, Of.NEW_TASK),
    "GET /tasks": Rule(READS, Of.THEIRS),
    "GET /tasks/{task}": Rule(READS, Of.TASK),
    "PATCH /tasks/{task}": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/contributions": Rule(READS, Of.TASK),
    "POST /tasks/{task}/benches": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/benches": Rule(READS, Of.TASK),
    "POST /tasks/{task}/archive": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/unarchive": Rule(OPERATES, Of.TASK),
}
_DELIVERY = {
    "PUT /tasks/{task}/source": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/source/look": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/source/remove": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/source/hook": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/delivery": Rule(READS, Of.TASK),
    "GET /tasks/{task}/commits": Rule(READS, Of.TASK),
    "POST /tasks/{task}/commits/{commit}/check": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/rollouts": Rule(READS, Of.TASK),
    "POST /tasks/{task}/rollouts": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/rollouts/decision": Rule(OPERATES, Of.TASK),
    "POST /hooks/git/{task}": OPEN,  # the Git host signs what it sends
}
_SCHEDULES = {
    "GET /tasks/{task}/schedules": Rule(READS, Of.TASK),
    "PUT /tasks/{task}/schedules/{schedule}": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/schedules/{schedule}/firings": Rule(READS, Of.TASK),
    "POST /tasks/{task}/schedules/{schedule}/fire": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/schedules/{schedule}/pause": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/schedules/{schedule}/resume": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/schedules/{schedule}/remove": Rule(OPERATES, Of.TASK),
}
_MODELS = {
    "GET /models/verify": Rule(WATCHES, Of.THEIRS),
    "GET /tasks/{task}/models": Rule(READS, Of.TASK),
    "GET /tasks/{task}/models/{version}": Rule(READS, Of.TASK),
    "GET /tasks/{task}/models/{version}/file": Rule(TAKES_MODELS, Of.TASK),
    "GET /tasks/{task}/models/{version}/compare/{other}": Rule(READS, Of.TASK),
    "POST /tasks/{task}/models/{version}/promote": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/models/{version}/quarantine": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/models/{version}/release": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/models/{version}/rebuild": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/aliases": Rule(READS, Of.TASK),
    "GET /tasks/{task}/serving": Rule(READS, Of.TASK),
    "POST /tasks/{task}/aliases/{alias}/rollback": Rule(OPERATES, Of.TASK),
}
_RUNS = {
    "POST /tasks/{task}/runs": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/runs/forecast": Rule(OPERATES, Of.TASK),  # it runs code of the app
    "GET /runs": Rule(READS, Of.THEIRS),
    "GET /runs/{run_id}": Rule(READS, Of.RUN),
    "POST /runs/{run_id}/stop": Rule(OPERATES, Of.RUN),
    "POST /runs/{run_id}/pause": Rule(OPERATES, Of.RUN),
    "POST /runs/{run_id}/resume": Rule(OPERATES, Of.RUN),
    "POST /runs/{run_id}/extend": Rule(OPERATES, Of.RUN),
    "POST /runs/{run_id}/retry": Rule(OPERATES, Of.RUN),
    "GET /runs/{run_id}/rounds": Rule(READS, Of.RUN),
    "GET /runs/{run_id}/rounds/{round}/model": Rule(TAKES_MODELS, Of.RUN),
    "GET /runs/{run_id}/metrics": Rule(READS, Of.RUN),
    "GET /runs/{run_id}/contributions": Rule(READS, Of.RUN),
    "GET /runs/{run_id}/selections": Rule(READS, Of.RUN),
    "GET /runs/{run_id}/logs": Rule(READS, Of.RUN),
    "GET /runs/{run_id}/explanations": Rule(READS, Of.RUN),
    "GET /runs/{run_id}/explanations/{device}/{picture}": Rule(TAKES_MODELS, Of.RUN),
}
_STUDIES = {
    "POST /tasks/{task}/studies": Rule(OPERATES, Of.TASK),
    "GET /studies": Rule(READS, Of.THEIRS),
    "GET /studies/{study_id}": Rule(READS, Of.STUDY),
    "POST /studies/{study_id}/stop": Rule(OPERATES, Of.STUDY),
}
_MACHINES = {
    "GET /devices/me": DEVICE,
    "POST /devices/me/records": DEVICE,
    "GET /devices/me/tasks": DEVICE,
    "GET /devices/me/configs": DEVICE,
    "POST /devices/me/credential": DEVICE,
    "POST /devices/me/credential/confirm": DEVICE,
    "GET /devices/me/tasks/{task}/packages": DEVICE,
    "GET /devices/me/tasks/{task}/models/{version}": DEVICE,
    "GET /devices/me/tasks/{task}/models/{version}/file": DEVICE,
    "POST /work": DEVICE,
    "GET /work/{assignment}/instruction": DEVICE,
    "POST /work/{assignment}/progress": DEVICE,
    "POST /work/{assignment}/end": DEVICE,
    "POST /work/{assignment}/result": DEVICE,
    "POST /work/{assignment}/slot": DEVICE,
    "OPTIONS /blobs": OPEN,  # says what uploads may be
    "POST /blobs": DEVICE,
    "HEAD /blobs/uploads/{upload}": DEVICE,
    "PATCH /blobs/uploads/{upload}": DEVICE,
    "DELETE /blobs/uploads/{upload}": DEVICE,
    "OPTIONS /blobs/uploads/{upload}": OPEN,
    "GET /blobs/{sha256}": BLOB,
    "HEAD /blobs/{sha256}": BLOB,
    "POST /engine/hello": ATTEMPT,
    "POST /engine/initial-model": ATTEMPT,
    "GET /engine/candidates": ATTEMPT,
    "POST /engine/progress": ATTEMPT,
    "POST /engine/rounds/{round}/begin": ATTEMPT,
    "POST /engine/offers": ATTEMPT,
    "POST /engine/collect": ATTEMPT,
    "POST /engine/cancel": ATTEMPT,
    "POST /engine/blobs": ATTEMPT,
    "POST /engine/rounds/{round}/commit": ATTEMPT,
    "POST /engine/rounds/{round}/scores": ATTEMPT,
    "POST /engine/logs": ATTEMPT,
    "POST /engine/finish": ATTEMPT,
}
_OUTSIDE_THE_API = {
    "GET /health": OPEN,
    "GET /ca.pem": OPEN,
    "GET /metrics": Rule(READS),  # open to everybody with FEDOPS_METRICS_OPEN
    "GET /simple/": OPEN,
    "GET /simple/{project}/": OPEN,
    "GET /simple/files/{sha256}/{filename}": OPEN,
    "GET /api/docs": OPEN,
    "GET /api/openapi.json": OPEN,
}


_ONESELF = {
    "POST /sign-in": OPEN,  # name and password are in the body
    "GET /whoami": Rule(READS, Of.SELF),
    "POST /whoami/password": Rule(READS, Of.SELF),
    "GET /whoami/tokens": Rule(READS, Of.SELF),
    "POST /whoami/tokens": Rule(READS, Of.SELF),
    "POST /whoami/tokens/rotate": Rule(READS, Of.SELF),
    "POST /whoami/tokens/{token_id}/revoke": Rule(READS, Of.SELF),
    "POST /whoami/sign-in-code": Rule(READS, Of.SELF),
}
_USERS = {
    "GET /users": Rule(AUDITS),
    "POST /users": Rule(ADMINISTERS),
    "GET /users/{user}": Rule(AUDITS),
    "PATCH /users/{user}": Rule(ADMINISTERS),
    "POST /users/{user}/password": Rule(ADMINISTERS),
    "POST /users/{user}/remove": Rule(ADMINISTERS),
    "GET /users/{user}/tokens": Rule(AUDITS),
    "POST /users/{user}/tokens": Rule(ADMINISTERS),
    "POST /users/{user}/tokens/{token_id}/revoke": Rule(ADMINISTERS),
}


#: What a channel tells is of all tasks.
_NOTIFICATIONS = {
    "GET /notifications": Rule(WATCHES),
    "POST /notifications": Rule(ADMINISTERS),
    "GET /notifications/{channel}": Rule(WATCHES),
    "PATCH /notifications/{channel}": Rule(ADMINISTERS),
    "DELETE /notifications/{channel}": Rule(ADMINISTERS),
    "POST /notifications/{channel}/test": Rule(ADMINISTERS),
    "GET /notifications/{channel}/messages": Rule(WATCHES),
}


def _with_forms(pages: Mapping[str, Rule], *groups: Mapping[str, Rule]) -> dict[str, Rule]:
    """The pages, and the forms with the rules of what they do."""
    rules = {route: rule for group in groups for route, rule in group.items()}
    forms = {route: rules[route] for route in FORMS}
    shown = {route.replace("POST ", "GET ", 1): rule for route, rule in forms.items()}
    return {**pages, **shown, **forms}


def _in_api(routes: Mapping[str, Rule]) -> dict[str, Rule]:
    return {route.replace(" ", f" {PREFIX}", 1): rule for route, rule in routes.items()}


#: By group, as the reference shows them.
GROUPS: Mapping[str, Mapping[str, Rule]] = {
    "The server": _in_api(_SERVER),
    "Oneself": _in_api(_ONESELF),
    "Users": _in_api(_USERS),
    "Notifications": _in_api(_NOTIFICATIONS),
    "Devices": _in_api(_DEVICES),
    "Tasks": _in_api(_TASKS),
    "Delivery": _in_api(_DELIVERY),
    "Schedules": _in_api(_SCHEDULES),
    "Models": _in_api(_MODELS),
    "Runs": _in_api(_RUNS),
    "Studies": _in_api(_STUDIES),
    "Devices and FL servers themselves": _in_api(_MACHINES),
    "Pages, by the session of a browser": _with_forms(
        PAGES,
        _SERVER,
        _DEVICES,
        _TASKS,
        _DELIVERY,
        _SCHEDULES,
        _MODELS,
        _RUNS,
        _STUDIES,
        _USERS,
        _NOTIFICATIONS,
    ),
    "Outside the API": _OUTSIDE_THE_API,
}
ROUTES: Mapping[str, Rule] = {
    route: rule for group in GROUPS.values() for route, rule in group.items()
}
_NOBODY = Rule()


def rule_of(method: str, path: str) -> Rule:
    """The rule of a route, by its path as it is declared."""
    return ROUTES.get(f"{method} {path}", _NOBODY)
