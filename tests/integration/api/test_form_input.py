"""Every form with what nobody should send: it refuses politely, and keeps what was typed, as text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import httpx
import pytest
from managing import World, managing
from people import user_token

from fedops.core import contracts as c
from fedops.core.states import Role
from fedops.server.dashboard.mounting import FORMS, PAGES

MARKUP = "<img src=x onerror=alert(1)>"
ODD = (MARKUP, "x" * 9_000, "\0\u202e1e309")
NAMES = {
    "task": "mnist",
    "run_id": "1",
    "device": "pi",
    "version": "V0",
    "user": "pat",
    "schedule": "nightly",
    "alias": "production",
    "token_id": "1",
    "commit": "b" * 40,
    "picture": "none",
    "other": "V0",
}
FIELD = re.compile(r"""<(input|textarea|select)\b[^>]*?\bname="(\w+)"([^>]*)""")
#: What may not come back.
SECRET = frozenset({"password", "current", "secret"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with managing(tmp_path_factory.mktemp("odd"), dashboard=True) as made:
        made.task("mnist")
        made.ready_devices("pi")
        made.running("mnist")
        made.operator.add_user(c.UserCreate(name="pat", role=Role.VIEWER))
        schedule = c.ScheduleSet(trigger=c.Every(seconds=86_400))
        made.operator.set_schedule("mnist", "nightly", schedule)
        yield made


@pytest.fixture(scope="module")
def browser(world: World) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=world.url, timeout=30.0) as client:
        client.headers["accept"] = "text/html"
        client.post("/sign-in", data={"secret": user_token(world, Role.ADMIN)})
        yield client


def fields_of(page: str) -> tuple[list[str], list[str]]:
    """The fields that one types in, and the others."""
    found = FIELD.findall(page.split("<main")[1])
    typed = [name for kind, name, more in found if kind != "select" and "type=" not in more]
    return typed, [name for _, name, _ in found if name not in typed]


def test_every_form_refuses_politely_and_keeps_what_was_typed(browser: httpx.Client) -> None:
    asked = set()
    for form in FORMS:
        where = form.path.format(**NAMES)
        shown = browser.get(where)
        typed, others = fields_of(shown.text) if shown.status_code == 200 else ([], [])
        for odd in ODD if typed or others else ():
            answer = browser.post(where, data=dict.fromkeys([*typed, *others], odd))
            assert answer.status_code < 500, (where, odd)
            assert MARKUP not in answer.text, where
            if answer.status_code < 400 or answer.status_code == 404:  # what it was about is gone
                continue
            asked.add(where)
            (said,) = re.findall(r'role="alert">(.*?)</p>', answer.text, re.DOTALL)
            assert 0 < len(said) < 600, (where, odd)
            if answer.status_code == 413:
                continue
            kept = html.unescape(answer.text)
            for name in set(typed) - SECRET:
                assert odd.strip() in kept, (where, name, odd)
    assert len(asked) > 25


def test_no_query_of_a_page_is_an_error_of_ours(browser: httpx.Client) -> None:
    names = "page before after text state task tag run round device metric x clients by cell a b"
    for page in PAGES:
        where = page.path.format(**NAMES)
        for odd in (MARKUP, "²", "-1", "9" * 30):
            answer = browser.get(where, params=dict.fromkeys(names.split(), odd))
            assert answer.status_code < 500, (where, odd)
            assert MARKUP not in answer.text, where
