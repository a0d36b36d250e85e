"""Paths among a command's arguments: where each device's owner names a path of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SOURCE = (".py", ".ipynb", ".sh")
_SETTINGS = (".yaml", ".yml", ".toml", ".ini", ".cfg")
_DATA = (
    ".csv",
    ".tsv",
    ".json",
    ".jsonl",
    ".parquet",
    ".npz",
    ".npy",
    ".pt",
    ".h5",
    ".txt",
    ".zip",
)
#: Variables in front of a command that name where code lies.
_OF_CODE = frozenset({"LD_LIBRARY_PATH", "PATH", "PYTHONPATH"})
_NAMED_SETTINGS = re.compile(r"conf(ig)?|cfg|settings", re.IGNORECASE)
_NAMED_PATH = re.compile(
    r"data|dir|root|path|file|folder|images?|masks?|corpus|input", re.IGNORECASE
)
#: A folder or file that programs keep for themselves, such as ``../.git``.
_HIDDEN = re.compile(r"(^|/)\.(?!\.?(/|$))")


@dataclass(frozen=True)
class ArgumentPath:
    """An argument that names something that is there."""

    name: str  #: of its placeholder, without braces
    place: int  #: of its word in the command
    path: str  #: as it was written
    prefix: str = ""  #: what stands before it in the same word: ``--data=``


@dataclass(frozen=True)
class _Argument:
    place: int
    option: str  #: the option that it belongs to; empty: none
    value: str
    prefix: str = ""


def argument_paths(
    words: Sequence[str], project: Path, read: Sequence[str], written: Sequence[str]
) -> list[ArgumentPath]:
    """The arguments that name data: they exist, and are neither code nor settings nor the run's output.

    ``read`` and ``written`` are the files of the run, seen from ``project`` or absolute.
    """
    found: list[ArgumentPath] = []
    for argument in _arguments(words):
        place = _resolved(argument.value, project)
        if place is None or _is_code(argument, place, project):
            continue
        was_read = _any_below(place, project, read)
        is_output = _any_below(place, project, written) and not was_read
        if not is_output and (was_read or _looks_like_data(argument)):
            name = _name(argument.option, [path.name for path in found])
            found.append(ArgumentPath(name, argument.place, argument.value, argument.prefix))
    return found


def outputs_elsewhere(
    words: Sequence[str], project: Path, written: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Arguments below which the run wrote outside of the project, and the first file that it wrote there."""
    for argument in _arguments(words):
        place = _resolved(argument.value, project)
        if place is None or place.is_relative_to(project):
            continue
        below = (file for file in written if (project / file).resolve().is_relative_to(place))
        if (file := next(below, None)) is not None:
            yield argument.value, file


def read_above(
    words: Sequence[str], project: Path, read: Sequence[str], written: Sequence[str]
) -> str:
    """The first file that the code itself names as seen from its folder, and that lies above; "" if none.

    What an argument names is not meant: each device's owner names that.
    """
    named = [
        _resolved(path.path, project) for path in argument_paths(words, project, read, written)
    ]
    above = (file for file in read if file.startswith("../") and not _HIDDEN.search(file))
    for file in above:
        if not any(place and _any_below(place, project, [file]) for place in named):
            return file
    return ""


def within_project(words: Sequence[str], project: Path) -> list[str]:
    """The command with the project's own files as they are seen from its folder."""
    seen = list(words)
    for argument in _arguments(words):
        place = _resolved(argument.value, project)
        absolute = Path(argument.value).is_absolute()
        if absolute and place is not None and place.is_relative_to(project):
            seen[argument.place] = f"{argument.prefix}{place.relative_to(project).as_posix()}"
    return seen


def with_placeholders(words: Sequence[str], paths: Sequence[ArgumentPath]) -> list[str]:
    """The command with ``{name}`` in the place of each path."""
    replaced = list(words)
    for path in paths:
        replaced[path.place] = f"{path.prefix}{{{path.name}}}"
    return replaced


def _arguments(words: Sequence[str]) -> Iterator[_Argument]:
    """Every word behind the program that could be a value, with the option that it belongs to."""
    option = ""
    for place, word in enumerate(words[1:], 1):
        name, equals, value = word.partition("=")
        if name in _OF_CODE and equals:
            continue
        if equals and re.fullmatch(r"-{0,2}\+{0,2}[\w.-]+", name):
            yield _Argument(place, name.lstrip("-+"), value, f"{name}=")
            option = ""
        elif word.startswith("-"):
            option = word.lstrip("-")
        else:
            yield _Argument(place, option, word)
            option = ""


def _resolved(value: str, project: Path) -> Path | None:
    try:
        place = (project / value).resolve()
        return place if value and place.exists() else None
    except (OSError, ValueError):
        return None  # too long for a name, or with a null character


def _is_code(argument: _Argument, place: Path, project: Path) -> bool:
    inside = place.is_relative_to(project)
    if argument.option == "m" or place.suffix in _SOURCE or place == project:
        return True
    if inside and (place.suffix in _SETTINGS or _NAMED_SETTINGS.search(argument.option)):
        return True
    return inside and place.is_dir() and next(place.glob("*.py"), None) is not None


def _any_below(place: Path, project: Path, files: Sequence[str]) -> bool:
    return any((project / file).resolve().is_relative_to(place) for file in files)


def _looks_like_data(argument: _Argument) -> bool:
    """Whether the word means a path, not a name that a file happens to have."""
    value = argument.value
    return (
        "/" in value
        or "\\" in value
        or value.endswith(_DATA)
        or _NAMED_PATH.search(argument.option) is not None
    )


def _name(option: str, taken: Sequence[str]) -> str:
    words = re.sub(r"\W+", "_", option.rpartition(".")[2].lower()).strip("_")
    name = words if words and not words[0].isdigit() and len(words) > 1 else "data"
    numbers = (f"{name}{number or ''}" for number in (0, *range(2, len(taken) + 3)))
    return next(free for free in numbers if free not in taken)
