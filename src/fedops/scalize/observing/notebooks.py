"""A Jupyter notebook in the observed command: its cells are run in order by a plain Python.

The command keeps the notebook's name, and the notebook itself travels to the devices (without its outputs,
which show data). Each time that the command is run, the cells are read anew and handed to
``injected/fedops_watch/notebook_runner.py``, for which neither Jupyter nor FedOps has to be installed.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list
from fedops.scalize.observing.notebook_cells import Cell, python_of
from fedops.scalize.observing.records import Note

SUFFIX = ".ipynb"
CELLS = "notebook.json"
_RUNNER = Path(__file__).parent / "injected" / "fedops_watch" / "notebook_runner.py"
_MOST_BYTES = 100_000_000
_MOST_CELLS = 5_000
#: Programs that run a notebook as it is, with the words that stand before its name.
_WAYS = (
    (),
    ("jupyter", "run"),
    ("jupyter", "execute"),
    ("jupyter-run",),
    ("jupyter-execute",),
    ("ipython",),
    ("ipython3",),
)


@dataclass(frozen=True)
class Notebook:
    """What a notebook computes: (number, Python) of each code cell, and what a person should know."""

    cells: tuple[tuple[int, str], ...]
    notes: tuple[Note, ...]


def named_notebook(command: Sequence[str]) -> str:
    """The notebook that a command runs; "" when it runs none.

    Raises:
        Invalid: it names one in a way that is not known here.
    """
    found = [word for word in command if word.endswith(SUFFIX)]
    if not found:
        return ""
    known = _plain(command[:-1]) in _WAYS and command[-1] == found[0]
    if len(found) > 1 or not (known or _converts(command)):
        raise Invalid(
            f"'{' '.join(command)}': a notebook is run by its name alone; write: {found[0]}"
        )
    return found[0]


def _converts(command: Sequence[str]) -> bool:
    """Whether it is ``jupyter nbconvert --execute``, whose other options say what the output looks like."""
    words = _plain(command)
    converts = words[:2] == ("jupyter", "nbconvert") or words[:1] == ("jupyter-nbconvert",)
    return converts and "--execute" in words


def _plain(words: Sequence[str]) -> tuple[str, ...]:
    """The program's name without its folder."""
    return (Path(words[0]).name, *words[1:]) if words else ()


def runnable(
    command: Sequence[str], cwd: Path, folder: Path, path: str | None = None
) -> tuple[list[str], tuple[Note, ...]]:
    """The command as it can be started in ``cwd``: a notebook is read, and its cells laid into ``folder``.

    A command without a notebook is given back as it is. ``path``: where programs are looked for; None: as
    this process does.

    Raises:
        Invalid: the notebook cannot be read, or a cell of it cannot be run without Jupyter.
    """
    name = named_notebook(command)
    if not name:
        return list(command), ()
    notebook = read_notebook(cwd / name)
    laid = folder / CELLS
    laid.write_text(json.dumps({"name": name, "cells": notebook.cells}), encoding="utf-8")
    return [_interpreter(command, path), str(_RUNNER), str(laid)], notebook.notes


def _interpreter(command: Sequence[str], path: str | None) -> str:
    """The Python beside the program that was named, else the one in use."""
    program = shutil.which(command[0], path=path) if len(command) > 1 else None
    beside = Path(program).parent / "python" if program else None
    if beside and beside.exists():
        return str(beside)
    found = shutil.which("python", path=path) or shutil.which("python3", path=path)
    return found or sys.executable


def read_notebook(file: Path) -> Notebook:
    """The code cells as Python.

    Raises:
        Invalid: it is no notebook of Python in the format 4, or a cell cannot be run without Jupyter.
    """
    content = _loaded(file)
    cells = _code_cells(content, file.name)
    if not cells:
        raise Invalid(f"{file.name}: this notebook has no code")
    try:
        python = tuple((cell.number, python_of(cell)) for cell in cells)
    except Invalid as error:
        raise Invalid(f"{file.name}: {error.message}") from None
    return Notebook(python, tuple(_notes(content, cells, file.name)))


def _loaded(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise Invalid(
                f"{file.name}: larger than {_MOST_BYTES // 1_000_000} MB; clear its outputs and save it"
            )
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(f"{file.name} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise Invalid(f"{file.name} is no notebook: it is not JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise Invalid(
            f"{file.name} is no notebook of format 4; open it in Jupyter and save it anew"
        )
    if (language := _language(content)) not in {"", "python"}:
        raise Invalid(f"{file.name}: its language is {language}; only Python can be run")
    return content


def _language(content: dict[str, Any]) -> str:
    about = content.get("metadata")
    about = about if isinstance(about, dict) else {}
    for table, key in (("language_info", "name"), ("kernelspec", "language")):
        if isinstance(part := about.get(table), dict) and isinstance(part.get(key), str):
            return str(part[key]).lower()
    return ""


def _code_cells(content: dict[str, Any], name: str) -> list[Cell]:
    if len(content["cells"]) > _MOST_CELLS:
        raise Invalid(f"{name}: more than {_MOST_CELLS} cells")
    sources = [
        _source(cell)
        for cell in content["cells"]
        if isinstance(cell, dict) and cell.get("cell_type") == "code"
    ]
    full = [source for source in sources if source.strip()]
    return [Cell(number, source) for number, source in enumerate(full, 1)]


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    lines = source if isinstance(source, list) else [source]
    return "".join(line for line in lines if isinstance(line, str))


def _notes(content: dict[str, Any], cells: list[Cell], name: str) -> list[Note]:
    notes = []
    if dropped := list(dict.fromkeys(word for cell in cells for word in cell.dropped)):
        text = f"left out of {name}, since they only show something: {comma_list(dropped)}"
        notes.append(Note(kind="magics_left_out", text=text, where=name))
    for cell in cells:
        for change in cell.changed:
            where = f"{name}, cell {cell.number}"
            notes.append(Note(kind="magic_changed", text=change, where=where, weight="difference"))
    if _out_of_order(content):
        text = (
            f"the outputs saved in {name} come from cells run in another order; here they are run "
            "from the first to the last"
        )
        notes.append(Note(kind="cells_out_of_order", text=text, where=name, weight="difference"))
    return notes


def _out_of_order(content: dict[str, Any]) -> bool:
    counts = [cell.get("execution_count") for cell in content["cells"] if isinstance(cell, dict)]
    run = [count for count in counts if isinstance(count, int)]
    return run != sorted(run)


def without_outputs(file: Path) -> bytes:
    """The notebook as it may leave this machine: what its cells printed and drew shows data.

    Raises:
        Invalid: it is no notebook.
    """
    content = _loaded(file)
    for cell in content["cells"]:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            cell["outputs"], cell["execution_count"] = [], None
            cell.pop("attachments", None)
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
