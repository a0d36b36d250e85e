"""What a person should know of a watched run before it becomes an app."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedops.scalize.discovery.observed.argument_paths import ArgumentPath
from fedops.scalize.discovery.observed.look import Look
from fedops.scalize.observing.records import Note, Seen, SeenModel

_MOST = 5
_CODE = (".py", ".pyc", ".pyi", ".so", ".ipynb", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".sh")
#: Files of the system and of what is installed: nobody has to bring them.
_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/opt",
    "/bin",
    "/var",
)


def facts(look: Look, models: Sequence[SeenModel], paths: Sequence[ArgumentPath]) -> Iterator[Note]:
    """Notes on what travels, what begins anew, what the run wrote and what it needs to find."""
    seen = look.seen
    if any(model.framework == "pytorch" for model in models):
        yield Note(
            kind="optimizer_begins_anew",
            text="the optimizer's own state (its moments) begins anew in each round",
            where=next((o.where for o in seen.optimizers), ""),
        )
    if (states := max((model.put_in for model in models), default=1)) > 1:
        text = (
            f"training sees {states} different states of parameters before it begins (such as another stage, "
            "or a checkpoint that is loaded); the global model goes in at the last of them"
        )
        yield Note(kind="put_in", text=text)
    if look.evaluation_mode:
        text = "the model trains in evaluation mode, as the command wants it"
        yield Note(kind="evaluation_mode", text=text)
    if seen.examples is None:
        text = "how many examples a round trains on could not be counted: devices announce their number"
        yield Note(kind="examples_unknown", text=text)
    if files := [file for file in seen.written if not _is_passing(file, look.project)]:
        yield Note(kind="files_written", text=f"the run wrote {_listed(files)}")
    if outside := [
        file for file in files if not (look.project / file).resolve().is_relative_to(look.project)
    ]:
        text = (
            f"outside of the project it wrote {_listed(outside)}: devices do not let a command do that, and "
            "'fedops check' shows whether it can do without"
        )
        yield Note(kind="writes_outside", text=text)
    yield from _needed(look, paths)


def _needed(look: Look, paths: Sequence[ArgumentPath]) -> Iterator[Note]:
    """The data that the code names itself, which each device must have in the same place."""
    given = [(look.project / path.path).resolve() for path in paths]
    files = list(_data(look.seen, look.project, given))
    if files:
        text = f"each device must have in the same place: {_listed(files)}"
        yield Note(kind="data_in_the_code", text=text)


def _data(seen: Seen, project: Path, given: Sequence[Path]) -> Iterator[str]:
    elsewhere = [
        Path(folder) for folder in (*_SYSTEM, tempfile.gettempdir(), sys.prefix, sys.base_prefix)
    ]
    written = {(project / file).resolve() for file in seen.written}
    for name in dict.fromkeys(seen.read):
        file = (project / name).resolve()
        inside = file.is_relative_to(project)
        foreign = not inside and (
            any(map(file.is_relative_to, elsewhere))
            or "site-packages" in file.parts
            or _hidden(file)
        )
        known = file in written or any(map(file.is_relative_to, given))
        there = file.exists()  # what is looked for under a name of its own may be no file
        if there and not (foreign or known or file.suffix in _CODE or _hidden(Path(name))):
            yield file.relative_to(project).as_posix() if inside else name


def _is_passing(name: str, project: Path) -> bool:
    """Whether a file is one of the many that programs keep for themselves: temporary ones, caches."""
    file = (project / name).resolve()
    if file == project.resolve():
        return True  # made, where it is already
    temporary = file.is_relative_to(Path(tempfile.gettempdir()).resolve())
    return not file.is_relative_to(project) and (temporary or _hidden(file))


def _hidden(file: Path) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in file.parts)


def _listed(files: Sequence[str]) -> str:
    more = f" and {len(files) - _MOST} more" if len(files) > _MOST else ""
    return ", ".join(files[:_MOST]) + more
