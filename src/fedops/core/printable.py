"""Text from other machines, fit for a terminal, a page and a table: without control characters."""

from __future__ import annotations

import re

#: C0 and C1 but tab and line feed, and what reverses the direction of text or hides it.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
#: Sequences that colour, move or rename: they go as a whole, and not only their first character.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_].*?\x1b\\|\x1b[@-_]",
    re.DOTALL,
)


def printable(text: str) -> str:
    """The text without control characters and terminal sequences; tabs and line ends stay.

    >>> printable("loss \\x1b[31m0.5\\x1b[0m")
    'loss 0.5'
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return _CONTROLS.sub("", _SEQUENCES.sub("", text))
