"""Following something while the server is away for a moment."""

import pytest

from fedops.cli.follow import outlasting
from fedops.core.errors import Unavailable


def test_a_server_that_is_away_for_a_moment_is_asked_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = [Unavailable("cannot reach it"), Unavailable("cannot reach it")]

    def call() -> str:
        if away:
            raise away.pop()
        return "here"

    assert outlasting(call) == "here"
    assert capsys.readouterr().err.count("cannot reach it; trying for 120 s") == 1


def test_a_server_that_stays_away_is_said_to() -> None:
    def call() -> None:
        raise Unavailable("cannot reach it")

    with pytest.raises(Unavailable):
        outlasting(call, seconds=0.0)
