"""What the path of a page names, before anything is looked up by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from fedops.core.errors import NotFound

_NUMBERS = frozenset({"run_id", "study_id", "token_id", "round", "number"})
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def require_sound(path: Mapping[str, str]) -> None:
    """``NotFound`` when a name in the path is none that anything can have."""
    for name, text in path.items():
        if not (_NUMBER if name in _NUMBERS else _NAME).fullmatch(text):
            what = name.removesuffix("_id").replace("_", " ")
            raise NotFound(f"there is no {what} '{text[:80]}'")


def address(path: str, query: Mapping[str, str], **changes: object) -> str:
    """A page with what its address says already, but for these. None or "": not said any more."""
    said = {**query, **{name: str(value) for name, value in changes.items() if value is not None}}
    left = {n: v for n, v in said.items() if v and not (n in changes and changes[n] is None)}
    return f"{path}?{urlencode(left)}" if left else path
