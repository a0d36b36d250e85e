"""Which command lines are a ``flwr run``, and of which app."""

from __future__ import annotations

import pytest

from fedops.flower.launch.flwr_run_stream import app_of, command_of_flwr_run


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/v/bin/python3 /v/bin/flwr run . --stream", [".", "--stream"]),
        ("/v/bin/flwr run", []),
        ("flwr.exe run app", ["app"]),
        ("/v/bin/python3 /v/bin/flwr log 7 --stream", None),
        ("/v/bin/python3 /v/bin/flwr-simulation --token run", None),
        ("/v/bin/flwr", None),
        ("vim run --stream", None),
        ("", None),
    ],
)
def test_a_flwr_run_is_recognised(line: str, words: list[str] | None) -> None:
    assert command_of_flwr_run(line.split()) == words


@pytest.mark.parametrize(
    ("line", "app"),
    [
        ("", "."),
        ("--stream", "."),
        ("apps/mnist local --stream", "apps/mnist"),
        ("--run-config seed=1 -c a=2 apps/mnist", "apps/mnist"),
        ("--format json --stream @me/app==1.0", "@me/app==1.0"),
    ],
)
def test_the_app_is_the_first_word_that_is_no_option(line: str, app: str) -> None:
    assert app_of(line.split()) == app
