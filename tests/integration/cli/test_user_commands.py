"""``fedops user``, ``whoami``, ``login --user`` and ``dashboard`` against a server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from managing import World, managing

from fedops.cli.main import main

#: Words of the command, what it reads, and as whom: what it prints.
Said = Callable[..., str]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path) as made:
        yield made


@pytest.fixture
def said(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Said:
    monkeypatch.setenv("FEDOPS_LOGIN_FILE", str(tmp_path / "cli.json"))
    monkeypatch.setenv("FEDOPS_SERVER", world.url)

    def run(*words: str, reads: str = "", code: int = 0) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(reads))
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out = capsys.readouterr()
        assert ended.value.code == code, out.err
        return out.out if code == 0 else out.err

    run("login", world.url, reads=world.operator_token() + "\n")
    return run


def test_from_the_first_admin_to_a_person_who_works(world: World, said: Said) -> None:
    assert "admin" in said("whoami")
    world.task()
    world.task("digits")
    words = ("user", "add", "ben", "--role", "operator", "--task", "mnist", "--password")
    assert "User ben is an operator of mnist." in said(*words, reads="a long sentence\n")
    assert "as ben" in said("login", world.url, "--user", "ben", reads="a long sentence\n")
    found = json.loads(said("whoami", "--json"))
    assert (found["user"], found["roles"], found["tasks"]) == ("ben", ["operator"], ["mnist"])
    assert "digits" not in said("task", "list")
    assert "there is no task 'digits'" in said("task", "show", "digits", code=4)
    assert "for an admin or an auditor" in said("user", "list", code=3)
    said("user", "password", reads="a long sentence\nanother sentence\n")
    assert "was revoked" in said("whoami", code=3)
    said("login", world.url, "--user", "ben", reads="another sentence\n")
    assert "not right" in said("login", world.url, "--user", "ben", reads="wrong\n", code=3)


def test_users_are_listed_changed_disabled_and_removed(said: Said) -> None:
    said("user", "add", "anna", "--role", "viewer")
    assert "User anna is an operator of a." in said(
        "user", "role", "anna", "operator", "--task", "a"
    )
    said("user", "role", "anna", "operator", "--all-tasks")
    said("user", "disable", "anna")
    (anna,) = [u for u in json.loads(said("user", "list", "--json")) if u["name"] == "anna"]
    assert (anna["role"], anna["tasks"], anna["disabled"]) == ("operator", None, True)
    assert "disabled" in said("user", "list")
    said("user", "enable", "anna")
    said("user", "password", "anna", reads="a long sentence\n")
    assert "--yes" in said("user", "remove", "anna", code=2)
    said("user", "remove", "anna", "--yes")
    assert "anna" not in said("user", "list")
    assert "at least 12 characters" in said(
        "user", "add", "x", "--role", "viewer", "--password", reads="short\n", code=2
    )


def test_tokens_are_made_listed_revoked_and_rotated(
    world: World, said: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("user", "token", "create", "--role", "viewer", "--expires", "7d", "--note", "CI")
    made = json.loads(said(*words, "--json"))
    assert "CI" in said("user", "token", "list")
    monkeypatch.setenv("FEDOPS_TOKEN", made["token"])
    assert "admin and viewer" in said("whoami")
    monkeypatch.delenv("FEDOPS_TOKEN")
    said("user", "token", "revoke", str(made["id"]))
    assert "revoked" in said("user", "token", "list")
    before = world.operator_token()
    assert world.operator_token() not in said("user", "token", "list")
    said("user", "token", "rotate")
    assert world.operator_token() != before
    assert "admin" in said("whoami")  # the login was moved on
    assert world.operator_token() in (tmp_path / "cli.json").read_text()


def test_events_say_who_with_which_token_from_where(world: World, said: Said) -> None:
    said("user", "add", "anna", "--role", "viewer")
    assert "user.created  user anna (viewer)  by user admin (token 1, from 127.0.0.1)" in said(
        "events"
    )


def test_the_dashboard_is_opened_with_a_code(world: World, said: Said) -> None:
    found = json.loads(said("dashboard", "--json"))
    assert found["link"] == f"{world.url}/sign-in#{found['code']}"
    assert found["code"].startswith("fo_code_")
    assert f"Open {world.url}/sign-in#fo_code_" in said("dashboard")
