"""A reader who does what a page says, from its first block to its last."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
from matching import answers, difference
from sybil import Example
from terminals import COMMAND_SECONDS, STAYS, Command, Desk, Terminal, until

_TERMINAL = re.compile(r"# In (?:a|the|another) (\w+) terminal\b.*:$")
_TOKEN = re.compile(r"fo_(?:join|admin)_[\w-]{8,}")
_SERVER = re.compile(r"fedops server( --.*)?$")
_SHOWN_TOKEN = re.compile(r"fo_(?:join|admin)_\.\.\.")
#: The database of somebody who has PostgreSQL, as pages write it.
DATABASE = "postgresql+psycopg://fedops:PASSWORD@db.example.org/fedops"
_SERVING = "Server Manager on http://..."
FIRST = "first"


@dataclass(frozen=True)
class Typed:
    """One line that the page types, and what it shows below it."""

    line: str
    shown: str
    #: The terminal, if the page names one; else the one that was used last.
    terminal: str | None = None
    #: Whether the page ends it with Ctrl-C.
    until_ctrl_c: bool = False

    @property
    def refused(self) -> bool:
        """Whether the page shows that the command fails."""
        return any(row.startswith(("fedops: ", "problem: ")) for row in self.shown.splitlines())


def typed(block: str) -> Iterator[Typed]:
    """The commands of a block: ``$`` begins one, a backslash at its end continues it."""
    steps: list[list[str]] = []
    terminals: list[str | None] = []
    named: str | None = None
    for row in block.replace("\\\n", " ").splitlines():
        if found := _TERMINAL.match(row):
            named = found[1]
        elif row.startswith("$ ") or row == "^C":
            steps.append([row.removeprefix("$ ").strip()])
            terminals.append(named)
        elif steps:
            steps[-1].append(row)
    for n, (step, terminal) in enumerate(zip(steps, terminals, strict=True)):
        ended = n + 1 < len(steps) and steps[n + 1][0] == "^C"
        yield Typed(step[0], "\n".join(step[1:]), terminal, ended)


@dataclass
class Reader:
    """Evaluates the blocks of one page."""

    desk: Desk
    #: What pages write, and what it is here: ports, the database.
    here: Mapping[str, str]
    at: str = FIRST
    printed: list[Command] = field(default_factory=list)
    interrupted: list[Command] = field(default_factory=list)

    def __call__(self, example: Example) -> str | None:
        lexemes = example.region.lexemes
        source = str(example.parsed)
        if lexemes["what"] in ("not run", "tried by"):
            return None
        if lexemes["what"] == "before":
            problem, self.at = self._console(source), FIRST
            return problem
        if lexemes["what"] in ("file", "into"):
            return self._write(lexemes["how"], source, merged=lexemes["what"] == "into")
        does = {"console": self._console, "python": self._python, "text": self._text}
        return does.get(lexemes["language"], lambda _: None)(source)

    # --- blocks -------------------------------------------------------------------------------------

    def _console(self, block: str) -> str | None:
        for step in typed(block):
            self.at = step.terminal or self.at
            if problem := self._step(self.desk.terminal(self.at), step):
                return f"$ {step.line}\n{problem}"
        return None

    def _python(self, source: str) -> str | None:
        script = self.desk.home / "shown.py"
        script.write_text(self._literal(source))
        return self._console(f"$ PYTHONPATH=.:$PYTHONPATH python {script}\n")

    def _text(self, shown: str) -> str | None:
        problems = [difference(shown, command.output) for command in reversed(self.printed)]
        return None if None in problems else problems[0] if problems else "nothing was printed"

    def _write(self, name: str, source: str, *, merged: bool) -> None:
        cwd = Path((self.desk.terminal(self.at).place.with_suffix(".cwd")).read_text().strip())
        file = cwd / Path(name.replace("~", str(self.desk.home), 1))
        file.parent.mkdir(parents=True, exist_ok=True)
        if merged:
            source = tomli_w.dumps(_merged(tomllib.loads(file.read_text()), tomllib.loads(source)))
        file.write_text(self._literal(source))

    # --- commands -----------------------------------------------------------------------------------

    def _step(self, terminal: Terminal, step: Typed) -> str | None:
        if step.line == "^C":
            return self._interrupt(terminal, step.shown)
        if terminal.busy:
            return f"this terminal is busy with: {terminal.busy.line}"
        stays = not step.refused and (step.until_ctrl_c or bool(STAYS.match(step.line)))
        line = self._literal(step.line)
        command = terminal.type(line, answers(step.shown), self.desk.env, stays=stays)
        self.printed.append(command)
        return self._stays(command, step) if stays else self._ends(command, step)

    def finish(self) -> None:
        """Whatever was to stay is still there at the end of the page."""
        for terminal in self.desk.terminals.values():
            last = terminal.commands[-1]
            gone = last.stays and not last.running and last not in self.interrupted
            assert not gone, f"{last.line} ended by itself:\n{last.output}"

    def _interrupt(self, terminal: Terminal, shown: str) -> str | None:
        command = terminal.busy
        if command is None:
            return "there is nothing to interrupt in this terminal"
        self.interrupted.append(command)
        with contextlib.suppress(AssertionError):  # some print nothing
            until(lambda: command.output or not command.running, 5.0, "its first line")
        until(
            lambda: _interrupted(command), COMMAND_SECONDS, f"the end of {command.line}", every=0.5
        )
        return difference(shown, command.output)

    def _stays(self, command: Command, step: Typed) -> str | None:
        """It is there when it has printed what the page shows."""
        shown = step.shown or (_SERVING if _SERVER.match(step.line) else "")

        def there() -> bool:
            return not command.running or difference(shown, command.output) is None

        try:
            until(there, COMMAND_SECONDS, "what the page shows")
        except AssertionError:
            return difference(shown, command.output)
        if not command.running:
            return f"it ended with {command.process.returncode}:\n{command.output}"
        return None

    def _ends(self, command: Command, step: Typed) -> str | None:
        try:
            until(lambda: not command.running, COMMAND_SECONDS, "its end")
        except AssertionError as error:
            return f"{error}:\n{command.output}"
        if (command.process.returncode != 0) != step.refused:
            return f"it ended with {command.process.returncode}:\n{command.output}"
        return difference(step.shown, command.output)

    def _literal(self, text: str) -> str:
        """The text with what differs from reader to reader: the token, the server's name, its port."""
        tokens = [t for c in self.printed for t in _TOKEN.findall(c.output)]
        if tokens:
            text = _SHOWN_TOKEN.sub(tokens[-1], text)
        text = text.replace("//SERVER:", "//127.0.0.1:")
        return re.sub("|".join(map(re.escape, self.here)), lambda found: self.here[found[0]], text)


def _interrupted(command: Command) -> bool:
    """Whether it has ended; if not, it hears Ctrl-C (again: who is only starting may not have heard it)."""
    if command.running:
        command.interrupt()
    return not command.running


def _merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    for key, value in more.items():
        old = base.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        base[key] = _merged(old, value) if both else value
    return base
