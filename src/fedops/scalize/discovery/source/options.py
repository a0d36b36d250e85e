"""Options of a project's command lines."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fedops.scalize.discovery.source.bindings import signature_of
from fedops.scalize.discovery.source.definitions import Names, plain_value


@dataclass(frozen=True)
class Option:
    """An option of ``argparse``."""

    value: Any  #: its default; None may be one
    known: bool = True  #: False: it has to be given, or cannot be read off


UNKNOWN = Option(None, known=False)
_BUILT_IN = {"int": int, "float": float}
_TEXTS = {"str", "Path", "pathlib.Path", "os.path.abspath", "os.path.expanduser"}
_NO_OPTIONS = {"help", "version"}


def argparse_option(
    args: list[ast.expr], kwargs: Mapping[str, ast.expr], read: Callable[[ast.expr], Any]
) -> dict[str, Option]:
    """Name and default of ``add_argument(...)``. ``read``: the plain value of an expression."""
    flags = [a.value for a in args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    action = plain_value(kwargs.get("action"))
    if not flags or action in _NO_OPTIONS:
        return {}
    long = next((flag for flag in flags if flag.startswith("--")), flags[0])
    name = plain_value(kwargs.get("dest")) or long.lstrip("-").replace("-", "_")
    return {name: _default(long, action, kwargs, read)}


def _default(
    flag: str, action: Any, kwargs: Mapping[str, ast.expr], read: Callable[[ast.expr], Any]
) -> Option:
    given = kwargs.get("default")
    if given is None:
        if action in ("store_true", "store_false"):
            return Option(action == "store_false")
        optional = plain_value(kwargs.get("nargs")) in ("?", "*")
        needed = plain_value(kwargs.get("required")) is True or not flag.startswith("-")
        return UNKNOWN if needed and not optional else Option(None)
    if isinstance(given, ast.Constant) and given.value is None:
        return Option(None)
    value = read(given)
    if value is None:
        return UNKNOWN
    return _converted(value, kwargs.get("type"))


def _converted(value: Any, kind: ast.expr | None) -> Option:
    """A default that is a text goes through ``type``, as if somebody had typed it."""
    name = ast.unparse(kind) if kind is not None else "str"
    if not isinstance(value, str) or name in _TEXTS:
        return Option(value)
    try:
        return Option(_BUILT_IN[name](value))
    except (KeyError, ValueError):
        return UNKNOWN


def merged(tables: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    """What all that name a setting agree on. Where two differ, it is not known which one counts."""
    found: dict[str, Any] = {}
    for table in tables.values():
        for name, value in table.items():
            found[name] = value if found.get(name, value) == value else _DIFFER
    return {name: value for name, value in found.items() if value is not _DIFFER}


_DIFFER = object()


def click_options(function: ast.FunctionDef, names: Names) -> dict[str, Any]:
    """Names and defaults of a command of click's or typer's."""
    found: dict[str, Any] = {}
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and names.dotted(decorator.func) in _CLICK:
            found |= _click_option(decorator)
    for name, default in signature_of(function).items():
        if isinstance(default, ast.Call) and names.dotted(default.func) in _TYPER:
            given = default.args[0] if default.args else None
            found[name] = plain_value(_keywords(default).get("default", given))
    return {name: value for name, value in found.items() if value is not None}


_CLICK = {"click.option", "click.argument", "rich_click.option", "asyncclick.option"}
_TYPER = {"typer.Option", "typer.Argument"}


def _click_option(call: ast.Call) -> dict[str, Any]:
    """As click names it: a name without dashes, else the longest spelling."""
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if not texts:
        return {}
    keywords = _keywords(call)
    plain = next((text for text in texts if not text.startswith("-")), "")
    name = plain or max((text.split("/")[0] for text in texts), key=_dashes)
    value = plain_value(keywords.get("default"))
    if value is None and plain_value(keywords.get("is_flag")) is True:
        value = False
    kind = ast.unparse(keywords["type"]) if "type" in keywords else ""
    if isinstance(value, str) and (convert := _BUILT_IN.get(kind.split(".")[-1].lower())):
        value = convert(value)
    return {name.lstrip("-").replace("-", "_").lower(): value}


def _dashes(text: str) -> int:
    return len(text) - len(text.lstrip("-"))


def _keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
