"""Nothing that a device or a server says does anything to the terminal of who reads it."""

from __future__ import annotations

import pytest
from rich.table import Table

from fedops.cli.logs import lines_of
from fedops.cli.output import show
from fedops.core import contracts as c

HOSTILE = "\x1b]0;owned\x07red \x1b[31malarm\x1b[0m\x9b2J\u202e"


def test_text_and_tables_are_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table.grid()
    table.add_row("name", HOSTILE)
    show(None, False, table, f"says {HOSTILE}")
    shown = capsys.readouterr().out
    assert shown.count("red alarm") == 2
    assert shown.replace("\n", "").isprintable()


def test_json_is_escaped_and_otherwise_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show({"text": HOSTILE}, True)
    assert capsys.readouterr().out.replace("\n", "").isprintable()


def test_a_line_of_a_log_is_one_line() -> None:
    values = {"id": 1, "at": 0.0, "run_id": 1, "attempt": 1, "round": 1, "source": "manager"}
    entry = c.LogRead.model_validate({**values, "device": "pi", "text": f"a\r{HOSTILE}\nb"})
    first, second = lines_of(entry)
    assert first.endswith("| ared alarm2J")
    assert second.endswith("| b")
