"""Where in the project's own code something was called."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import sysconfig
from typing import Any

_OURS = os.path.dirname(os.path.abspath(__file__))
_OTHERS = tuple(
    sorted(
        {
            os.path.realpath(place) + os.sep
            for name in ("stdlib", "platstdlib", "purelib", "platlib")
            for place in [sysconfig.get_paths().get(name)]
            if place
        }
        | {_OURS + os.sep}
    )
)
_known: dict[str, str] = {}
_home: list[str] = []


def seen_from(folder: str) -> None:
    """Name files as seen from this folder from now on, wherever the command goes."""
    _home[:] = [folder]
    _known.clear()


def of_project(file: str) -> str:
    """The file as the project names it, seen from its folder; "" if it is not the project's."""
    if file not in _known:
        _known[file] = _look(file)
    return _known[file]


def _look(file: str) -> str:
    if not file or file.startswith("<"):
        return ""
    path = os.path.realpath(file)
    parts = path.split(os.sep)
    if path.startswith(_OTHERS) or "site-packages" in parts or "dist-packages" in parts:
        return ""
    folder = (_home[0] if _home else os.path.realpath(os.curdir)) + os.sep
    return path[len(folder) :] if path.startswith(folder) else path


def of_caller() -> str:
    """The innermost line of the project on the stack, ``file:line``; "" if there is none."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = of_project(frame.f_code.co_filename)
        if file:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def of_line() -> tuple[str, int]:
    """The same as Python names it: its file and line."""
    frame: Any = sys._getframe(1)
    while frame is not None and not of_project(frame.f_code.co_filename):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)


def came_from(trace: Any, file: str, line: int) -> bool:
    """Whether an error came out of the loop that begins in this line, or of what the line calls."""
    first, last = _loop(file, line)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file and first <= trace.tb_lineno <= last:
            return True
        trace = trace.tb_next
    return False


def _loop(file: str, line: int) -> tuple[int, int]:
    """The lines of a loop; those of the line alone where none begins in it."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return line, line
    loops = (node for node in ast.walk(tree) if isinstance(node, ast.For))
    ends = [node.end_lineno or line for node in loops if node.lineno == line]
    return line, min(ends, default=line)


def of_error(trace: Any) -> str:
    """The last line of the project in a traceback."""
    found = ""
    while trace is not None:
        file = of_project(trace.tb_frame.f_code.co_filename)
        if file:
            found = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
