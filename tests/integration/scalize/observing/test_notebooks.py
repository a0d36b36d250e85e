"""Notebooks, read and run by a plain Python."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedops.core.errors import Invalid
from fedops.scalize.bundle.bundle_files import carried_files
from fedops.scalize.observing.notebooks import (
    named_notebook,
    read_notebook,
    runnable,
)
from fedops.scalize.observing.records import Job
from fedops.scalize.observing.running import watch


def notebook(file: Path, *cells: str, counts: tuple[int, ...] = (), **about: object) -> Path:
    made = [
        {
            "cell_type": "code",
            "source": cell.splitlines(keepends=True),
            "execution_count": counts[number] if counts else None,
            "outputs": [{"output_type": "stream", "text": ["patient 7"]}],
            "metadata": {},
        }
        for number, cell in enumerate(cells)
    ]
    text = {"cell_type": "markdown", "source": "# !pip in a text", "metadata": {}}
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"nbformat": 4, "metadata": about, "cells": [text, *made]}))
    return file


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_cells_run_in_the_notebooks_folder_as_one_program(tmp_path):
    notebook(
        tmp_path / "study" / "train.ipynb",
        "%matplotlib inline\nfrom helper import three\nfrom IPython.display import display",
        "class Net:\n    value = three\n\ndef made():\n    return Net()",
        "import inspect, pickle, sys\n"
        "display(pickle.loads(pickle.dumps(Net)).value)\n"
        "get_ipython().run_line_magic('matplotlib', 'inline')\n"
        "print(inspect.getsource(made).strip() + '|', __name__, '__file__' in globals(), sys.argv[0])",
        "def fails():\n    raise OSError('late')\n\nfails()",
    )
    (tmp_path / "study" / "helper.py").write_text("three = 3\n")
    command, notes = runnable(["jupyter", "run", "study/train.ipynb"], tmp_path, tmp_path)
    ended = run(command, tmp_path)
    place = tmp_path / "study" / "train.ipynb"
    assert ended.stdout.replace("| ", "|\n").split("\n")[:3] == [
        "3",
        "def made():",
        "    return Net()|",
    ]
    assert f"| __main__ False {place}" in ended.stdout
    assert f'File "{place}, cell 4", line 2, in fails\n    raise OSError' in ended.stderr
    assert [note.text for note in notes] == [
        "left out of train.ipynb, since they only show something: '%matplotlib inline'"
    ]


def test_libraries_may_ask_for_the_shell_as_matplotlib_does(tmp_path):
    file = notebook(
        tmp_path / "plots.ipynb",
        "import IPython\nshell = IPython.get_ipython() or get_ipython()",
        "print(len(IPython.version_info) > 1)\nshell.events.register('post_execute', print)",
        "shell.enable_gui('agg')\nprint('IPKernelApp' in shell.config)",
    )
    command, _ = runnable([str(file)], tmp_path, tmp_path)
    ended = run(command, tmp_path)
    assert (ended.stdout, ended.returncode) == ("True\nFalse\n", 0), ended.stderr


def test_cells_that_were_run_in_another_order_are_told(tmp_path):
    read = read_notebook(notebook(tmp_path / "a.ipynb", "x = 1", "y = 2", counts=(4, 2)))
    assert [note.kind for note in read.notes] == ["cells_out_of_order"]
    assert read.cells == ((1, "x = 1"), (2, "y = 2"))


def test_outputs_do_not_leave_the_machine_with_an_app(tmp_path):
    file = notebook(tmp_path / "a.ipynb", "x = 1", counts=(4,))
    app = tmp_path / "federated"
    app.mkdir()
    (app / "config.toml").write_text("")
    table = 'package = "p"\nconfig = "config.toml"\npath = [".", ".."]\nworkdir = ".."\n'
    (app / "pyproject.toml").write_text(f'[tool.fedops]\n{table}carry = ["a.ipynb"]\n')
    clean = carried_files(app)["carried/a.ipynb"]
    assert isinstance(clean, bytes)
    assert b"patient" not in clean
    (tmp_path / "b.ipynb").write_bytes(clean)
    assert read_notebook(tmp_path / "b.ipynb").cells == read_notebook(file).cells


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "is no notebook: it is not JSON"),
        ('{"worksheets": []}', "is no notebook of format 4"),
        ('{"cells": []}', "this notebook has no code"),
        ('{"cells": [], "metadata": {"kernelspec": {"language": "R"}}}', "its language is r"),
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path, text, words):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(Invalid, match=words):
        runnable(["a.ipynb"], tmp_path, tmp_path)
    with pytest.raises(Invalid, match=r"b\.ipynb cannot be read: No such file"):
        runnable(["b.ipynb"], tmp_path, tmp_path)


def test_a_notebook_is_known_by_its_name_in_the_command():
    assert named_notebook(["/env/bin/jupyter", "execute", "a.ipynb"]) == "a.ipynb"
    converting = ["jupyter", "nbconvert", "--to", "notebook", "--execute", "a.ipynb", "--stdout"]
    assert named_notebook(converting) == "a.ipynb"
    assert named_notebook(["python", "main.py"]) == ""
    with pytest.raises(Invalid, match=r"run by its name alone; write: a\.ipynb"):
        named_notebook(["papermill", "a.ipynb", "b.ipynb"])


def test_a_notebook_is_watched_as_a_script_is(tmp_path):
    notebook(tmp_path / "train.ipynb", "%matplotlib inline\nx = 1", "def f():\n    x / 0", "f()")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path}
    seen = watch(["train.ipynb"], tmp_path, Job(folder=tmp_path / "job"), env=env, seconds=100)
    assert (seen.ended, seen.exit_code, seen.error_where) == ("failed", 1, "train.ipynb, cell 2:2")
    assert "magics_left_out" in {note.kind for note in seen.notes}
