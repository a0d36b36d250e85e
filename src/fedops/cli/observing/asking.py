"""A question of ``fedops init``, put to whoever sits at the terminal."""

from __future__ import annotations

import sys

import typer

from fedops.core.errors import Invalid
from fedops.scalize.discovery.choices import Choice


def ask(question: Choice, option: str) -> str:
    """The answer. ``option`` is what takes it on the command line.

    Raises:
        Invalid: nobody is there to answer.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Invalid(_unanswered(question, option))
    for one in question.options:
        typer.echo(f"  {one.value}: {one.meaning}" if one.meaning else f"  {one.value}")
    known = [one.value for one in question.options]
    while True:
        answer = str(typer.prompt(question.question, default=question.default)).strip()
        if not known or answer in known:
            return answer
        typer.echo(f"Please answer with one of: {'; '.join(known)}")


def _unanswered(question: Choice, option: str) -> str:
    known = " or ".join(one.value for one in question.options) or question.default
    return (
        f"{question.question} Answer with {option} {question.key}=VALUE ({known}), or take the default "
        f"'{question.default}' with --yes"
    )
