"""Pages and forms open for whom the table of permissions says, by the session of a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from managing import World, managing
from people import user_token

from fedops.core.states import Role
from fedops.server.access.permissions import GROUPS
from fedops.server.access.rules import Of

ROUTES = GROUPS["Pages, by the session of a browser"]
#: Those that show something or do something for users.
FOR_USERS = sorted(r for r, rule in ROUTES.items() if not rule.open and not r.startswith("WEB"))
UNKNOWN = dict.fromkeys(
    (
        "task",
        "device",
        "version",
        "other",
        "user",
        "schedule",
        "commit",
        "alias",
        "picture",
        "channel",
    ),
    "nothing",
) | dict.fromkeys(("run_id", "study_id", "token_id", "round", "number"), "77")
FOREIGN = {"task": "digits", "run_id": "2", "device": "jetson"}
OF_TASKS = [r for r in FOR_USERS if ROUTES[r].of in (Of.TASK, Of.RUN, Of.DEVICE, Of.STUDY)]
NAMES = re.compile(r"{(\w+)}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with managing(tmp_path_factory.mktemp("rights"), dashboard=True) as made:
        for task, device in (("mnist", "pi"), ("digits", "jetson")):
            made.task(task)
            made.ready_devices(device, task=task)
            made.running(task)
        yield made


@pytest.fixture(scope="module")
def browsers(world: World) -> Iterator[dict[str, httpx.Client]]:
    """Who is signed in: each role, an operator of one task, and nobody."""
    secrets = {role.value: user_token(world, role) for role in Role}
    secrets["limited"] = user_token(world, Role.OPERATOR, ["mnist"])
    found = {"nobody": httpx.Client(base_url=world.url, timeout=30.0)}
    for name, secret in secrets.items():
        found[name] = httpx.Client(base_url=world.url, timeout=30.0)
        found[name].post("/sign-in", data={"secret": secret})
    yield found
    for browser in found.values():
        browser.close()


def ask(browser: httpx.Client, route: str, names: dict[str, str]) -> httpx.Response:
    """The answer to a route about something of these names."""
    method, path = route.split(" ")
    filled = NAMES.sub(lambda found: names[found[1]], path)
    return browser.request(method, filled, data={} if method == "POST" else None)


@pytest.mark.parametrize("route", FOR_USERS)
def test_who_may_open_a_page_or_send_a_form(browsers: dict[str, httpx.Client], route: str) -> None:
    answer = ask(browsers["nobody"], route, UNKNOWN)
    assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in")
    for role in Role:
        answer = ask(browsers[role.value], route, UNKNOWN)  # which changes nothing
        assert answer.status_code < 500, (role, answer.text)
        assert (answer.status_code == 403) == (role not in ROUTES[route].roles), (role, answer.text)


@pytest.mark.parametrize("route", OF_TASKS)
def test_what_is_of_another_task_looks_as_if_it_did_not_exist(
    browsers: dict[str, httpx.Client], route: str
) -> None:
    said = []
    for names in (UNKNOWN, UNKNOWN | FOREIGN):
        answer = ask(browsers["limited"], route, names)
        assert answer.status_code in (403, 404)
        said.append(re.sub("nothing|digits|jetson|77|(?<=run )2|(?<=runs/)2", "NAME", answer.text))
    assert said[0] == said[1]


def test_a_form_of_another_sites_page_does_nothing(
    world: World, browsers: dict[str, httpx.Client]
) -> None:
    operator = browsers["operator"]
    answer = operator.post("/runs/1/stop", headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert world.operator.run(1).ended_at is None
    assert operator.post("/runs/1/stop", content=b"x" * 70_000).status_code == 413
    assert operator.post("/runs/1/stop", content=b"&a=1" * 300).status_code == 422
