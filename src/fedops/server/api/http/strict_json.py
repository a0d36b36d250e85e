"""JSON as every store and every reader can hold it: what cannot be kept is refused at the door.

Python's own reader lets NaN, numbers of any size and broken Unicode pass; each of them would come
back as an error of ours, later and elsewhere.
"""

from __future__ import annotations

import json
import math
from typing import Any

from fedops.core.errors import Invalid

MAX_DEPTH = 32
MAX_INTEGER = 2**63


def loads(data: bytes) -> Any:
    """Parse a request's body. ``Invalid`` says what in it cannot be."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise Invalid("the body is not UTF-8 text") from None
    except RecursionError:
        raise Invalid(f"the body is nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:
        raise Invalid(f"the body is no valid JSON: {error}") from None
    _check(value, "", 0)
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def _check(value: Any, where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Invalid(f"the body is nested more than {MAX_DEPTH} deep")
    match value:
        case str():
            _check_text(value, where)
        case bool() | None:
            pass
        case int() if not -MAX_INTEGER <= value < MAX_INTEGER:
            raise Invalid(f"{where or 'the body'}: the whole number is too large")
        case float() if not math.isfinite(value):
            raise Invalid(f"{where or 'the body'}: the number is too large")
        case dict():
            for key, item in value.items():
                _check_text(key, where)
                _check(item, f"{where}.{key[:40]}" if where else key[:40], depth + 1)
        case list():
            for index, item in enumerate(value):
                _check(item, f"{where}[{index}]", depth + 1)


def _check_text(text: str, where: str) -> None:
    if text.isascii() and "\0" not in text:
        return
    if "\0" in text:
        raise Invalid(f"{where or 'the body'}: the text holds a NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Invalid(f"{where or 'the body'}: the text holds half a character") from None
