"""The pages of users, the account, join tokens and settings, as a browser without scripts gets them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from managing import World, bundle, managing
from people import user_token

from fedops.core.states import Role
from fedops.server.access import tokens, user_tokens, users
from fedops.server.database.backup import backup

PASSWORD, OTHER = "a-long-enough-password", "another-long-password"
SECRET = "very-secret-key"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("people")
    with managing(folder, dashboard=True, s3_secret_access_key=SECRET) as made:
        made.task("mnist")
        yield made


@contextmanager
def browser(world: World, role: Role) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=world.url, follow_redirects=True) as client:
        client.post("/sign-in", data={"secret": user_token(world, role), "next": "/account"})
        yield client


def add(client: httpx.Client, name: str, **more: str) -> httpx.Response:
    data = {"name": name, "role": "viewer", "tasks": "", "password": PASSWORD, **more}
    return client.post("/new-user", data=data)


def enters(world: World, name: str, password: str) -> bool:
    with httpx.Client(base_url=world.url) as client:
        data = {"user": name, "password": password, "next": "/"}
        return client.post("/sign-in", data=data).status_code == 303


def secret_in(text: str) -> str:
    found = re.search(r'data-copy="(fedops_[^"]+|[A-Za-z0-9_-]{20,})"', text)
    assert found, text
    return found[1]


def test_a_user_is_added_changed_and_removed(world: World) -> None:
    with browser(world, Role.ADMIN) as admin:
        assert "User ann is added." in add(admin, "ann", tasks="mnist").text
        assert enters(world, "ann", PASSWORD)
        changed = {"role": "operator", "tasks": "mnist", "disabled": "yes"}
        assert "User ann is changed." in admin.post("/users/ann", data=changed).text
        assert not enters(world, "ann", PASSWORD)
        with world.manager.services.db.read() as session:
            read = users.user_read(users.require_user(session, "ann"))
        assert (read.role, read.tasks, read.disabled) == (Role.OPERATOR, ["mnist"], True)
        assert "User ann is removed." in admin.post("/users/ann/remove").text
        assert admin.get("/users/ann").status_code == 404


def test_a_form_that_leaves_out_limits_or_names_no_task_gives_no_more_rights(world: World) -> None:
    with browser(world, Role.ADMIN) as admin:
        add(admin, "bob", tasks="mnist")
        admin.post("/users/bob", data={"role": "viewer"})
        assert admin.post("/users/bob", data={"role": "viewer", "tasks": ","}).status_code == 422
        with world.manager.services.db.read() as session:
            assert users.require_user(session, "bob").tasks == ["mnist"]


def test_a_short_password_is_refused_and_is_not_in_the_answer(world: World) -> None:
    with browser(world, Role.ADMIN) as admin:
        answer = add(admin, "short", password="tooshort1")
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
        assert 'value="short"' in answer.text
        assert "tooshort1" not in answer.text


def test_a_password_that_an_admin_sets_is_the_one_that_counts(world: World) -> None:
    with browser(world, Role.ADMIN) as admin:
        add(admin, "cleo")
        admin.post("/users/cleo/password", data={"password": OTHER})
    assert enters(world, "cleo", OTHER)
    assert not enters(world, "cleo", PASSWORD)


def test_a_token_of_a_user_is_shown_once_and_revoked(world: World) -> None:
    with browser(world, Role.ADMIN) as admin:
        add(admin, "dora")
        made = admin.post("/users/dora/tokens", data={"note": "for CI", "valid": "1 day"})
        secret = secret_in(made.text)
        shown = admin.get("/users/dora/tokens").text
        assert "for CI" in shown
        assert secret not in shown
        with world.manager.services.db.read() as session:
            row = users.require_user(session, "dora")
            token = user_tokens.list_of(session, row, world.manager.services.clock())[0].id
        assert "revoked" in admin.post(f"/users/dora/tokens/{token}/revoke").text
        assert httpx.post(f"{world.url}/sign-in", data={"secret": secret}).status_code == 401


def test_one_changes_ones_own_password_with_the_former_one_only(world: World) -> None:
    with browser(world, Role.ADMIN) as admin:
        add(admin, "eve")
    with httpx.Client(base_url=world.url, follow_redirects=True) as eve:
        eve.post("/sign-in", data={"user": "eve", "password": PASSWORD, "next": "/account"})
        wrong = eve.post("/account/password", data={"current": "wrong", "password": OTHER})
        assert wrong.status_code == 401
        assert enters(world, "eve", PASSWORD)
        eve.post("/account/password", data={"current": PASSWORD, "password": OTHER})
        assert eve.get("/account").url.path == "/sign-in"
    assert enters(world, "eve", OTHER)


def test_one_makes_and_revokes_a_token_of_ones_own(world: World) -> None:
    with browser(world, Role.VIEWER) as viewer:
        made = viewer.post("/account/tokens", data={"note": "mine", "valid": "1 day"})
        secret = secret_in(made.text)
        shown = viewer.get("/account").text
        assert "mine" in shown
        assert secret not in shown
        more = {"note": "", "role": "admin", "valid": "1 day"}
        assert viewer.post("/account/tokens", data=more).status_code == 403
        found = re.search(r"Token (\d+) of", made.text)
        assert found
        assert "is revoked" in viewer.post(f"/account/tokens/{found[1]}/revoke").text


def test_one_rotates_a_token_of_ones_own(world: World) -> None:
    with browser(world, Role.OPERATOR) as operator:
        made = operator.post("/account/tokens", data={"note": "for CI", "valid": "1 day"})
        before, number = secret_in(made.text), re.search(r"Token (\d+) of", made.text)
        assert number
        rotated = operator.post(f"/account/tokens/{number[1]}/rotate")
        after = secret_in(rotated.text)
        assert after != before
        assert after not in operator.get("/account").text
        again = operator.post(f"/account/tokens/{number[1]}/rotate")
        assert "is worth nothing already" in again.text
        assert operator.post("/account/tokens/1/rotate").status_code == 404  # the admin's
    status = {
        secret: httpx.post(f"{world.url}/sign-in", data={"secret": secret}).status_code
        for secret in (before, after)
    }
    assert status == {before: 401, after: 303}


def test_users_are_listed_with_their_last_sign_in(world: World) -> None:
    with browser(world, Role.ADMIN) as admin:
        add(admin, "fred")
        row = admin.get("/users").text.split('data-key="fred"')[1].split("</tr>")[0]
        assert "never" in row
        assert enters(world, "fred", PASSWORD)
        row = admin.get("/users").text.split('data-key="fred"')[1].split("</tr>")[0]
        assert "0 s ago" in row


def test_a_join_token_is_listed_and_revoked(world: World) -> None:
    with browser(world, Role.OPERATOR) as operator:
        operator.post("/join", data={"valid": "1 hour", "uses": "3", "note": "ward 7"})
        assert "ward 7" in operator.get("/tokens").text
        with world.manager.services.db.read() as session:
            token = tokens.list_tokens(session, 1)[0].id
        operator.post(f"/tokens/{token}/revoke")
        with world.manager.services.db.read() as session:
            assert tokens.read_token(session, token).revoked


def test_settings_are_shown_without_secrets(world: World) -> None:
    assert world.manager.services.settings.s3_secret_access_key == SECRET
    with browser(world, Role.AUDITOR) as auditor:
        text = auditor.get("/settings").text
    assert "heartbeat_seconds" in text
    assert "set, not shown" in text
    assert SECRET not in text


def test_the_settings_say_what_is_kept_and_when_it_was_backed_up(world: World) -> None:
    with browser(world, Role.AUDITOR) as auditor:
        text = auditor.get("/settings").text
        assert "being counted" in text
        assert "No backup was made here yet" in text
        assert "is alone with its database" in text
        world.manager.services.storage.count()
        report = backup(world.manager.services.settings, world.folder / "backup.tar")
        text = auditor.get("/settings").text
    stored = world.manager.services.storage.latest()
    assert stored is not None
    kinds = {one.name: one for one in stored.kinds}
    assert kinds["apps and commits"].count == report.files == 1
    assert kinds["apps and commits"].size == len(bundle())
    assert kinds["database, with logs and pictures"].size > 100_000
    assert {one.name for one in stored.folders} >= {"artifacts"}
    assert "The last backup was made" in text
    assert "No backup was made" not in text


@pytest.mark.parametrize(
    ("role", "may"),
    [(Role.VIEWER, set()), (Role.OPERATOR, {"/tokens"}),
     (Role.AUDITOR, {"/users", "/tokens", "/settings"})],
)  # fmt: skip
def test_who_may_see_what(world: World, role: Role, may: set[str]) -> None:
    with browser(world, role) as client:
        asked = ("/users", "/tokens", "/settings", "/new-user", "/users/the-admin/password")
        assert {where for where in asked if client.get(where).status_code == 200} == may
        refused = client.post("/users/the-admin/password", data={"password": OTHER})
        assert refused.status_code == 403
        assert client.get("/account").status_code == 200
        assert 'class="who" href="/account"' in client.get("/account").text
