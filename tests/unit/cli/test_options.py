"""Requests made of what the user typed."""

import io
import sys

import pytest
import typer

from fedops.cli import options
from fedops.core import contracts as c
from fedops.core.errors import Invalid


def test_a_value_that_no_request_can_hold_is_named() -> None:
    with pytest.raises(Invalid, match=r"^uses = 10000000: must be less than or equal to 1000000$"):
        options.request(c.TokenCreate, uses=10_000_000)
    with pytest.raises(Invalid, match=r"^rounds = "):
        options.request(c.RunExtend, rounds=10**17)


def test_no_token_lives_longer_than_a_calendar_can_show() -> None:
    with pytest.raises(Invalid, match="expires_in_seconds"):
        options.request(c.TokenCreate, expires_in_seconds=1e15)


def test_what_cannot_be_undone_needs_a_word_where_nobody_can_be_asked() -> None:
    with pytest.raises(Invalid, match=r"^Remove device 'pi'\? It cannot be undone: .* --yes$"):
        options.require_sure("Remove device 'pi'?", False)  # tests have no terminal
    options.require_sure("Remove device 'pi'?", True)


@pytest.mark.parametrize(("typed", "sure"), [("y\n", True), ("n\n", False), ("", False)])
def test_on_a_terminal_it_asks(typed: str, sure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", Terminal())
    if sure:
        options.require_sure("Remove device 'pi'?", False)
    else:
        with pytest.raises(typer.Abort):
            options.require_sure("Remove device 'pi'?", False)
    assert "Remove device 'pi'? [y/N]" in sys.stderr.getvalue()


def test_an_override_is_read_before_a_server_is_looked_for() -> None:
    assert options.assignments(["num_rounds=5", "a.b = "]) == ["num_rounds=5", "a.b = "]
    assert options.assignments(None) is None
    for wrong in ("nonsense", "=5", "a..b=5"):
        with pytest.raises(Invalid, match="must read key=value"):
            options.assignments([wrong])
