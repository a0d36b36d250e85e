"""The options that a script declares (argparse, click, typer, absl), also in what it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedops.scalize.discovery.source.definitions import plain_value
from fedops.scalize.discovery.source.source_files import import_root, python_files

#: Methods and functions that declare an option, by the last part of their names.
_DECLARING = {"add_argument", "option", "Option"}
_ABSL = {"DEFINE_integer", "DEFINE_float", "DEFINE_string"}
_MOST_FILES = 200


@dataclass(frozen=True)
class DeclaredOption:
    """One option of a command line."""

    flags: tuple[str, ...]
    default: Any
    where: str  #: file:line, seen from the project's folder

    @property
    def long(self) -> str:
        return next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])


def script_of(words: Sequence[str], project: Path) -> Path | None:
    """The Python file that a command runs, if the command names one of the project's."""
    for before, word in zip(["", *words], words, strict=False):
        file = project / word
        if word.endswith(".py") and file.is_file():
            return file.resolve()
        if before == "-m":
            parts = project.joinpath(*word.split("."))
            inside = [parts.with_suffix(".py"), parts / "__main__.py"]
            return next((file.resolve() for file in inside if file.is_file()), None)
    return None


def declared_options(project: Path, script: Path | None) -> list[DeclaredOption]:
    """What the script and the project's files that it imports declare; all files without a script."""
    files = _reached(project, script) if script else python_files(project)[:_MOST_FILES]
    found: list[DeclaredOption] = []
    for file in files:
        tree = _parsed(file)
        if tree is not None:
            place = _shown(file, project)
            found += [option for node in ast.walk(tree) for option in _declared(node, place)]
    return found


def _shown(file: Path, project: Path) -> str:
    return file.relative_to(project).as_posix() if file.is_relative_to(project) else file.name


def _parsed(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return None  # the run itself tells what is wrong with it


def _declared(node: ast.AST, place: str) -> Iterator[DeclaredOption]:
    if not isinstance(node, ast.Call):
        return
    name = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
    texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    where = f"{place}:{node.lineno}"
    if name in _ABSL and texts:
        default = plain_value(node.args[1]) if len(node.args) > 1 else None
        yield DeclaredOption((f"--{texts[0]}",), default, where)
    flags = tuple(text for text in texts if text.startswith("-") and len(text) > 1)
    if name in _DECLARING and flags:
        yield DeclaredOption(flags, _default(node, name), where)


def _default(node: ast.Call, name: str) -> Any:
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    first = node.args[0] if name == "Option" and node.args else None  # typer.Option(3, "--epochs")
    return plain_value(keywords.get("default", first))


def _reached(project: Path, script: Path) -> list[Path]:
    """The script and the project's files that it imports, by way of each other."""
    roots = list(dict.fromkeys([script.parent, project, import_root(project)]))
    found, waiting = [script], [script]
    while waiting and len(found) < _MOST_FILES:
        tree = _parsed(waiting.pop())
        names = _imported(tree) if tree else ()
        for file in (file for name in names for file in _files_of(name, roots)):
            if file not in found:
                found.append(file)
                waiting.append(file)
    return found


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names)


def _files_of(name: str, roots: Sequence[Path]) -> Iterator[Path]:
    if not name:
        return
    for root in roots:
        path = root.joinpath(*name.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                yield file.resolve()
