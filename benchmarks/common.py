"""What the benchmarks share: options, free ports, children that end with us, tables."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from fedops.console.format import table
from fedops.processes.spawn import clean_env, spawn, tethered

HERE = Path(__file__).resolve().parent


def options(description: str) -> argparse.ArgumentParser:
    """Every benchmark has --json and --quick."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run at all?")
    return parser


def say(text: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"{text}\n")


def report(result: Mapping[str, Any], as_json: bool, columns: Sequence[str]) -> None:
    """Print ``result["rows"]`` as a table, or all of it as JSON."""
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    shown = table(*columns)
    for row in result["rows"]:
        shown.add_row(*(_cell(row.get(column.lower().replace(" ", "_"))) for column in columns))
    console = Console()
    console.print(f"[bold]{result['benchmark']}[/]: {result['what']}")
    console.print(shown)
    for line in result.get("notes", []):
        console.print(line)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if value < 10 else f"{value:.1f}"
    return "-" if value is None else str(value)


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen]:
    """A long-running command, ended with all it started when the block ends."""
    with log.open("ab") as out:
        process = spawn(
            tethered(command, grace=2.0), env=clean_env(env), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def median(values: Sequence[float]) -> float | None:
    """None when nothing was measured."""
    return statistics.median(values) if values else None


class Background(ABC):
    """Work of a thread of its own, for as long as the block lasts."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """Go on until ``self._over`` is set."""
