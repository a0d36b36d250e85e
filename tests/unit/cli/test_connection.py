"""Which server a command talks to, and which token goes where."""

from pathlib import Path

import pytest

from fedops.api_client import Unreachable
from fedops.cli.connection import Login, find_login, read_login, write_login
from fedops.core.errors import Forbidden, Invalid
from fedops.server_urls import normal_url
from fedops.settings import cli_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FEDOPS_SERVER", "FEDOPS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FEDOPS_LOGIN_FILE", str(tmp_path / "cli.json"))
    monkeypatch.setenv("FEDOPS_SERVER_HOME", str(tmp_path / "server"))


def answers(_: str) -> None:
    """Somebody does."""


def remember(url: str, token: str) -> Path:
    return write_login(Login(url, token), cli_settings())


def local_server(tmp_path: Path, token: str) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "admin-token").write_text(token + "\n")


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDOPS_SERVER", "http://there:1")
    monkeypatch.setenv("FEDOPS_TOKEN", "env")
    assert find_login("http://here:2", "option") == Login("http://here:2", "option")
    assert find_login(None, None) == Login("http://there:1", "env")


def test_the_environment_wins_over_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    remember("http://remembered:1", "stored")
    assert find_login(None, None) == Login("http://remembered:1", "stored")
    monkeypatch.setenv("FEDOPS_TOKEN", "env")
    assert find_login(None, None) == Login("http://remembered:1", "env")


def test_a_remembered_token_goes_to_no_other_server() -> None:
    remember("http://remembered:1", "stored")
    with pytest.raises(Forbidden, match="no token for http://other:1"):
        find_login("http://other:1", None, answers)


def test_a_server_on_this_machine_needs_no_login(tmp_path: Path) -> None:
    local_server(tmp_path, "local")
    assert find_login(None, None) == Login("http://127.0.0.1:8600", "local")


@pytest.mark.parametrize("url", ["http://192.0.2.1:8600", "http://127.0.0.1:9999"])
def test_the_local_admin_token_goes_to_the_local_server_only(tmp_path: Path, url: str) -> None:
    local_server(tmp_path, "local")
    with pytest.raises(Forbidden):
        find_login(url, None, answers)


def test_a_login_is_readable_by_its_owner_only() -> None:
    file = remember("http://a:1", "secret")
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_login(file) == Login("http://a:1", "secret")


def test_a_broken_login_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cli.json").write_text("{")
    with pytest.raises(Invalid, match="remove it and use 'fedops login' again"):
        find_login(None, None)


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("127.0.0.1:8600", "http://127.0.0.1:8600"),
        ("https://fl.example.org/", "https://fl.example.org"),
        ("http://fl.example.org/base/", "http://fl.example.org/base"),
    ],
)
def test_urls_are_brought_to_one_form(given: str, normal: str) -> None:
    assert normal_url(given) == normal


@pytest.mark.parametrize(
    "given",
    ["ftp://a", "http://", "", "http://a:port", "http://a:99999", "http://[::1", "http://a b"],
)
def test_what_is_no_url_is_refused(given: str) -> None:
    with pytest.raises(Invalid, match="no URL of a Server Manager"):
        normal_url(given)


def test_that_nobody_answers_comes_before_a_missing_token() -> None:
    def silent(url: str) -> None:
        raise Unreachable(f"cannot reach the Server Manager at {url}")

    with pytest.raises(Unreachable, match="cannot reach the Server Manager at http://other:1"):
        find_login("other:1", None, silent)
