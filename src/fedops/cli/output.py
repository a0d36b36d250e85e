"""How results reach the user: a table for people, one JSON document for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    RenderableType,
    RenderHook,
    RenderResult,
)
from rich.segment import Segment

from fedops.core.printable import printable

#: What is piped is not cut to a terminal's width, unless COLUMNS says one.
_PIPE_WIDTH = 200


def console(*, markup: bool = False) -> Console:
    """The console of stdout. Without ``markup``, what is in brackets is text, such as ``[model]``."""
    width = shutil.get_terminal_size((_PIPE_WIDTH, 24)).columns
    made = Console(width=width, highlight=False, markup=markup, emoji=False)
    made.push_render_hook(_WithoutControls())
    return made


class _WithoutControls(RenderHook):
    """Whatever a device or a server says, it does nothing to the terminal. Both were cleaned when they came
    in, if the server is ours and as new as this."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Printable(one) for one in renderables]


@dataclass(frozen=True)
class _Printable:
    inner: ConsoleRenderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.inner, options):
            cleaned = segment.text if segment.control else printable(segment.text)
            yield Segment(cleaned, segment.style, segment.control)


def show(value: Any, as_json: bool, *human: RenderableType) -> None:
    """Print ``value`` as JSON, or what was made of it for people."""
    if as_json:
        sys.stdout.write(json.dumps(plain(value), indent=2) + "\n")
        return
    out = console()
    for item in human:
        out.print(item, soft_wrap=isinstance(item, str))


def plain(value: Any) -> Any:
    """Models, also within lists and dicts, as plain JSON values."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value
