"""Runs the cells of a notebook in order, as its kernel would: ``python notebook_runner.py CELLS.json``.

A traceback names the cell and the line in it. Standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import linecache
import os
import sys
import traceback
import types
from typing import Any

_HARMLESS = ("matplotlib", "load_ext", "reload_ext", "autoreload", "config", "pylab", "precision")


class _Events:
    """No cell is run by a shell, so nobody is told of one."""

    def register(self, event: str, function: Any) -> None:
        """Matplotlib would draw after each cell."""

    unregister = register


class _Shell:
    """What ``get_ipython()`` answers outside Jupyter."""

    def __init__(self) -> None:
        self.events = _Events()
        self.config: dict[str, Any] = {}

    def enable_gui(self, gui: Any = None) -> None:
        """There is no window to keep alive."""

    def run_line_magic(self, name: str, line: str = "", *more: Any) -> None:
        if name not in _HARMLESS:
            raise RuntimeError("the magic %" + name + " needs Jupyter")

    magic = run_line_magic

    def system(self, command: str) -> None:
        raise RuntimeError("a notebook that runs another program needs Jupyter: " + command)

    getoutput = system


class _Shown:
    """Stands for ``IPython.display.HTML`` and its like: takes anything and shows nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.data = args[0] if args else None

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Nothing was shown that could change."""


def _display(*objects: Any, **kwargs: Any) -> Any:
    for one in objects:
        if not isinstance(one, _Shown):
            sys.stdout.write(str(one) + "\n")
    return _Shown() if kwargs.get("display_id") else None


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def _stand_in_for_ipython() -> None:
    """Where IPython is not installed, ``from IPython.display import display`` works all the same."""
    if importlib.util.find_spec("IPython") is not None:
        return
    top: Any = types.ModuleType("IPython")
    shown: Any = types.ModuleType("IPython.display")
    for name, module in (("IPython", top), ("IPython.display", shown)):
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        sys.modules[name] = module
    for name in ("HTML", "Image", "Markdown", "Latex", "SVG", "Audio", "Video", "IFrame", "Code"):
        setattr(shown, name, _Shown)
    shown.display = top.display = _display
    shown.clear_output = _nothing
    shown.set_matplotlib_formats = _nothing
    top.get_ipython = _Shell
    top.display = shown
    top.version_info = (9, 0, 0, "")


def _module(folder: str) -> types.ModuleType:
    """The notebook's ``__main__``. It has no ``__file__``, as in a kernel: a process that is spawned does
    not run the cells again."""
    main = types.ModuleType("__main__")
    main.__dict__.update(display=_display, get_ipython=_Shell, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    sys.path[0] = folder
    return main


def _run(file: str) -> None:
    with open(file, encoding="utf-8") as opened:
        told = json.load(opened)
    cells: list[tuple[int, str]] = told["cells"]
    name = os.path.abspath(told["name"])
    os.chdir(os.path.dirname(name))
    sys.argv = [name]
    os.environ.setdefault("MPLBACKEND", "Agg")
    main = _module(os.path.dirname(name))
    _stand_in_for_ipython()
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = traceback.print_exception  # shows the lines of cells, unlike the other
    for number, source in cells:
        place = f"{name}, cell {number}"
        # The size, no time of change, the lines: what inspect and tracebacks show.
        linecache.cache[place] = (len(source), None, source.splitlines(True), place)
        exec(compile(source, place, "exec", dont_inherit=True), main.__dict__)


_run(sys.argv[1])
