"""The table of routes and roles is what the server does: every route, every role, and nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from managing import Device, World, managing
from people import user_token

from fedops.api_client import BlobClient
from fedops.core import contracts as c
from fedops.core.states import Role, TokenKind
from fedops.server.access.permissions import GROUPS, PREFIX, ROUTES
from fedops.server.access.rules import Of, Rule
from fedops.server.api.routes.work import WorkApp
from fedops.server.blob_app.app import BlobApp
from fedops.server.database.tables import RunRow, StudyRow

#: What paths name: of the task "mnist", and of nobody's.
MINE = {
    "task": "mnist",
    "run_id": "1",
    "study_id": "1",
    "device": "pi",
    "round": "1",
    "version": "V0",
    "other": "V0",
    "alias": "serving",
    "picture": "0123456789",
    "assignment": "none",
    "upload": "none",
    "sha256": "0" * 64,
    "token_id": "999",
    "schedule": "nightly",
    "commit": "0123abc",
    "user": "nobody",
    "channel": "nobody",
}
FOREIGN = {"task": "digits", "run_id": "2", "study_id": "2", "device": "jetson"}
UNKNOWN = {"task": "nothing", "run_id": "77", "study_id": "77", "device": "nothing"}
HEADERS = {"fedops-protocol": str(c.PROTOCOL), "tus-resumable": "1.0.0"}
#: What a device would send for its own work.
BODIES = {
    "progress": {"stage": "training"},
    "end": {"outcome": "failed", "reason": "x"},
    "slot": {"size": 1, "wait": 0},
}
BYTES = {"content-type": "application/offset+octet-stream", "upload-offset": "0"}
#: What a route asks for behind its path.
QUERIES = {
    f"GET {PREFIX}/devices/me/tasks/{{task}}/packages": f"?commit={'0' * 40}&platform=3.11/x86_64-windows"
}
#: What the index is asked for, and does not have.
INDEX = {"project": "nothing", "filename": "nothing-1.0-py3-none-any.whl"}
#: Who asks, beside the roles.
NOBODY, DEVICE, ATTEMPT = "nobody", "device", "attempt"
#: Tried in test_page_rights.py.
PAGES = GROUPS["Pages, by the session of a browser"]
CALLERS = [NOBODY, *Role, DEVICE, ATTEMPT]


@dataclass
class Place:
    """Two tasks, each with a device and a run, and everybody's credentials."""

    world: World
    device: str
    attempt: str
    http: httpx.Client
    pi: Device
    #: What the device "pi" has in hand.
    theirs: dict[str, str]

    def token(self, caller: str) -> str | None:
        """A fresh one for a role: the request before may have revoked it."""
        if caller in (DEVICE, ATTEMPT, NOBODY):
            return {DEVICE: self.device, ATTEMPT: self.attempt}.get(caller)
        return user_token(self.world, Role(caller))

    def limited(self, role: Role) -> str:
        return user_token(self.world, role, ["mnist"])

    def call(
        self, route: str, token: str | None, names: dict[str, str], query: str = ""
    ) -> httpx.Response:
        method, path = route.split(" ")
        for name, value in {**INDEX, **MINE, **names}.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path
        headers = HEADERS | ({"authorization": f"Bearer {token}"} if token else {})
        url = self.world.url + path + (query or QUERIES.get(route, ""))
        if route == f"PATCH {PREFIX}/blobs/uploads/{{upload}}":
            return self.http.request(method, url, headers=headers | BYTES, content=b"12345")
        plain = {"wait": 0} if method == "POST" else {} if method in ("PUT", "PATCH") else None
        json = BODIES.get(path.rpartition("/")[2], plain)
        return self.http.request(method, url, headers=headers, json=json)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("people")
    with managing(folder) as world:
        engines, devices = [], []
        for task, name in (("mnist", "pi"), ("digits", "jetson")):
            world.task(task)
            devices += world.ready_devices(name, task=task).values()
            run, engine = world.running(task)
            engines.append(engine)
            _add_study(world, run.id)
        reply, _ = world.join("other")
        attempt = str(engines[0]._http.headers["authorization"]).removeprefix("Bearer ")
        model = engines[0].upload(world.model(0.0)).sha256
        ids = world.begin(engines[0], 1, "pi", model=model)
        theirs = {"device": "pi", "assignment": ids["pi"], "sha256": model}
        theirs["upload"] = _upload_of(world, devices[0], ids["pi"])
        with httpx.Client(timeout=60.0) as http:
            yield Place(world, reply.device_token, attempt, http, devices[0], theirs)


