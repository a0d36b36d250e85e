"""Cells of notebooks: what of IPython is translated, left out or refused."""

import pytest

from fedops.core.errors import Invalid
from fedops.scalize.observing.notebook_cells import Cell, python_of


def converted(*lines: str) -> list[str]:
    return python_of(Cell(3, "\n".join(lines))).split("\n")


def test_magics_are_left_out_and_lines_keep_their_numbers():
    cell = Cell(
        1, "%matplotlib inline\nimport os\nfor n in 'ab':\n    %time x = n\nx?\ny = %time 1"
    )
    assert python_of(cell).split("\n") == [
        "pass",
        "import os",
        "for n in 'ab':",
        "    x = n",
        "pass",
        "y = 1",
    ]
    assert cell.dropped == ["%matplotlib inline", "%time", "x?", "%time"]


def test_a_percent_sign_that_is_pythons_stays():
    lines = ['text = """', "%s and", '!pip install""" + (', "  '%d'", "  % 3)", "%pdb"]
    assert converted(*lines) == [*lines[:-1], "pass"]


def test_magics_that_work_become_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "part.py").write_text("half = 0.5\n")
    names: dict[str, object] = {}
    monkeypatch.delenv("DEPTH", raising=False)
    monkeypatch.setenv("DEPTH", "")
    for source in (
        "%%writefile made.py\nwhole = 2",
        "%env DEPTH=3",
        "%run part\nfrom pathlib import Path\n%cd sub",
    ):
        (tmp_path / "sub").mkdir(exist_ok=True)
        exec(python_of(Cell(1, source)), names)
    assert (tmp_path / "made.py").read_text() == "whole = 2\n"
    assert names["half"] == 0.5
    assert exec("import os; depth, here = os.environ['DEPTH'], os.getcwd()", names) is None
    assert (names["depth"], names["here"]) == ("3", str(tmp_path / "sub"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "import x\n!pip install torch",
            "cell 3 runs another program, 'pip install torch'; install",
        ),
        ("%pip install torch", "install what the notebook needs before"),
        ("files = !ls", "runs another program, 'ls'; do it before"),
        ("%%bash\nls", "begins with %%bash"),
        ("name = input('who?')", "asks with input(), line 1: nobody is there"),
        ("%sql select 1", "has the magic %sql, which is not known"),
        ("def f(:\n  pass", "is not Python: "),
        ("await f()", "is not Python: 'await' outside function"),
        ("%env K={key}", "fills %env from variables"),
    ],
)
def test_what_cannot_run_without_jupyter_is_refused_with_the_cells_number(source, words):
    with pytest.raises(Invalid) as caught:
        python_of(Cell(3, source))
    assert words in caught.value.message
    assert caught.value.message.startswith("cell 3 ")


def test_a_cell_that_was_measured_runs_once_and_says_so():
    cell = Cell(1, "%%timeit -n 100\nx = 1")
    assert python_of(cell) == "\nx = 1"
    assert cell.changed == ["%%timeit runs its cell many times; here it runs once"]
