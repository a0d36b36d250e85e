"""What the demo shows: a live view on a terminal, lines elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from fedops.console.format import number
from fedops.console.runs import round_line, run_view
from fedops.core import contracts as c

if TYPE_CHECKING:
    from fedops.demo.data import DataSource
    from fedops.demo.federation import Federation
    from fedops.demo.options import Plan


class Screen:
    """The demo's side of the terminal. Use it as a context while something runs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._status = ""
        self._view: RenderableType = ""
        self._rounds_shown = 0
        self._why = ""

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=8, transient=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(self._view, refresh=True)
            self._live.stop()
            self._live = None

    def opening(self, plan: Plan, data: DataSource, home: Path) -> None:
        """What will happen, with what is overridden."""
        print_ = self.console.print
        print_(
            f"[bold]FedOps demo[/]: {plan.devices} devices, {plan.rounds} rounds, every part a "
            "process of its own on this machine"
        )
        print_(f"data:      {data.description}")
        print_(f"files:     {home}", soft_wrap=True)
        print_(f"overrides: {', '.join(plan.overrides)}", soft_wrap=True)
        print_("")

    def say(self, text: str) -> None:
        """What is being done now."""
        self._status = text
        if self._live is None:
            self.console.print(f"{text} ...")
        self._refresh()

    def update(
        self, run: c.RunRead, rounds: Sequence[c.RoundRead], devices: Sequence[c.DeviceRead]
    ) -> None:
        """The run as it is now."""
        self._status = ""
        self._view = run_view(run, rounds, devices)
        if self._live is None:
            self._lines(run, rounds)
        self._refresh()

    def _refresh(self) -> None:
        if self._live is not None:
            working = [Spinner("dots", Text(f" {self._status}"))] if self._status else []
            self._live.update(Group(self._view, *working))

    def _lines(self, run: c.RunRead, rounds: Sequence[c.RoundRead]) -> None:
        committed = [round_ for round_ in rounds if round_.committed_at is not None]
        for round_ in committed[self._rounds_shown :]:
            self.console.print(round_line(round_, run.rounds), soft_wrap=True)
        self._rounds_shown = len(committed)

    def closing(
        self, report: Mapping[str, Any], snippet: str, federation: Federation, kept: int | None
    ) -> None:
        """The result: how good it is, where the model is, how to use it, how to look again."""
        say = self.console.print
        accuracy = number(report["final_accuracy"])
        say("")
        say(
            f"[bold green]Done[/] in {report['total_seconds']:.0f} s: global model "
            f"{report['model_version']}, accuracy [bold]{accuracy}[/] on {report['dataset']}",
            soft_wrap=True,
        )
        say(f"model:     {report['model_path']}", soft_wrap=True)
        say(f"sha256:    {report['model_sha256']}", soft_wrap=True)
        for sheet in report.get("contact_sheets", ()):
            say(f"explained: {sheet}", soft_wrap=True)
        say("\nUse it in your own code:")
        say(Text(snippet), soft_wrap=True)
        say("\nLook again:" if kept is None else "\nThe server stays up:")
        say(_again(federation, kept), soft_wrap=True)


def _again(federation: Federation, kept: int | None) -> str:
    token = f"sign in with the token in {federation.admin_token_file}"
    if kept is not None:
        return f"  {federation.url} ({token}); end it with: kill {kept}"
    command = federation.server_command()
    words = shlex.join(["fedops", *command[command.index("server") :]])
    return f"  {words}\n  and open {federation.url} ({token})"
