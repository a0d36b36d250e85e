"""What is wrong with the values of a form, in the words of whoever filled it in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fedops.core.contracts.base import NAME_PATTERN

#: So many wrong values are named at once.
_MOST = 5
_LONGEST_SHOWN = 40
_A_NAME = "a name is 1 to 63 letters, digits, '.', '_' or '-', the first a letter or digit"


def sentences(found: Sequence[Any]) -> str:
    """A line for what pydantic found (``errors()`` of its error)."""
    return "; ".join(dict.fromkeys(_sentence(one) for one in found[:_MOST]))


def _sentence(found: Mapping[str, Any]) -> str:
    field = " ".join(part for part in found["loc"] if isinstance(part, str)).replace("_", " ")
    problem = _problem(found["type"], found.get("ctx", {}), found["msg"])
    if isinstance(found["loc"][-1] if found["loc"] else None, int):  # one of several
        problem = f"'{str(found['input'])[:_LONGEST_SHOWN]}': {problem}"
    return f"{field}: {problem}" if field else problem


def _problem(kind: str, about: Mapping[str, Any], said: str) -> str:
    match kind:
        case "value_error":
            return str(about["error"])
        case "string_too_short" if about["min_length"] == 1:
            return "this cannot be empty"
        case "string_too_short":
            return f"it has at least {about['min_length']:,} characters"
        case "string_too_long":
            return f"it has at most {about['max_length']:,} characters"
        case "too_long":
            return f"these are at most {about['max_length']:,}"
        case "string_pattern_mismatch":
            return _A_NAME if about["pattern"] == NAME_PATTERN else "this cannot be one"
        case "literal_error":
            return f"choose one of {about['expected']}"
        case "union_tag_invalid":
            return f"choose one of {about['expected_tags']}"
    return re.sub(r"^\w+ should be", "it must be", said)
