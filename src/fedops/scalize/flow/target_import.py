"""From the dotted name of a ``_target_`` to the object, with messages a user can act on."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from fedops.core.errors import Invalid
from fedops.core.plain_values import leaves
from fedops.core.suggestions import did_you_mean


def targets_in(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every (key path, ``_target_``) in plain values, however deep."""
    for here, item in leaves(value, path):
        if isinstance(item, str) and (here == "_target_" or here.endswith("._target_")):
            yield here, item


def resolve(target: str, where: str, roots: Sequence[Path] = ()) -> Any:
    """The class or function that ``target`` names; ``where`` says who named it.

    Raises:
        Invalid: no such module or name, or importing the module failed (its file and line are told).
    """
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise Invalid(f"{where}: '{target}' is no dotted name such as 'my_package.my_module.name'")
    module, rest = _import_longest(parts, where, roots)
    found: Any = module
    for position, name in enumerate(rest):
        if not hasattr(found, name):
            owner = ".".join(parts[: len(parts) - len(rest) + position])
            raise Invalid(f"{where}: '{owner}' has no '{name}'{did_you_mean(name, _names(found))}")
        found = getattr(found, name)
    if not callable(found):
        raise Invalid(
            f"{where}: '{target}' is a {type(found).__name__}, nothing that can be called"
        )
    return found


def _import_longest(parts: list[str], where: str, roots: Sequence[Path]) -> tuple[Any, list[str]]:
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        if _exists(name, where, roots):
            return _import(name, where, roots), parts[length:]
    raise Invalid(
        f"{where}: there is no module '{parts[0]}'; looked in "
        f"{', '.join(map(str, roots)) or 'the installed packages'} and among the installed packages"
    )


def _exists(name: str, where: str, roots: Sequence[Path]) -> bool:
    """Whether the module can be found. Looking for a submodule imports the package above it."""
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            return False
        raise _import_failed(name, where, error, roots) from None
    except Exception as error:
        raise _import_failed(name, where, error, roots) from None


def _names(found: Any) -> list[str]:
    """What could have been meant: public attributes, and the modules of a package."""
    folders = [Path(folder) for folder in getattr(found, "__path__", [])]
    modules = [file.stem for folder in folders for file in sorted(folder.glob("[!_]*.py"))]
    known = getattr(found, "__dict__", {})
    public = [name for name in dir(found) if not name.startswith("_")]
    # Of two that differ in case alone the last is proposed: 'Adam' before the module 'adam'.
    return modules + sorted(public, key=lambda name: not isinstance(known.get(name), ModuleType))


def _import(name: str, where: str, roots: Sequence[Path]) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise _import_failed(name, where, error, roots) from None


def _import_failed(name: str, where: str, error: Exception, roots: Sequence[Path]) -> Invalid:
    return Invalid(f"{where}: importing '{name}' failed: {import_advice(error, roots)}")


def import_advice(error: BaseException, roots: Sequence[Path] = ()) -> str:
    """``ValueError: bad shape (models.py, line 12)``: the line is the last one in the user's code."""
    place = _place(error, roots)
    text = str(error.msg) if isinstance(error, SyntaxError) else str(error)
    first = text.strip().splitlines()[0][:400] if text.strip() else ""
    kind = type(error).__name__
    return f"{kind}{': ' if first else ''}{first}{f' ({place})' if place else ''}"


def _place(error: BaseException, roots: Sequence[Path]) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if any(_is_in(Path(f.filename), root) for root in roots)]
    last = (inside or [])[-1:]
    return f"{last[0].filename}, line {last[0].lineno}" if last else ""


def _is_in(file: Path, root: Path) -> bool:
    return file.is_relative_to(root) and "site-packages" not in file.relative_to(root).parts
