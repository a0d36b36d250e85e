"""Every form with what nobody should send: it refuses politely, and keeps what was typed, as text."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from managing import World, managing
from people import user_token
from postgres import POSTGRES, fresh_database

from fedops.core import contracts as c
from fedops.core.states import ChannelKind, Role
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
    "channel": "ops",
    "other": "V0",
}
FIELD = re.compile(r"""<(input|textarea|select)\b[^>]*?\bname="(\w+)"([^>]*)""")
WITH_TABS = ("/runs/{run_id}", "/tasks/{task}", "/devices/{device}")
#: What may not come back.
SECRET = frozenset({"password", "current", "secret"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """On PostgreSQL, where there is one: the other tests of pages ask SQLite."""
    with ExitStack() as stack:
        name = f"test_{uuid.uuid4().hex}"
        url = stack.enter_context(fresh_database(POSTGRES, name)) if POSTGRES else None
        made = stack.enter_context(managing(tmp_path_factory.mktemp("odd"), url, dashboard=True))
        made.task("mnist")
        made.ready_devices("pi")
        _, engine = made.running("mnist")
        made.do_round(engine, 1, "pi")
        made.operator.add_user(c.UserCreate(name="pat", role=Role.VIEWER))
        schedule = c.ScheduleSet(trigger=c.Every(seconds=86_400))
        made.operator.set_schedule("mnist", "nightly", schedule)
        channel = c.ChannelCreate(name="ops", kind=ChannelKind.WEBHOOK, url="http://127.0.0.1:9/")
        made.operator.add_channel(channel)
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


def test_every_page_is_shown_whatever_its_address_asks_for(browser: httpx.Client) -> None:
    names = "page before after text state task tag run round device metric x clients by cell a b"
    tabs = "logs events selection contribution explanations versions config code clients benches"
    for page in PAGES:
        where = page.path.format(**NAMES)
        for tab in tabs.split() if page.path in WITH_TABS else ():
            answer = browser.get(where, params={"tab": tab, "text": "a", "before": "100"})
            assert answer.status_code == 200, (where, tab)
        for odd in (MARKUP, "²\0", "-1", "9" * 30):
            answer = browser.get(where, params=dict.fromkeys(names.split(), odd))
            assert answer.status_code < 500, (where, odd)
            assert MARKUP not in answer.text, where


def test_every_form_refuses_politely_and_keeps_what_was_typed(browser: httpx.Client) -> None:
    asked = set()
    for form in FORMS:
        where = form.path.format(**NAMES)
        shown = browser.get(where)
        typed, others = fields_of(shown.text) if shown.status_code == 200 else ([], [])
        for odd in ODD if typed or others else ():
            files = {"app": ("app.zip", b"no zip")} if form.takes_file else None
            sent = dict.fromkeys([*typed, *others], odd)
            answer = browser.post(where, data=sent, files=files)
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
