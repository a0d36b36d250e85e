"""One cell of a notebook as plain Python: what IPython understands beside Python is translated or refused.

A line begins with a magic only where a statement may begin: ``% x`` in a bracket or in a long string is
Python's own. So each line that might be one is looked at together with the Python that stands before it.
"""

from __future__ import annotations

import ast
import io
import re
import shlex
import tokenize
import warnings
from dataclasses import dataclass, field

from fedops.core.errors import Invalid

#: They change what is shown or how the notebook is worked with, never what is computed.
_OF_DISPLAY = {
    *("matplotlib", "load_ext", "reload_ext", "unload_ext", "autoreload", "aimport", "config"),
    *("precision", "colors", "xmode", "pdb", "debug", "who", "whos", "who_ls", "pwd", "ls", "ll"),
    *("tensorboard", "history", "hist", "lsmagic", "magic", "quickref", "pinfo", "doc", "pprint"),
    *("logstart", "logstop", "alias_magic", "automagic", "memit", "watermark"),
}
#: Cells whose text is shown or drawn.
_SHOWN_CELLS = {"html", "HTML", "javascript", "js", "latex", "markdown", "svg", "SVG"}
#: Cells and lines that run their Python and say something about it.
_MEASURED = {"time", "capture", "prun", "memit"}
_MAGIC = re.compile(r"^(?P<indent>\s*)%(?P<name>[A-Za-z_][\w.]*)[ \t]*(?P<rest>.*)$", re.S)
_ASSIGNED = re.compile(r"^(?P<left>\s*[\w.,\s\[\]()]+?=\s*)(?P<sign>[%!])(?P<rest>\S.*)$", re.S)
_QUESTION = re.compile(r"^\s*(\?{1,2}\s*[\w.%*]+|%{0,2}[\w.*\[\]]+\?{1,2})\s*;?\s*(#.*)?$")


@dataclass
class Cell:
    """A code cell: ``number`` is what a notebook shows in ``[ ]`` after "restart and run all"."""

    number: int
    source: str
    #: Magics that were left out, as they stood there.
    dropped: list[str] = field(default_factory=list)
    #: Magics that run many times or elsewhere what now runs once, or not at all.
    changed: list[str] = field(default_factory=list)

    def refuse(self, what: str) -> Invalid:
        return Invalid(f"cell {self.number} {what}")


def python_of(cell: Cell) -> str:
    """The cell as Python, with as many lines, so that a line's number stays what it was.

    Raises:
        Invalid: it runs another program, asks somebody something, or holds a magic that is not known.
    """
    source = _without_cell_magic(cell)
    if _parsed(source) is None:
        source = _without_line_magics(cell, source)
    tree = _parsed(source)
    if tree is None:
        raise cell.refuse(f"is not Python: {_complaint(source)}")
    _refuse_questions(cell, tree)
    return source


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of escapes in the user's strings
            compile(source, "cell", "exec", dont_inherit=True)
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _complaint(source: str) -> str:
    try:
        compile(source, "cell", "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{error.msg}, line {error.lineno}"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error)
    return "its syntax is not known here"


# --- magics of a whole cell ------------------------------------------------------------------------


def _without_cell_magic(cell: Cell) -> str:
    lines = cell.source.split("\n")
    first = next((n for n, line in enumerate(lines) if line.strip()), 0)
    line = lines[first].strip()
    if not line.startswith("%%"):
        return cell.source
    name, _, rest = line[2:].partition(" ")
    body = "\n".join([""] * (first + 1) + lines[first + 1 :])
    if name in _SHOWN_CELLS:
        cell.dropped.append(f"%%{name}")
        return "\n" * (len(lines) - 1)
    if name == "timeit":
        cell.changed.append("%%timeit runs its cell many times; here it runs once")
        return body
    if name in _MEASURED:
        if name == "capture" and (kept := [w for w in rest.split() if not w.startswith("-")]):
            raise cell.refuse(f"keeps its output as {kept[0]} (%%capture); write %%capture alone")
        cell.dropped.append(line)
        return body
    if name in {"writefile", "file"}:
        return _written(cell, rest, "\n".join(lines[first + 1 :]), len(lines))
    raise cell.refuse(
        f"begins with %%{name}, which runs something else than this notebook's Python; "
        "do that before the notebook, or write it in Python"
    )


def _written(cell: Cell, rest: str, text: str, lines: int) -> str:
    """``%%writefile [-a] NAME``."""
    words = [word.strip("'\"") for word in rest.split()]
    mode = "a" if {"-a", "--append"} & set(words) else "w"
    names = [word for word in words if not word.startswith("-")]
    if len(names) != 1 or "{" in rest or "$" in rest:
        raise cell.refuse("has a %%writefile that does not name one file")
    whole = text if text.endswith("\n") else text + "\n"
    statement = (
        f"with open({names[0]!r}, {mode!r}, encoding='utf-8') as _file: _file.write({whole!r})"
    )
    return statement + "\n" * (lines - 1)


