"""A question about a project, answered by a process that may import it: with the environment that training
has, limited, and ended with all that it has started.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from fedops.core.redaction import HIDDEN, redact
from fedops.processes.own_folder import own_folder
from fedops.processes.process_tree import end_named_tree
from fedops.processes.spawn import clean_env, let_go, spawn, without_credentials
from fedops.waiting import Timeout

#: Beside the answer's file: lines on how far it is, for ``on_progress``.
PROGRESS = "progress.txt"
_TAIL = 15
_LOOK_SECONDS = 0.1
#: A shorter value of a variable is no secret that can be told from other words.
_SECRET_LENGTH = 6
IMPORTED = (
    "does importing the project start its training? What it does as a script belongs under "
    'if __name__ == "__main__":'
)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Asked:
    """How a question is put."""

    seconds: float
    #: What it is that is done, and what may be wrong when it takes too long, for that sentence.
    what: str = "check"
    when_late: str = IMPORTED
    #: Where its relative paths start, and what is first on its import path; None: ours, and nothing.
    cwd: Path | None = None
    on_progress: Callable[[str], None] = field(default=lambda line: None)


def ask_process(
    program: str,
    words: Sequence[str],
    seconds: float,
    kind: type[M],
    what: str = "check",
    when_late: str = IMPORTED,
) -> tuple[M | None, str]:
    """``put_to_process`` with what most questions need."""
    return put_to_process(program, words, kind, Asked(seconds, what, when_late))


def put_to_process(
    program: str, words: Sequence[str], kind: type[M], asked: Asked
) -> tuple[M | None, str]:
    """Run the module ``program`` with ``words`` and the name of a file for its answer.

    The answer, or None and why there is none. No value of a secret variable is in either.
    """
    with own_folder(asked.what) as folder:
        answer, output = folder / "report.json", folder / "output.txt"
        env = training_environment()
        ended = _run([program, *words, str(answer)], output, asked, env)
        try:
            return kind.model_validate_json(_masked(answer.read_text(encoding="utf-8"), env)), ""
        except (OSError, ValueError):
            said = _masked(output.read_text(encoding="utf-8", errors="replace"), env)
            late = f"the {asked.what} did not end within {asked.seconds:.0f} s; {asked.when_late}"
            tail = redact(said).splitlines()[-_TAIL:]
            return None, _ended_badly(late if ended is None else "", ended, tail)


def _run(words: list[str], output: Path, asked: Asked, env: Mapping[str, str]) -> int | None:
    """Run the examination. Its exit code, or None when it took too long and was ended."""
    tree = f"{asked.what}-{uuid.uuid4().hex}"
    how = ["-B"] if asked.cwd else ["-B", "-P"]
    with output.open("wb") as file:
        child = spawn(
            [sys.executable, *how, "-m", "fedops.processes.tied_module", *words],
            env=env,
            cwd=asked.cwd,
            tree=tree,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        return _awaited(child, Path(words[-1]).with_name(PROGRESS), asked)
    finally:
        end_named_tree(tree, grace=0.0)  # also what it may have started
        let_go(child)
        child.wait()


def _awaited(child: subprocess.Popen[bytes], progress: Path, asked: Asked) -> int | None:
    timeout, lines, ended = Timeout(asked.seconds), _new_lines(progress), None
    while ended is None and not timeout.is_over:
        with contextlib.suppress(subprocess.TimeoutExpired):
            ended = child.wait(min(_LOOK_SECONDS, timeout.seconds_left))
        for line in next(lines):
            asked.on_progress(line)
    return ended


def _new_lines(file: Path) -> Iterator[list[str]]:
    """What has been written to the file since the last look, as far as its lines are whole."""
    seen = 0
    while True:
        whole: list[bytes] = []
        with contextlib.suppress(OSError), file.open("rb") as opened:
            opened.seek(seen)
            whole = [line for line in opened.readlines() if line.endswith(b"\n")]
        seen += sum(map(len, whole))
        yield [line.decode("utf-8", "replace").rstrip("\n") for line in whole]


def training_environment() -> dict[str, str]:
    """What a device's training client has from this shell, so that what passes here runs there."""
    return clean_env({"FLWR_TELEMETRY_ENABLED": "0", "PYTHONUNBUFFERED": "1"})


def _masked(text: str, env: Mapping[str, str]) -> str:
    """The text without the values of variables that hold somebody's credentials."""
    shown = without_credentials(env)
    secrets = {value for name, value in env.items() if name not in shown}
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) >= _SECRET_LENGTH:
            for written in {value, json.dumps(value)[1:-1]}:
                text = text.replace(written, HIDDEN)
    return text


def _ended_badly(late: str, ended: int | None, tail: list[str]) -> str:
    why = late or f"the process that imported the project ended with code {ended} and no answer"
    return "\n  ".join([why, *(["its last words:", *tail] if tail else [])])
