"""Secrets that a user hands to a command: from the environment, from standard input, never as an argument."""

from __future__ import annotations

import sys

import typer

from fedops.core.errors import Invalid


def read_secret(given: str | None, variable: str, known: str | None, prompt: str) -> str:
    """A secret: from stdin when ``given`` is '-', else what the environment has, else asked for.

    ``known``: what the environment variable holds. ``Invalid`` when there is none, or it was an argument.
    """
    if given not in (None, "-"):
        raise Invalid(
            f"no secret as an argument: everybody on this machine can read it there. Set {variable}, or pipe "
            "it in and write --token -"
        )
    secret = known or ""
    if given == "-" or (not secret and not sys.stdin.isatty()):
        secret = sys.stdin.readline().strip()
    elif not secret:
        secret = str(typer.prompt(prompt, hide_input=True))
    if not secret:
        raise Invalid(f"no token given: set {variable}, or pipe it in and write --token -")
    return secret
