"""How the pages of the reference say of which type a field is, what its default is, and what it means."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from fedops.config import schema
from fedops.config.script_table import Script
from fedops.scalize.check.project_check import CheckedParameter, CheckReport, ProofStep
from fedops.scalize.discovery.choices import Choice, Option
from fedops.scalize.discovery.differences import Difference
from fedops.scalize.discovery.observed.init_report import InitReport, Setting
from fedops.scalize.observing.records import (
    Note,
    Seen,
    SeenLoader,
    SeenModel,
    SeenOptimizer,
    SeenTensor,
)

TYPES: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    Any: "any value",
}
ANSWERS: list[type[BaseModel]] = [
    InitReport,
    CheckReport,
    Choice,
    Option,
    Setting,
    Difference,
    Note,
    ProofStep,
    CheckedParameter,
    Seen,
    SeenModel,
    SeenTensor,
    SeenOptimizer,
    SeenLoader,
]


def type_of(annotation: Any) -> str:
    return cell(_words(annotation))


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in arguments)
    if origin is list:
        return f"list of {_words(arguments[0])}"
    if origin in (Union, UnionType):
        return " or ".join(_words(part) for part in arguments if part is not type(None))
    if annotation is Script:
        return "[the table `[script]`](config.md)"
    if isinstance(annotation, type) and issubclass(annotation, schema.Step):
        return "step"
    if origin is dict:
        return f"table of {_words(arguments[1])}"
    if origin is tuple:
        return " and ".join(map(_words, arguments))
    if annotation in ANSWERS:
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return TYPES.get(annotation, str(annotation))


def default_of(field: Any) -> str:
    if field.default_factory is not None:
        value = field.get_default(call_default_factory=True)
        home = str(Path.home())
        return f"`{str(value).replace(home, '~')}`" if isinstance(value, Path) else "-"
    if field.default in (PydanticUndefined, None, ""):
        return "-"
    if isinstance(field.default, BaseModel):
        target = getattr(field.default, "target", "")
        return f"`{target}`" if target else "-"
    default = field.default
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def comments_of(model: type) -> dict[str, str]:
    """Field -> its ``#:`` comment."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__[:-1]):
        if not cls.__module__.startswith("fedops"):
            continue
        pending: list[str] = []
        for line in inspect.getsource(cls).splitlines():
            stripped = line.strip()
            if beside := re.match(r"(\w+)\s*:.*\s#: (.*)", stripped):
                found[beside[1]] = beside[2]
                pending = []
                continue
            if stripped.startswith("#:"):
                pending.append(stripped[2:].strip())
                continue
            name = re.match(r"(\w+)\s*:", stripped)
            if name and pending:
                found[name[1]] = " ".join(pending)
            pending = []
    return found


def cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|").strip()
