"""The pages and their live updates: who gets in, how, and when it is over."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator

import httpx
import pytest
import websockets
from managing import World
from people import user_token
from websockets.exceptions import InvalidStatus

from fedops.core import contracts as c
from fedops.core.states import Role
from fedops.server.dashboard.web.assets import build, url_of

PASSWORD = "correct horse battery"
COOKIE = "fedops_session"
LIVE = "/live?at=/"


@pytest.fixture
def browser(served: World) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60.0) as client:
        yield client


def _by_secret(browser: httpx.Client, secret: str, **headers: str) -> httpx.Response:
    return browser.post("/sign-in", data={"secret": secret}, headers=headers)


def _shows_the_page(browser: httpx.Client) -> bool:
    answer = browser.get("/")
    assert answer.status_code in (200, 303)
    return answer.status_code == 200 and "Sign out" in answer.text


def test_nobody_gets_past_the_gate(served: World, browser: httpx.Client) -> None:
    for path in ("/", "/runs/1", "/anything/else"):
        answer = browser.get(path)
        back = "" if path == "/" else f"?next={path}"
        assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in{back}")
    browser.cookies.set(COOKIE, served.operator_token())  # no session, though a token
    assert not _shows_the_page(browser)
    answer = browser.get("/sign-in")
    assert answer.status_code == 200
    assert "<form" in answer.text


@pytest.mark.parametrize(
    "path", ["/api", "/health/x", "/ca.pem/x", "/sign-in/x", "/sign-out/x", "/v1"]
)
def test_no_path_beside_those_that_are_open_makes_a_page(
    served: World, browser: httpx.Client, path: str
) -> None:
    answer = browser.get(path, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={path}")
    _by_secret(browser, user_token(served, Role.VIEWER))
    answer = browser.get(path)
    assert answer.status_code == 404
    assert "there is no page at" in answer.text


@pytest.mark.parametrize("role", Role)
def test_every_role_sees_the_page_and_a_session_opens_no_api(
    served: World, browser: httpx.Client, role: Role
) -> None:
    answer = _by_secret(browser, user_token(served, role))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert _shows_the_page(browser)
    bearer = {"authorization": f"Bearer {browser.cookies[COOKIE]}"}
    assert browser.get("/api/v1/whoami", headers=bearer).status_code == 403
    assert browser.get("/api/v1/whoami").status_code == 401  # no cookie counts there


def test_a_name_and_a_password_open_a_session(served: World, browser: httpx.Client) -> None:
    served.operator.add_user(c.UserCreate(name="pat", role=Role.VIEWER, password=PASSWORD))
    wrong = browser.post("/sign-in", data={"user": "pat", "password": "no"})
    unknown = browser.post("/sign-in", data={"user": "no\0body", "password": "no"})
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.text.replace("pat", "nobody") == unknown.text
    assert COOKIE not in browser.cookies
    form = {"user": "pat", "password": PASSWORD}
    assert browser.post("/sign-in", data=form).status_code == 303
    assert _shows_the_page(browser)
    served.operator.set_password("pat", c.PasswordSet(password="another sentence"))
    assert not _shows_the_page(browser)


def test_a_code_opens_one_session_once_and_soon(served: World, browser: httpx.Client) -> None:
    code = served.operator.sign_in_code().code
    with pytest.raises(Exception, match="what was sent is a sign-in code"):
        served.with_token(code).tasks()
    assert _by_secret(browser, code).status_code == 303
    assert _shows_the_page(browser)
    with httpx.Client(base_url=served.url) as other:
        assert _by_secret(other, code).status_code == 401
        late = served.operator.sign_in_code().code
        served.clock.advance(120)
        assert _by_secret(other, late).status_code == 401


def test_a_session_ends_with_sign_out_time_and_what_opened_it(
    served: World, browser: httpx.Client
) -> None:
    token = served.operator.create_user_token(c.PersonalTokenCreate())
    _by_secret(browser, token.token or "")
    kept = browser.cookies[COOKIE]
    assert browser.post("/sign-out").status_code == 303
    browser.cookies.set(COOKIE, kept)
    assert not _shows_the_page(browser)

    with served.with_token(token.token) as client:
        code = client.sign_in_code().code
    for secret in (token.token, code):
        browser.cookies.clear()
        assert _by_secret(browser, secret or "").status_code == 303
        assert _shows_the_page(browser)
    served.operator.revoke_user_token(token.id)
    assert not _shows_the_page(browser)

    browser.cookies.clear()
    _by_secret(browser, user_token(served, Role.VIEWER))
    served.operator.update_user("the-viewer", c.UserUpdate(disabled=True))
    assert not _shows_the_page(browser)
    served.operator.update_user("the-viewer", c.UserUpdate(disabled=False))
    assert not _shows_the_page(browser)

    browser.cookies.clear()
    _by_secret(browser, user_token(served, Role.VIEWER))
    assert _shows_the_page(browser)
    served.clock.advance(12 * 3_600)
    assert not _shows_the_page(browser)


def test_another_sites_page_signs_nobody_in_or_out(served: World, browser: httpx.Client) -> None:
    token = user_token(served, Role.VIEWER)
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert _by_secret(browser, token, **headers).status_code == 403
    assert _by_secret(browser, token, origin=served.url).status_code == 303
    by_browser = {"origin": "null", "sec-fetch-site": "same-origin"}  # where no referrer is told
    assert _by_secret(browser, token, **by_browser).status_code == 303
    assert browser.post("/sign-out", headers={"origin": "null"}).status_code == 403
    assert _shows_the_page(browser)


def test_a_form_is_small(browser: httpx.Client) -> None:
    assert browser.post("/sign-in", content=b"secret=" + b"x" * 100_000).status_code == 413
    assert browser.post("/sign-in", content=b"\xff\xfe").status_code == 422
    assert browser.post("/sign-in", content=b"&a=1" * 300).status_code == 422


def test_no_address_of_a_page_holds_a_secret(browser: httpx.Client) -> None:
    assert browser.get("/sign-in?token=fo_personal_x").text.count("fo_personal_x") == 0
    assert "location.hash" in browser.get(url_of("sign_in.js")).text
    assert not re.search(r"<script>|onclick|style=\"", browser.get("/sign-in").text)


async def _connect(served: World, cookie: str | None, origin: str | None) -> str:
    headers = {"cookie": f"{COOKIE}={cookie}"} if cookie else {}
    url = served.url.replace("http", "ws") + LIVE
    async with websockets.connect(url, additional_headers=headers, origin=origin) as connection:  # type: ignore[arg-type]
        await connection.send(json.dumps({"seq": 0, "panels": {}, "build": build()}))
        return str(await asyncio.wait_for(connection.recv(), 10))


def test_live_updates_need_a_session_and_our_own_page(served: World, browser: httpx.Client) -> None:
    _by_secret(browser, user_token(served, Role.VIEWER))
    cookie = browser.cookies[COOKIE]
    assert asyncio.run(_connect(served, cookie, served.url)).startswith('{"seq": ')
    for wrong, origin in (
        (None, served.url),
        ("fo_session_x", served.url),
        (served.operator_token(), served.url),
        (cookie, "https://evil.example"),
    ):
        with pytest.raises(InvalidStatus, match="403"):
            asyncio.run(_connect(served, wrong, origin))


def test_live_updates_end_with_their_session(served: World, browser: httpx.Client) -> None:
    _by_secret(browser, user_token(served, Role.VIEWER))
    headers = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    url = served.url.replace("http", "ws") + LIVE

    async def watch() -> None:
        async with websockets.connect(
            url,
            additional_headers=headers,
            origin=served.url,  # type: ignore[arg-type]
        ) as connection:
            await connection.send(json.dumps({"build": build()}))
            await asyncio.wait_for(connection.recv(), 10)
            await asyncio.to_thread(browser.post, "/sign-out")
            await asyncio.wait_for(connection.wait_closed(), 10)
            assert connection.close_code == 1008

    asyncio.run(watch())
