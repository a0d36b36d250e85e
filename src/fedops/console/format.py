"""Tables, colours, times and numbers as every command shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from fedops.core.states import (
    CommitStatus,
    DeploymentHealth,
    Enrolment,
    ProcessStatus,
    RolloutStatus,
    RunStatus,
    TaskStatus,
)

COLOURS: Mapping[str, str] = {
    RunStatus.RUNNING: "cyan",
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.STOPPED: "yellow",
    RunStatus.PAUSED: "yellow",
    ProcessStatus.TRAINING: "cyan",
    ProcessStatus.EVALUATING: "cyan",
    ProcessStatus.IDLE: "green",
    ProcessStatus.BACKOFF: "yellow",
    ProcessStatus.FATAL: "red",
    Enrolment.APPROVED: "green",
    Enrolment.PENDING: "yellow",
    Enrolment.QUARANTINED: "red",
    TaskStatus.DRAFT: "yellow",
    CommitStatus.CHECKING: "cyan",
    CommitStatus.SOUND: "green",
    CommitStatus.REFUSED: "red",
    RolloutStatus.WAVING: "cyan",
    RolloutStatus.HOLDING: "green",
    DeploymentHealth.HEALTHY: "green",
    DeploymentHealth.PROGRESSING: "cyan",
    DeploymentHealth.WAITING: "yellow",
    DeploymentHealth.STALLED: "red",
    DeploymentHealth.DEGRADED: "red",
    "not ready": "yellow",
    "offline": "red",
    "online": "green",
}


#: What the seconds of a round went into, as the engine names it, and the column's title.
TIMES = {
    "waiting": "WAIT",
    "transfer": "TRANSFER",
    "training": "TRAIN",
    "aggregation": "AGGR",
    "evaluation": "EVAL",
}


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A plain table, narrow enough for 80 columns; ``right`` names the columns of numbers."""
    result = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        header_style="bold",
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        result.add_column(column, justify=justify, overflow="fold")
    return result


def table_of(
    titles: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    right: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Table:
    """A table of rows. An ``optional`` column that is empty in every one of them is left out."""
    kept = [
        i
        for i, title in enumerate(titles)
        if title not in optional or any(str(row[i]) not in ("", "-") for row in rows)
    ]
    result = table(*(titles[i] for i in kept), right=right)
    for row in rows:
        result.add_row(*(row[i] for i in kept))
    return result


def fields(rows: Mapping[str, Any]) -> Table:
    """Name and value, one a line."""
    result = Table.grid(padding=(0, 2))
    result.add_column()
    result.add_column(overflow="fold")
    for name, value in rows.items():
        shown = (
            value if isinstance(value, Text) else Text("-" if value in (None, "") else str(value))
        )
        result.add_row(Text(name, style="bold"), shown)
    return result


def coloured(word: str) -> Text:
    """A state in its colour."""
    return Text(str(word), style=COLOURS.get(word, ""))


def moment(at: float | None) -> str:
    """A time of the server's clock in this machine's zone."""
    if at is None:
        return "-"
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def version_name(version: int | None) -> str:
    return "-" if version is None else f"V{version}"


def bytes_of(size: float) -> str:
    """``1.8 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def or_dash(value: Any) -> str:
    return "-" if value is None else str(value)