def _add_study(world: World, run_id: int) -> None:
    """A study of the task of a run, over."""
    with world.manager.services.db.write() as session:
        run = session.get_one(RunRow, run_id)
        seeds, at = [run.seed], world.manager.services.clock()
        study = StudyRow(
            id=run_id,
            task=run.task,
            seeds=seeds,
            bundle=run.bundle,
            config=run.config,
            overrides=[],
        )
        study.begun, study.created_at, study.closed_at, study.text = 1, at, at, "over"
        session.add(study)


def _upload_of(world: World, device: Device, assignment: str) -> str:
    """The id of an upload that the device has begun."""
    head = c.UploadHead(assignment=assignment, sha256="0" * 64)
    with BlobClient(world.url, token=device.token) as client:
        return client.create_upload(head, 10, None).id


def _allowed(rule: Rule, caller: str) -> bool:
    if rule.open:
        return True
    if caller in (DEVICE, ATTEMPT):
        return TokenKind(caller) in rule.machines
    return caller != NOBODY and Role(caller) in rule.roles


@pytest.mark.parametrize("route", [r for r in ROUTES if r not in PAGES])
def test_who_may_call_a_route(place: Place, route: str) -> None:
    rule = ROUTES[route]
    for caller in CALLERS:
        answer = place.call(route, place.token(caller), UNKNOWN)  # which changes nothing
        refused = answer.status_code in (401, 403)
        failed_sign_in = route in (f"POST {PREFIX}/sign-in", f"POST {PREFIX}/hooks/git/{{task}}")
        assert answer.status_code < 500, (caller, answer.text)
        if caller == DEVICE and "/devices/me/tasks/" in route:  # it takes part in none
            assert "takes no part in a task 'nothing'" in answer.text
        elif _allowed(rule, caller):
            assert not refused or failed_sign_in, (caller, answer.status_code, answer.text)
        else:
            assert answer.status_code == (401 if caller == NOBODY else 403), (caller, answer.text)


def test_the_table_has_every_route_of_the_server(place: Place) -> None:
    document = place.world.app.openapi()
    served = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    services, blobs = place.world.manager.services, place.world.manager.blobs
    served |= {f"POST {PREFIX}/work"} | {
        f"{method} {PREFIX}/work/{{assignment}}/{what}" for method, what in WorkApp(services)._calls
    }
    served |= set(_blob_routes(blobs))
    outside = {"GET /api/docs", "GET /api/openapi.json", "GET /metrics"}
    assert served | outside | set(PAGES) == set(ROUTES)


def _blob_routes(app: BlobApp) -> Iterator[str]:
    yield from (f"{method} {PREFIX}/blobs" for method in app._of_upload(None))
    yield from (f"{method} {PREFIX}/blobs/uploads/{{upload}}" for method in app._of_upload("x"))
    yield from (f"{method} {PREFIX}/blobs/{{sha256}}" for method in app._of_blob("0" * 64))


OF_TASKS = (Of.TASK, Of.RUN, Of.STUDY, Of.DEVICE)
OWN_TASKS = [r for r, rule in ROUTES.items() if rule.of in OF_TASKS and r not in PAGES]


