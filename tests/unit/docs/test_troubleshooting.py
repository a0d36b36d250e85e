"""The messages that the troubleshooting page explains are those that the product prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "howto" / "troubleshooting.md").read_text()
MESSAGES = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
_HOLE = "\0"


def _texts(file: Path) -> Iterator[str]:
    """All string literals of a module, with a hole for each value that is put in."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else _HOLE for p in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def texts() -> list[str]:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "apps").rglob("*.py")]
    return [text for file in files for text in _texts(file)]


@pytest.mark.parametrize("message", MESSAGES)
def test_the_message_is_one_that_fedops_prints(message: str, texts: list[str]) -> None:
    parts = [re.escape(part.strip()) for part in message.split("...") if part.strip()]
    pattern = re.compile(".*".join(parts), re.DOTALL)
    assert any(pattern.search(text) for text in texts)


def test_there_are_messages() -> None:
    assert len(MESSAGES) >= 20
