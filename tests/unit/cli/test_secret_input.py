"""Where a command takes a secret from."""

from __future__ import annotations

import io

import pytest

from fedops.cli.secret_input import read_secret
from fedops.core.errors import Invalid


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_environment_wins_unless_stdin_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "piped\n")
    assert read_secret(None, "FEDOPS_X", "known", "X") == "known"
    assert read_secret("-", "FEDOPS_X", "known", "X") == "piped"


def test_without_a_terminal_it_is_read_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "piped\n")
    assert read_secret(None, "FEDOPS_X", None, "X") == "piped"
    given(monkeypatch, "")
    with pytest.raises(Invalid, match="no token given: set FEDOPS_X"):
        read_secret(None, "FEDOPS_X", None, "X")


def test_an_argument_is_no_place_for_a_secret() -> None:
    with pytest.raises(Invalid, match=r"no secret as an argument.*FEDOPS_X") as refused:
        read_secret("fo_join_secret", "FEDOPS_X", "known", "X")
    assert "fo_join_secret" not in refused.value.message
