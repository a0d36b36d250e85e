"""Findings as GitHub Actions shows them beside the changed lines: workflow commands on standard output."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from fedops.flower.trial.ci_run import CiReport

#: What GitHub shows of one annotation. Characters.
_LONGEST = 4_000
_PLACE = re.compile(r"\(?((?:/|[A-Za-z]:\\)[^\s:,()]+)(?:, line (\d+))?")


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether this runs in GitHub Actions."""
    return environ.get("GITHUB_ACTIONS") == "true"


def error_lines(report: CiReport, root: Path) -> Iterator[str]:
    """A line for each problem, with the file below ``root`` that it is about."""
    for problem in report.problems:
        file, line = _place(problem, report, root)
        where = f"file={_property(file)}" + (f",line={line}" if line else "")
        yield f"::error {where},title=fedops ci::{_data(problem[:_LONGEST])}"


def _place(problem: str, report: CiReport, root: Path) -> tuple[str, str]:
    """The first file of the repository that the problem names, else the app's ``pyproject.toml``."""
    for found in _PLACE.finditer(problem):
        path = Path(found[1])
        if path.is_file() and path.resolve().is_relative_to(root.resolve()):
            return _relative(path, root), found[2] or ""
    folder = Path(report.folder) if report.folder else root
    return _relative(folder / "pyproject.toml", root), ""


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
