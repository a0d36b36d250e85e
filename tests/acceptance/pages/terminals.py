"""The terminals of a person who types what a page says: one shell each, all in one home of their own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from fedops.processes.process_tree import TREE_VARIABLE, end_named_tree
from fedops.processes.spawn import let_go, spawn, tethered

#: How long a command may take, and how long one that stays may take to print what the page shows.
COMMAND_SECONDS = 120.0
#: These stay until somebody ends them; the page goes on in another terminal.
STAYS = re.compile(
    r"fedops server( files)?( --.*)?$|fedops client run\b|fedops device logs .*--follow"
    r"|flwr run \. --stream(?!.*simulation)|python receiver\.py$"
)
_SCRIPT = """
set -a
. "$0.env"; cd "$(cat "$0.cwd")"
if [ -s "$0.in" ]; then  # what asks a question wants a terminal
  script -qec "$(cat "$0.cmd")" /dev/null < "$0.in"
else
  eval "$(cat "$0.cmd")" < "$0.in"
fi
code=$?
export -p > "$0.env"; pwd > "$0.cwd"
exit $code
"""


@dataclass
class Command:
    """What was typed, and what came of it."""

    line: str
    process: subprocess.Popen[bytes]
    log: Path
    stays: bool

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def interrupt(self) -> None:
        """Ctrl-C: everything in the foreground of this terminal hears it."""
        for process in self._foreground():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGINT)

    def _foreground(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            children = psutil.Process(self.process.pid).children(recursive=True)
            return [p for p in children if _in_group(p, self.process.pid)]
        return []


def _in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group
    except ProcessLookupError:
        return False


@dataclass
class Terminal:
    """One shell: its folder and its variables go from command to command."""

    place: Path
    commands: list[Command] = field(default_factory=list)

    @property
    def busy(self) -> Command | None:
        """The command that stays in this terminal, if one does."""
        last = self.commands[-1] if self.commands else None
        return last if last is not None and last.running else None

    def open(self, cwd: Path, env: Mapping[str, str]) -> None:
        self._file("cwd").write_text(f"{cwd}\n")
        lines = (f"export {name}={_quoted(value)}\n" for name, value in env.items())
        self._file("env").write_text("".join(lines))

    def type(self, line: str, answers: str, env: Mapping[str, str], *, stays: bool) -> Command:
        """Begin a command; ``answers`` is what is typed while it runs."""
        self._file("cmd").write_text(line)
        self._file("in").write_text(answers)
        log = self.place.with_name(f"{self.place.name}.{len(self.commands)}.log")
        script = ["bash", "--norc", "-c", _SCRIPT, str(self.place)]
        with log.open("wb") as out, _ctrl_c_heard():
            process = subprocess.Popen(
                script, env=dict(env), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        command = Command(line, process, log, stays)
        self.commands.append(command)
        return command

    def _file(self, kind: str) -> Path:
        return self.place.with_name(f"{self.place.name}.{kind}")


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


@contextlib.contextmanager
def _ctrl_c_heard() -> Iterator[None]:
    """What is started inside hears Ctrl-C, even if these tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Desk:
    """All terminals of one page. Whatever is started at it ends with it, however it ends."""

    def __init__(self, home: Path, clone: Path, env: Mapping[str, str]) -> None:
        self.home, self.clone = home, clone
        self._tree = home.parent.name
        self.env = {**env, TREE_VARIABLE: self._tree}
        self.terminals: dict[str, Terminal] = {}
        self._guard = spawn(tethered(["sleep", "86400"], grace=0.0, tree=self._tree))
        self._places = home.with_name(f"{home.name}-terminals")
        self._places.mkdir()

    def terminal(self, name: str) -> Terminal:
        """The terminal of this name; a new one begins in the clone, with nothing set."""
        if name not in self.terminals:
            self.terminals[name] = Terminal(self._places / name)
            self.terminals[name].open(self.clone, self.env)
        return self.terminals[name]

    def close(self) -> None:
        """End everything that was started, first as its user would."""
        staying = [t.commands[-1] for t in self.terminals.values() if t.busy]
        for command in reversed(staying):
            command.interrupt()
            with contextlib.suppress(AssertionError):
                until(lambda command=command: not command.running, 8.0, "the end of a command")
        end_named_tree(self._tree, grace=0.5)
        let_go(self._guard)
        self._guard.wait()


def until(condition: Callable[[], object], seconds: float, what: str, every: float = 0.05) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(every)
