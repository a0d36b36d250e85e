"""Options of a project's command lines, and what its functions give their names."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from fedops.scalize.discovery.source.definitions import Names, plain_value


def argparse_option(args: list[ast.expr], kwargs: Mapping[str, ast.expr]) -> dict[str, Any]:
    """Name and default of ``add_argument(...)``; None is a default, too."""
    flags = [a.value for a in args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if not flags:
        return {}
    long = next((flag for flag in flags if flag.startswith("--")), flags[0])
    name = plain_value(kwargs.get("dest")) or long.lstrip("-").replace("-", "_")
    if plain_value(kwargs.get("action")) in {"store_true", "store_false"}:
        return {name: plain_value(kwargs.get("action")) == "store_false"}
    return {name: plain_value(kwargs.get("default"))}


def click_options(function: ast.FunctionDef, names: Names) -> dict[str, Any]:
    """Names and defaults of a command of click's or typer's."""
    found: dict[str, Any] = {}
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and names.dotted(decorator.func) in _CLICK:
            found |= _click_option(decorator)
    for name, default in _defaults(function):
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
    return {name.lstrip("-").replace("-", "_").lower(): value}


def _dashes(text: str) -> int:
    return len(text) - len(text.lstrip("-"))


def local_values(function: ast.FunctionDef) -> dict[str, Any]:
    """What a function gives its names: plain values assigned once, and the defaults of its parameters."""
    assigned: dict[str, list[Any]] = {}
    for node in (inner for inner in ast.walk(function) if isinstance(inner, ast.Assign)):
        for name in (target.id for target in node.targets if isinstance(target, ast.Name)):
            assigned.setdefault(name, []).append(plain_value(node.value))
    given = {name: value for name, (value, *more) in assigned.items() if not more}
    defaults = {n: plain_value(d) for n, d in _defaults(function) if n not in assigned}
    return {name: value for name, value in (defaults | given).items() if value is not None}


def _defaults(function: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    yield from (
        (arg.arg, default)
        for arg, default in zip(
            positional[len(positional) - len(args.defaults) :], args.defaults, strict=True
        )
    )
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        if default is not None:
            yield arg.arg, default


def _keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
