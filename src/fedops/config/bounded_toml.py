"""TOML within bounds that are checked before it is parsed.

The parser's time and memory grow with the square of the parts of a dotted key: `a.a.a...` of 200 kB took
15 GB. Text that came from elsewhere is parsed here and nowhere else.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

#: How long a text may be, in characters, and how deep its keys, arrays and inline tables.
MAX_CHARACTERS = 256 << 10
MAX_DEPTH = 32
_QUOTES = ('"', "'", '"""', "'''")
#: Strings and comments as a whole, what nests, what separates; a quote alone: its string never ends.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"""|\'\'\''
    r'|"(?:\\[^\n]|[^"\\\n])*"|\'[^\'\n]*\'|["\']|#[^\n]*|[.\[\]{},=\n]',
    re.DOTALL,
)


def loads(text: str) -> dict[str, Any]:
    """Parse. ``tomllib.TOMLDecodeError``: it is no TOML, or beyond the bounds."""
    if len(text) > MAX_CHARACTERS:
        raise tomllib.TOMLDecodeError(f"it has {len(text)} characters, more than {MAX_CHARACTERS}")
    _check_depth(text)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except (ValueError, RecursionError) as error:  # e.g. a number of more than 4,300 digits
        raise tomllib.TOMLDecodeError(str(error)) from None


def _check_depth(text: str) -> None:
    nested = dots = 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in _QUOTES:
            return  # the parser will say where
        if token == ".":
            dots += 1
        elif token in "[]{},=\n":
            nested += (token in "[{") - (token in "]}")
            dots = 0
        if nested > MAX_DEPTH or dots >= MAX_DEPTH:
            line = text.count("\n", 0, match.start()) + 1
            raise tomllib.TOMLDecodeError(
                f"it is nested more than {MAX_DEPTH} deep (at line {line})"
            )
