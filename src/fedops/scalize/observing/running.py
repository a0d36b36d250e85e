"""Runs a command with our hooks in every Python that it starts, and reads what they saw."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from fedops.core.errors import Invalid
from fedops.processes.process_tree import end_named_tree
from fedops.processes.spawn import clean_env, let_go, spawn, tethered
from fedops.processes.threads import in_thread
from fedops.scalize.adapter.protocol import Cancelled
from fedops.scalize.observing.command_variables import variables_of
from fedops.scalize.observing.notebooks import runnable
from fedops.scalize.observing.records import CLAIM, JOB, SEEN, VARIABLE, Job, Note, Seen

INJECTED = Path(__file__).parent / "injected"
#: What the command says, in the job's folder.
OUTPUT = "output.log"
_MOST_OUTPUT = 16 * 1024 * 1024
_MOST_LINE = 8192
_TAIL = 12
_LOOK_SECONDS = 0.1
#: An answer larger than this is none of ours. Bytes.
_MOST_ANSWER = 256 * 1024 * 1024
_SIGNALS = frozenset(int(one) for one in signal.Signals)
_ERROR = re.compile(r"(^|\W)\w*(error|exception)\b(?!=)", re.IGNORECASE)
_UNWATCHED = (
    "no Python that the command started could be watched; if a shell script sets PYTHONPATH, it has to keep "
    "what stands there: PYTHONPATH=...:$PYTHONPATH"
)
Say = Callable[[str], object]


def watch(
    command: Sequence[str],
    cwd: Path,
    job: Job,
    *,
    env: Mapping[str, str] | None = None,
    seconds: float,
    cancelled: Callable[[], bool] | None = None,
    on_output: Say | None = None,
) -> Seen:
    """Run ``command`` in ``cwd`` and tell what was seen; all that it started is gone then.

    A notebook in the command is run cell by cell (``notebooks.runnable``).
    ``env`` None: this process's variables without FedOps' secrets. What the command says goes line by line
    to ``on_output`` and to ``output.log`` in the job's folder. An exit status other than 0 is in the answer.

    Raises:
        Invalid: it cannot be started, took more than ``seconds``, or no Python of it could be watched.
        Cancelled: ``cancelled()`` was true, which is asked ten times a second.
    """
    given, words = variables_of(command)
    variables = {**_variables(job, env), **given}
    _prepare(job, cwd)
    started, notes = runnable(words, cwd, job.folder, variables.get("PATH"))
    _require_program(started, cwd, variables)
    run = _Run(started, cwd, job, variables, on_output)
    try:
        late = run.wait(seconds, cancelled or (lambda: False))
    finally:
        code = run.end()
    seen = _answer(job, code, _LATE.format(seconds=seconds) if late else "")
    return seen.model_copy(update={"notes": [*notes, *seen.notes]})


def _variables(job: Job, env: Mapping[str, str] | None) -> dict[str, str]:
    variables = dict(env) if env is not None else _of_this_process()
    # An answer that holds on to lines until its end shows no progress.
    variables.setdefault("PYTHONUNBUFFERED", "1")
    variables.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra keeps to itself where an error came from
    if job.seed is not None:
        variables["PYTHONHASHSEED"] = str(job.seed % 2**32)
    return variables


def _of_this_process() -> dict[str, str]:
    path = os.environ.get("PATH", os.defpath)  # the user's own interpreter, not ours
    return {**clean_env(), "PATH": path}


def _require_program(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
    if not command:
        raise Invalid("no command is named; write it after '--', as in: -- python main.py")
    if not cwd.is_dir():
        raise Invalid(f"there is no folder {cwd} to run the command in")
    program = command[0]
    if os.sep in program:
        found = os.access(cwd / program, os.X_OK)
    else:
        found = shutil.which(program, path=env.get("PATH")) is not None
    if not found:
        raise Invalid(f"cannot start '{program}': there is no such program that can be run")


def _prepare(job: Job, cwd: Path) -> None:
    """The job's file, and no answer of a former run."""
    job.folder.mkdir(parents=True, exist_ok=True)
    for pattern in (SEEN, f"{CLAIM}*", "unclaimed-*", "*.part*"):
        for path in job.folder.glob(pattern):
            path.unlink(missing_ok=True)
    absolute = job.model_copy(update={"folder": job.folder.resolve(), "home": cwd.resolve()})
    (job.folder / JOB).write_text(absolute.model_dump_json(), encoding="utf-8")


