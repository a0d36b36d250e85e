"""Who may call what: one table of routes and roles, for the API, the command line and the pages.

A route that is not in the table answers nobody. Nothing here asks a database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fedops.core.errors import Forbidden
from fedops.core.states import Role, TokenKind
from fedops.server.access.principal import Principal

PREFIX = "/api/v1"


class Of(StrEnum):
    """What a call is about. It decides how far somebody gets who is limited to named tasks."""

    SERVER = "the server"  #: nowhere
    TASK = "the task"  #: that the path names: one of theirs
    NEW_TASK = "the new task"  #: that the body names: one of theirs
    RUN = "the run"  #: that the path names: of one of their tasks
    STUDY = "the study"  #: that the path names: of one of their tasks
    DEVICE = "the device"  #: that the path names: of one of their tasks
    THEIRS = "all of theirs"  #: the answer holds what is of their tasks, and nothing else
    SELF = "oneself"  #: as everybody else


@dataclass(frozen=True)
class Rule:
    """Who may call a route."""

    #: The users who may. Their tokens must allow it, too.
    roles: frozenset[Role] = frozenset()
    of: Of = Of.SERVER
    #: Programs that may: by the token of a device, or of an attempt.
    machines: frozenset[TokenKind] = frozenset()
    #: Asks for no token: or for one in the body.
    open: bool = False


ADMIN, OPERATOR, VIEWER, AUDITOR = Role
READS = frozenset(Role)
TAKES_MODELS = frozenset({ADMIN, OPERATOR, VIEWER})
WATCHES = frozenset({ADMIN, OPERATOR, AUDITOR})
OPERATES = frozenset({ADMIN, OPERATOR})
AUDITS = frozenset({ADMIN, AUDITOR})
ADMINISTERS = frozenset({ADMIN})
OPEN = Rule(open=True)
DEVICE = Rule(machines=frozenset({TokenKind.DEVICE}))
ATTEMPT = Rule(machines=frozenset({TokenKind.ATTEMPT}))
BLOB = Rule(ADMINISTERS, machines=DEVICE.machines | ATTEMPT.machines)

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
#: Forms of the pages that do what a route of the API does, by its path (without the prefix), with its rule.
#: ``GET`` shows the form, ``POST`` does it.
_FORMS = (
    "POST /runs/{run_id}/stop",
    "POST /runs/{run_id}/pause",
    "POST /runs/{run_id}/resume",
    "POST /tasks/{task}/models/{version}/promote",
    "POST /tasks/{task}/models/{version}/quarantine",
    "POST /tasks/{task}/models/{version}/release",
    "POST /tasks/{task}/models/{version}/rebuild",
    "POST /tasks/{task}/aliases/{alias}/rollback",
    "POST /runs/{run_id}/extend",
    "POST /runs/{run_id}/retry",
    "POST /devices/upgrade",
    "POST /devices/upgrade/stop",
    "POST /devices/{device}/approve",
    "POST /devices/{device}/reject",
    "POST /devices/{device}/revoke",
    "POST /devices/{device}/remove",
    "POST /devices/{device}/rename",
    "POST /devices/{device}/quarantine",
    "POST /devices/{device}/release",
    "POST /tasks/{task}/runs",
    "POST /tasks/{task}/archive",
    "POST /tasks/{task}/unarchive",
    "POST /tasks/{task}/benches",
    "POST /tasks/{task}/source/remove",
    "POST /tasks/{task}/schedules/{schedule}/fire",
    "POST /tasks/{task}/schedules/{schedule}/pause",
    "POST /tasks/{task}/schedules/{schedule}/resume",
    "POST /tasks/{task}/schedules/{schedule}/remove",
    "POST /tasks/{task}/models/{version}/promote",
    "POST /tasks/{task}/source/look",
    "POST /tasks/{task}/commits/{commit}/check",
    "POST /tasks/{task}/rollouts",
    "POST /tasks/{task}/rollouts/decision",
    "POST /tokens/{token_id}/revoke",
    "POST /users/{user}/password",
    "POST /users/{user}/remove",
    "POST /users/{user}/tokens",
    "POST /users/{user}/tokens/{token_id}/revoke",
)
_PAGES = {
    "GET /assets/{name}": OPEN,
    "GET /sign-in": OPEN,
    "POST /sign-in": OPEN,
    "POST /sign-out": OPEN,
    "POST /theme": OPEN,  # a browser's own choice, in a cookie
    "GET /": Rule(READS, Of.THEIRS),
    "GET /runs": Rule(READS, Of.THEIRS),
    "GET /runs/compare": Rule(READS, Of.THEIRS),
    "GET /runs/{run_id}": Rule(READS, Of.RUN),
    "GET /runs/{run_id}/grid": Rule(READS, Of.RUN),
    "GET /runs/{run_id}/rounds.csv": Rule(READS, Of.RUN),
    "GET /tasks": Rule(READS, Of.THEIRS),
    "GET /tasks/{task}": Rule(READS, Of.TASK),
    "GET /new-task": Rule(OPERATES, Of.NEW_TASK),
    "POST /new-task": Rule(OPERATES, Of.NEW_TASK),
    "GET /tasks/{task}/description": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/description": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/overrides": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/overrides": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/source": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/source": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/source/hook": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/source/hook": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/schedules": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/schedules": Rule(OPERATES, Of.TASK),
    "GET /tasks/{task}/schedules/{schedule}": Rule(OPERATES, Of.TASK),
    "POST /tasks/{task}/schedules/{schedule}": Rule(OPERATES, Of.TASK),
    "GET /devices": Rule(READS, Of.THEIRS),
    "GET /devices/{device}": Rule(READS, Of.DEVICE),
    "GET /devices/{device}/tags": Rule(OPERATES),
    "POST /devices/{device}/tags": Rule(OPERATES),
    "GET /approve-devices": Rule(OPERATES),
    "POST /approve-devices": Rule(OPERATES),
    "GET /join": Rule(OPERATES),
    "POST /join": Rule(OPERATES),
    "GET /join/{token_id}": Rule(OPERATES),
    "GET /models": Rule(READS, Of.THEIRS),
    "GET /tasks/{task}/models/{version}": Rule(READS, Of.TASK),
    "GET /models/compare": Rule(READS, Of.THEIRS),  # leads to the page of the two chosen
    "GET /tasks/{task}/models/{version}/file": Rule(TAKES_MODELS, Of.TASK),
    "GET /tasks/{task}/models/{version}/verify": Rule(WATCHES, Of.TASK),
    "POST /tasks/{task}/models/{version}/verify": Rule(WATCHES, Of.TASK),
    "GET /tasks/{task}/models/{version}/compare/{other}": Rule(READS, Of.TASK),
    "GET /runs/{run_id}/explanations/{device}/{picture}": Rule(TAKES_MODELS, Of.RUN),
    "GET /contribution": Rule(READS, Of.THEIRS),
    "GET /explanations": Rule(READS, Of.THEIRS),
    "GET /delivery": Rule(READS, Of.THEIRS),
    "GET /more": Rule(READS, Of.SELF),
    "GET /users": Rule(AUDITS),
    "GET /tokens": Rule(WATCHES),
    "GET /settings": Rule(AUDITS),
    "GET /account": Rule(READS, Of.SELF),
    "GET /new-user": Rule(ADMINISTERS),
    "POST /new-user": Rule(ADMINISTERS),
    "GET /users/{user}": Rule(ADMINISTERS),
    "POST /users/{user}": Rule(ADMINISTERS),
    "GET /account/password": Rule(READS, Of.SELF),
    "POST /account/password": Rule(READS, Of.SELF),
    "GET /account/tokens": Rule(READS, Of.SELF),
    "POST /account/tokens": Rule(READS, Of.SELF),
    "GET /account/tokens/{token_id}/revoke": Rule(READS, Of.SELF),
    "POST /account/tokens/{token_id}/revoke": Rule(READS, Of.SELF),
    "GET /events": Rule(READS, Of.THEIRS),
    "WEBSOCKET /live": Rule(
        READS, Of.THEIRS
    ),  # and what the page asks for that it keeps up to date
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


def _with_forms(pages: Mapping[str, Rule], *groups: Mapping[str, Rule]) -> dict[str, Rule]:
    """The pages, and the forms with the rules of what they do."""
    rules = {route: rule for group in groups for route, rule in group.items()}
    forms = {route: rules[route] for route in _FORMS}
    shown = {route.replace("POST ", "GET ", 1): rule for route, rule in forms.items()}
    return {**pages, **shown, **forms}


def _in_api(routes: Mapping[str, Rule]) -> dict[str, Rule]:
    return {route.replace(" ", f" {PREFIX}", 1): rule for route, rule in routes.items()}


#: By group, as the reference shows them.
GROUPS: Mapping[str, Mapping[str, Rule]] = {
    "The server": _in_api(_SERVER),
    "Oneself": _in_api(_ONESELF),
    "Users": _in_api(_USERS),
    "Devices": _in_api(_DEVICES),
    "Tasks": _in_api(_TASKS),
    "Delivery": _in_api(_DELIVERY),
    "Schedules": _in_api(_SCHEDULES),
    "Models": _in_api(_MODELS),
    "Runs": _in_api(_RUNS),
    "Studies": _in_api(_STUDIES),
    "Devices and FL servers themselves": _in_api(_MACHINES),
    "Pages, by the session of a browser": _with_forms(
        _PAGES, _SERVER, _DEVICES, _TASKS, _DELIVERY, _SCHEDULES, _MODELS, _RUNS, _STUDIES, _USERS
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


def require_allowed(principal: Principal, rule: Rule) -> None:
    """``Forbidden`` unless a caller may call what has this rule."""
    if principal.kind in rule.machines:
        return
    if principal.kind not in (TokenKind.PERSONAL, TokenKind.SESSION):
        raise Forbidden(f"this takes {_takers(rule)}; what was sent is {_WHOSE[principal.kind]}")
    if not rule.roles:
        raise Forbidden(f"this takes {_takers(rule)}; what was sent is a user's token")
    lacking = [role for role in principal.roles if role not in rule.roles]
    if lacking:
        raise Forbidden(
            f"this is for {_names(rule.roles)}; user '{principal.user}' is "
            f"{_article(lacking[0])} here"
        )
    if rule.of is Of.SERVER and principal.tasks is not None:
        raise Forbidden(
            f"this is about the whole server; user '{principal.user}' has leave for "
            f"{named_tasks(principal.tasks)} only"
        )


def is_allowed(principal: Principal, rule: Rule) -> bool:
    """Whether a caller may call what has this rule."""
    try:
        require_allowed(principal, rule)
    except Forbidden:
        return False
    return True


_WHOSE = {
    TokenKind.JOIN: "a join token",
    TokenKind.DEVICE: "the token of a device",
    TokenKind.ATTEMPT: "the token of an attempt",
    TokenKind.CODE: "a sign-in code",
}


def _takers(rule: Rule) -> str:
    machines = [_WHOSE[kind] for kind in sorted(rule.machines)]
    whose = "a user" if rule.roles == READS else _names(rule.roles)
    people = [f"the token of {whose}"] if rule.roles else []
    return " or ".join([*people, *machines]) or "no token at all"


def _names(roles: frozenset[Role]) -> str:
    return " or ".join(_article(role) for role in Role if role in roles)


def _article(role: Role) -> str:
    return f"{'a' if role is Role.VIEWER else 'an'} {role.value}"


def named_tasks(tasks: frozenset[str]) -> str:
    """Tasks as a message names them."""
    return "the tasks " + ", ".join(sorted(tasks)) if tasks else "no task"
