"""What a watched command says and how long it has taken, while it runs."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fedops.core.printable import printable

#: Without a terminal, a line says this often that the command still runs. Seconds.
_EVERY = 30.0
_KEPT = 12


class CommandProgress:
    """Shows the command's last line with the time beside it, on standard error.

    On a terminal this is one line that changes; elsewhere a line now and then.
    """

    def __init__(self, command: str) -> None:
        self.last: deque[str] = deque(maxlen=_KEPT)
        self._command = command
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._live = Live(
            get_renderable=self._line, console=self._console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> CommandProgress:
        sys.stderr.write(f"running: {printable(self._command)}\n")
        if self._console.is_terminal:
            self._live.start()
        else:
            threading.Thread(target=self._tell, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._live.is_started:
            self._live.stop()

    def output(self, line: str) -> None:
        """A line that the command printed."""
        text = printable(line.rstrip())
        if text.strip():
            self.last.append(text)

    def again(self, why: str) -> None:
        """The command is run a second time."""
        sys.stderr.write(f"running it once more: {why}\n")

    def tail(self) -> Sequence[str]:
        """The last lines that the command printed, each indented."""
        return [f"  | {line}" for line in self.last]

    def _line(self) -> Text:
        last = self.last[-1] if self.last else ""
        seconds = time.monotonic() - self._begun
        return Text.assemble(
            f"{seconds:5.0f} s  ", (last, "dim"), overflow="ellipsis", no_wrap=True
        )

    def _tell(self) -> None:
        while not self._over.wait(_EVERY):
            seconds = time.monotonic() - self._begun
            said = f": {self.last[-1]}" if self.last else ""
            sys.stderr.write(f"still running after {seconds:.0f} s{said}\n")
