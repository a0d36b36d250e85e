"""What the commands that talk to the Server Manager have in common."""

import io
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command

from fedops.api_client import OperatorClient, Unreachable
from fedops.cli import connection, options
from fedops.cli.operator_command import Operator, operator_command
from fedops.core.errors import Forbidden, Invalid

seen: list[OperatorClient] = []
app = options.group("A test.")


@operator_command(app, "look")
def look_(
    operator: Operator, name: str, often: Annotated[int, typer.Option("--often")] = 1
) -> None:
    """Look."""
    if often < 0:
        raise Invalid(f"--often {often}")
    seen.append(operator.client)
    assert operator.client is seen[-1]
    assert not operator.client._http.is_closed
    operator.show({"name": name, "often": often}, f"{name} {often}")


@operator_command(app)
def other(operator: Operator) -> None:
    """Another one, without options of its own."""


@pytest.fixture(autouse=True)
def no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("FEDOPS_SERVER", "FEDOPS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def run(*words: str) -> None:
    get_command(app).main(list(words), prog_name="test", standalone_mode=False)


SERVER = ("--server", "http://192.0.2.1:1")


def test_it_takes_its_own_values_and_then_where_who_and_how() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    look, without = commands["look"], commands["other"]
    assert [p.opts for p in look.params if p.name != "help"] == [
        ["name"],
        ["--often"],
        ["--server"],
        ["--token"],
        ["--json"],
    ]
    assert [p.name for p in without.params] == ["server", "token", "as_json"]
    assert look.help == "Look."


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDOPS_TOKEN", "fo_admin_x")


def test_its_client_is_one_and_is_closed_at_the_end(
    token: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run("look", "ada", "--often", "2", *SERVER)
    assert capsys.readouterr().out == "ada 2\n"
    assert seen[-1].url == "http://192.0.2.1:1"
    assert seen[-1]._http.is_closed


def test_its_token_is_never_an_argument_but_may_be_piped_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Invalid, match=r"no secret as an argument: .* Set FEDOPS_TOKEN, or pipe"):
        run("look", "ada", *SERVER, "--token", "fo_admin_x")
    monkeypatch.setattr("sys.stdin", io.StringIO("fo_admin_piped\n"))
    run("look", "ada", *SERVER, "--token", "-")
    assert seen[-1]._http.headers["authorization"] == "Bearer fo_admin_piped"


def test_with_json_it_prints_one_document(token: None, capsys: pytest.CaptureFixture[str]) -> None:
    run("look", "ada", *SERVER, "--json")
    assert capsys.readouterr().out == '{\n  "name": "ada",\n  "often": 1\n}\n'


def test_what_is_wrong_with_its_values_is_said_before_a_login_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Invalid, match="--often -1"):
        run("look", "ada", "--often", "-1")
    monkeypatch.setattr(connection, "require_answer", lambda url: None)
    with pytest.raises(Forbidden, match="no token for"):
        run("look", "ada", "--server", "http://192.0.2.1:1")


def test_that_nobody_answers_ends_with_what_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(url: str) -> None:
        raise Unreachable(f"cannot reach the Server Manager at {url}: refused")

    monkeypatch.setattr(connection, "require_answer", silent)
    with pytest.raises(
        Unreachable, match=r":1: refused. Is the server running \('fedops server'\)"
    ):
        run("look", "ada", "--server", "http://192.0.2.1:1")