# --- magics of a line ------------------------------------------------------------------------------


def _without_line_magics(cell: Cell, source: str) -> str:
    lines = source.split("\n")
    done: list[str] = []
    index = 0
    while index < len(lines):
        line, taken = lines[index], 1
        if _may_be_magic(line) and not _goes_on(done):
            while line.endswith("\\") and index + taken < len(lines):
                line = line[:-1] + lines[index + taken].strip()
                taken += 1
            line = _translated(cell, line)
        done += [line, *[""] * (taken - 1)]
        index += taken
    return "\n".join(done)


def _may_be_magic(line: str) -> bool:
    bare = line.strip()
    return bare.startswith(("%", "!", "?")) or bool(_QUESTION.match(line) or _ASSIGNED.match(line))


def _goes_on(before: list[str]) -> bool:
    """Whether a bracket, a string or a broken line is still open at the end of these lines."""
    if before and before[-1].endswith("\\"):
        return True
    try:
        list(tokenize.generate_tokens(io.StringIO("\n".join(before) + "\n").readline))
    except tokenize.TokenError as error:
        return "multi-line" in str(error) or "triple-quoted" in str(error)
    except SyntaxError:
        return False
    return False


def _translated(cell: Cell, line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    if line.strip().startswith("!"):
        raise _other_program(cell, line.strip().lstrip("!"))
    if assigned := _ASSIGNED.match(line):
        if assigned["sign"] == "!":
            raise _other_program(cell, assigned["rest"])
        return assigned["left"] + _magic(cell, "", "%" + assigned["rest"], value=True)
    if _QUESTION.match(line):
        cell.dropped.append(line.strip())
        return indent + "pass"
    return _magic(cell, indent, line, value=False)


def _magic(cell: Cell, indent: str, line: str, *, value: bool) -> str:
    found = _MAGIC.match(line)
    if found is None:
        raise cell.refuse(f"has the line '{line.strip()}', which is not Python")
    name, rest = found["name"], found["rest"].strip()
    if name in _MEASURED and rest:
        cell.dropped.append(f"%{name}")
        return indent + rest
    if value:
        raise cell.refuse(f"takes a value from the magic %{name}; write it in Python")
    if name in _OF_DISPLAY or name in _MEASURED:
        cell.dropped.append(line.strip())
        return indent + "pass"
    if name == "timeit":
        cell.changed.append("%timeit runs its line many times; here it does not run")
        return indent + "pass"
    return indent + _working_magic(cell, name, rest)


def _working_magic(cell: Cell, name: str, rest: str) -> str:
    """Magics that do something that the notebook needs, as Python."""
    if name in {"pip", "conda", "mamba", "uv"}:
        raise _other_program(cell, f"{name} {rest}")
    if "{" in rest or "$" in rest:
        raise cell.refuse(f"fills %{name} from variables; write it in Python")
    if (name in {"env", "set_env"} and "=" in rest) or (name == "set_env" and " " in rest):
        key, _, text = rest.partition("=" if "=" in rest else " ")
        return f"__import__('os').environ[{key.strip()!r}] = {text.strip()!r}"
    if name == "env":
        cell.dropped.append(f"%env {rest}".strip())
        return "pass"
    if name == "cd" and rest:
        return f"__import__('os').chdir(__import__('os').path.expanduser({rest.strip(chr(34) + chr(39))!r}))"
    if name == "run":
        return _run(cell, rest)
    raise cell.refuse(
        f"has the magic %{name}, which is not known here; take it out or write it in Python"
    )


def _run(cell: Cell, rest: str) -> str:
    """``%run FILE``: its names become the notebook's."""
    words = _words(rest)
    if len(words) != 1 or words[0].startswith("-") or words[0].endswith(".ipynb"):
        raise cell.refuse(f"has '%run {rest}'; only a Python file without options can be run so")
    name = words[0] if words[0].endswith(".py") else words[0] + ".py"
    ran = f"__import__('runpy').run_path({name!r}, run_name='__main__')"
    return f"globals().update({{k: v for k, v in {ran}.items() if not k.startswith('__')}})"


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _other_program(cell: Cell, command: str) -> Invalid:
    words = command.split()
    installs = {"pip", "pip3", "conda", "mamba", "apt", "apt-get", "uv"} & set(words[:3])
    advice = (
        "install what the notebook needs before it is run, and take the line out"
        if installs
        else "do it before the notebook is run, and take the line out, or write it in Python"
    )
    return cell.refuse(f"runs another program, '{command.strip()[:60]}'; {advice}")


# --- questions -------------------------------------------------------------------------------------


def _refuse_questions(cell: Cell, tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in {"input", "raw_input", "getpass", "getpass.getpass"}:
                raise cell.refuse(
                    f"asks with {name}(), line {node.lineno}: nobody is there to answer on a device; "
                    "write the value, or take it from an environment variable"
                )
