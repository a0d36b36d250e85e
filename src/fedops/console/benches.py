"""Benchmarks of devices on a terminal."""

from __future__ import annotations

from rich.console import RenderableType

from fedops.console.format import moment, or_dash, table_of
from fedops.core import contracts as c
from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus


def is_going(bench: c.BenchRead) -> bool:
    return bench.status in ASSIGNMENT_OPEN


def has_worked(bench: c.BenchRead) -> bool:
    """Whether the last benchmark of the device gave an estimate."""
    return bench.status is AssignmentStatus.CHECKED


def benches_table(found: c.BenchesRead) -> RenderableType:
    """A row for each device, also for those that are left out."""
    titles = ("DEVICE", "EXAMPLES", "CHUNK", "SECONDS", "TRANSFER", "A ROUND", "NOTE")
    rows = [*map(_row, found.benches), *map(_left_out, found.left_out)]
    return table_of(titles, sorted(rows), right=titles[1:-1])


def _row(bench: c.BenchRead) -> tuple[str, ...]:
    measured = bench.measured
    if measured is None:
        return (bench.device, *["-"] * 5, note(bench))
    transfer = None if measured.download_seconds is None else 2 * measured.download_seconds
    return (
        bench.device,
        str(measured.examples),
        str(measured.chunk_examples),
        seconds(measured.chunk_seconds),
        or_dash(None if transfer is None else seconds(transfer)),
        or_dash(None if bench.round_seconds is None else seconds(bench.round_seconds)),
        note(bench),
    )


def _left_out(one: c.BenchLeftOut) -> tuple[str, ...]:
    return (one.device, *["-"] * 5, f"left out: {one.reason}")


def note(bench: c.BenchRead) -> str:
    """How the benchmark is, where that is not just its result."""
    if is_going(bench):
        return bench.why or bench.status.value
    if has_worked(bench):
        return "; ".join(bench.notes)
    because = f": {bench.why}" if bench.why else ""
    before = f"; the estimate is of {moment(bench.measured_at)}" if bench.measured else ""
    return f"{bench.status.value}{because}{before}"


def bench_line(bench: c.BenchRead) -> str:
    """One device's news."""
    if has_worked(bench) and bench.round_seconds is not None:
        said = f"a round takes about {seconds(bench.round_seconds)} s"
        return f"{bench.device}: {said}"
    return f"{bench.device}: {note(bench)}"


def seconds(value: float) -> str:
    """``0.034``, ``1.25``, ``127``: three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
