"""What is known of one run of a supervised process, and what may end it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fedops.core.contracts import ProcessReport

Message = Mapping[str, Any]
#: What a child says of itself beside its state: fields of its report.
FACTS = (
    "accelerator",
    "accelerator_problem",
    "training_examples",
    "validation_examples",
    "confined",
)


@dataclass(frozen=True)
class Program:
    """What is supervised."""

    #: The command line, given the number of the descriptor on which the child reports.
    command: Callable[[int], Sequence[str]]
    env: Mapping[str, str]
    cwd: Path
    pid_file: Path
    #: Names all processes of the child, across restarts of ours.
    tree: str
    #: Why there is nothing to run now; "": there is.
    idle: str = ""


@dataclass(frozen=True)
class EndWish:
    """What is to become of the child."""

    kind: Literal["stop", "replace", "restart"]
    reason: str = ""
    crash: bool = False
    life: int = 0  #: of ``replace``: which child is meant


NO_WISH = EndWish("replace")


@dataclass(frozen=True)
class Said:
    life: int
    message: Message


@dataclass(frozen=True)
class Ended:
    life: int
    code: int


@dataclass(frozen=True)
class ProcessRun:
    """How one life of the child ended."""

    reason: str
    seconds: float
    then: Literal["stop", "again", "crash", "fatal"]


def replace_report(report: ProcessReport, fields: Mapping[str, Any]) -> ProcessReport:
    """A report with some fields changed, checked as it came from outside."""
    reason = fields.get("reason", report.reason)
    short = reason[:2_000] if isinstance(reason, str) else reason
    return ProcessReport.model_validate({**report.model_dump(), **fields, "reason": short})