@pytest.mark.parametrize("route", OWN_TASKS)
@pytest.mark.parametrize("names", [FOREIGN, UNKNOWN], ids=["another's", "unknown"])
def test_what_is_of_another_task_does_not_exist(
    place: Place, route: str, names: dict[str, str]
) -> None:
    """With every single id of a path that is of another task, the others one's own."""
    rule = ROUTES[route]
    role = Role.OPERATOR if Role.OPERATOR in rule.roles else Role.VIEWER
    for name in set(re.findall(r"{(\w+)}", route)) & names.keys():
        answer = place.call(route, place.limited(role), {name: names[name]})
        assert answer.status_code == 404, answer.text
        assert "mnist" in answer.text
        assert not re.search("digits|jetson", answer.text.replace(names[name], "")), answer.text


OF_DEVICES = [
    route
    for route in ROUTES
    if re.search("{device}|{assignment}|{upload}|{sha256}", route) and route not in PAGES
]


@pytest.mark.parametrize("route", OF_DEVICES)
def test_no_device_reaches_what_is_of_another(place: Place, route: str) -> None:
    """By the other's name, assignment, upload, or the file of its work; nor itself, as operators do."""
    rule, theirs = ROUTES[route], place.theirs
    for names in (theirs, {**theirs, "device": "other"}):
        answer = place.call(route, place.device, names)
        if TokenKind.DEVICE in rule.machines:
            assert answer.status_code in (404, 410), answer.text
        elif not rule.open:
            assert answer.status_code == 403, answer.text
    assert [work.id for work in place.pi.poll().offers] == [theirs["assignment"]]


@pytest.mark.parametrize(
    "route",
    [r for r, rule in ROUTES.items() if rule.of is Of.SERVER and rule.roles and r not in PAGES],
)
def test_the_whole_server_is_for_people_of_all_tasks(place: Place, route: str) -> None:
    answer = place.call(route, place.limited(Role.OPERATOR), {})
    assert answer.status_code == 403, answer.text


@pytest.mark.parametrize(
    "path", ["tasks", "runs", "studies", "devices", "models/verify", "events", "info"]
)
def test_a_list_holds_what_is_of_ones_own_tasks(place: Place, path: str) -> None:
    answer = place.call(f"GET {PREFIX}/{path}", place.limited(Role.OPERATOR), {})
    assert answer.status_code == 200
    assert not re.search("digits|jetson|run 2", answer.text), answer.text
    if path in ("tasks", "runs", "studies", "devices", "events"):
        assert "mnist" in answer.text
    if path == "info":
        assert (answer.json()["devices"], answer.json()["active_runs"]) == (1, 1)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("runs", "?task=digits"),
        ("devices", "?task=digits"),
        ("studies", "?task=digits"),
        ("models/verify", "?task=digits"),
        ("events", "?run_id=2"),
        ("runs/1/logs", "?device=jetson"),
        ("runs", "?task=digits&task=mnist"),
        ("runs", "?task=mnist&task=digits"),
        ("events", "?run_id=%202"),
        ("events", "?run_id=%2B2"),
    ],
)
def test_no_filter_leads_to_another_task(place: Place, path: str, query: str) -> None:
    answer = place.call(f"GET {PREFIX}/{path}", place.limited(Role.OPERATOR), {}, query)
    assert answer.status_code == 404, answer.text


def test_an_operator_of_named_tasks_makes_no_other(place: Place) -> None:
    body = {"name": "elsewhere", "bundle": "0" * 64}
    answer = httpx.post(
        f"{place.world.url}{PREFIX}/tasks",
        json=body,
        headers={"authorization": f"Bearer {place.limited(Role.OPERATOR)}"},
    )
    assert answer.status_code == 403
    assert "may make no task 'elsewhere'" in answer.text


@pytest.mark.parametrize("route", OWN_TASKS)
def test_what_is_of_ones_own_task_is_there(place: Place, route: str) -> None:
    # The last: it stops the run and puts the task away.
    answer = place.call(route, place.limited(Role.OPERATOR), {})
    assert answer.status_code not in (401, 403), answer.text
    assert "among yours" not in answer.text