class _Run:
    """A command on its way."""

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        job: Job,
        env: Mapping[str, str],
        say: Say | None,
    ) -> None:
        self._tree = f"watch-{uuid.uuid4().hex}"
        path = os.pathsep.join(filter(None, [str(INJECTED), env.get("PYTHONPATH", "")]))
        extra = {"PYTHONPATH": path, VARIABLE: str((job.folder / JOB).resolve())}
        self._child = spawn(
            tethered(command, grace=1.0, tree=self._tree, terminal=True, extra=extra),
            env=env,
            cwd=cwd,
            tree=self._tree,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._child.stdout is not None
        self._reader = in_thread(_copy_output, self._child.stdout, job.folder / OUTPUT, say)

    def wait(self, seconds: float, cancelled: Callable[[], bool]) -> bool:
        """Until it ends. True: it took too long."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_LOOK_SECONDS)
                return False
            if cancelled():
                raise Cancelled
        return True

    def end(self) -> int:
        """End what is left of it. The exit status of the command."""
        ended = self._child.poll() is not None
        end_named_tree(self._tree, grace=0.0 if ended else 1.0)
        let_go(self._child)
        code = self._child.wait()
        self._reader.join(2.0)
        if self._child.stdout is not None and not self._reader.is_alive():
            self._child.stdout.close()
        return code


def _copy_output(stream: IO[bytes], path: Path, say: Say | None) -> None:
    """To the log, and line by line to ``say``; a progress bar's carriage return ends a line too."""
    written = 0
    with stream, path.open("wb") as log, contextlib.suppress(OSError, ValueError):
        rest = b""
        while data := os.read(stream.fileno(), 65536):
            if written < _MOST_OUTPUT:
                written += log.write(data)
                log.flush()
            rest = _say_lines(rest + data, say)
        _say_lines(rest + b"\n", say)


def _say_lines(data: bytes, say: Say | None) -> bytes:
    *lines, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if len(rest) > _MOST_LINE:
        lines, rest = [*lines, rest], b""
    for line in lines:
        if say is not None and line.strip():
            say(line[:_MOST_LINE].decode("utf-8", "replace"))
    return rest


_LATE = (
    "the command did not end within {seconds:g} s, and trained nothing: let it do less by options of its "
    "own, or give it longer ('fedops init' and 'fedops check' take --seconds)"
)


def _answer(job: Job, code: int, late: str) -> Seen:
    seen = _read(job.folder / SEEN)
    if seen is None and not late:
        found = [_read(path) for path in job.folder.glob("unclaimed-*.json")]
        seen = max(filter(None, found), key=_telling, default=None)
    if seen is None:
        why = late or f"{_why_unseen(code)} (exit status {code})"
        raise Invalid("\n  ".join([why, *_tail(job.folder)]))
    notes = [*seen.notes, *_other_processes(job.folder)]
    error = seen.error or _last_words(job, code, seen)
    return seen.model_copy(update={"exit_code": code, "notes": notes, "error": error})


def _last_words(job: Job, code: int, seen: Seen) -> str:
    """Of a command that ended with an error and without a traceback before it trained, such as for an option
    that it does not know."""
    if not code or seen.models or seen.ended != "script":
        return ""
    lines = [line.strip() for line in reversed(_tail(job.folder)) if line.strip()]
    return next(filter(_ERROR.search, lines), lines[0] if lines else "")


def _why_unseen(code: int) -> str:
    """Shells, and what ties the command to us, add 128 to the number of a signal."""
    number = -code if code < 0 else code - 128
    if number not in _SIGNALS:
        return _UNWATCHED
    name = signal.Signals(number).name
    memory = "; that is what happens where memory runs out" if name == "SIGKILL" else ""
    return f"the command was killed by {name}{memory}"


def _read(path: Path) -> Seen | None:
    try:
        if path.stat().st_size > _MOST_ANSWER:
            return None
        return Seen.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _telling(seen: Seen) -> tuple[int, int, float]:
    """Of processes that trained nothing, the one that came furthest."""
    return len(seen.notes), len(seen.frameworks), seen.seconds


def _other_processes(folder: Path) -> list[Note]:
    others = len(list(folder.glob(f"{CLAIM}-*")))
    if not others:
        return []
    text = (
        f"{others + 1} processes of the command train; only one process can be federated: "
        "set its option for workers or processes to 1"
    )
    return [Note(kind="several_processes", text=text, weight="refusal")]


def last_words(job: Path, most: int = _TAIL) -> list[str]:
    """The last lines that the command said. ``job``: its folder."""
    try:
        text = (job / OUTPUT).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-most:]


def _tail(job: Path) -> list[str]:
    lines = last_words(job)
    return ["its last words:", *lines] if lines else []
