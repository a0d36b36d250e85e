"""Who waits at a terminal for a run: the ``flwr run --stream`` that submitted it, and ends it by Ctrl-C.

Flower lets Ctrl-C end the log stream only. A device that takes part is expected to end with its terminal.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

#: How long before its run a ``flwr run`` may have been started; longer if it had to start the SuperLink.
SUBMIT_SECONDS = 15.0
SUBMIT_SECONDS_FRESH = 60.0
_STREAM = "--stream"
#: Options of ``flwr run`` that a value follows.
_VALUED = ("--federation", "--run-config", "-c", "--federation-config", "--format")


@dataclass(frozen=True)
class Stream:
    """A process that streams a run's log."""

    process: psutil.Process

    @property
    def open(self) -> bool:
        try:
            return bool(self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


def find_stream(app_name: str, submitted_at: str) -> Stream | None:
    """The one ``flwr run --stream`` on this machine that may have submitted this run. Several: none."""
    try:
        submitted = datetime.fromisoformat(submitted_at).timestamp()
    except ValueError:
        return None
    superlink = _superlink()
    starter = superlink.ppid() if superlink is not None else 0
    found = [
        process
        for process in _streaming()
        if 0 <= submitted - process.create_time() <= _patience(process, starter)
        and _submits(process, app_name)
    ]
    found = _innermost(found)
    return Stream(found[0]) if len(found) == 1 else None


def _innermost(found: list[psutil.Process]) -> list[psutil.Process]:
    """Without who only runs another one of them: ``uv run flwr run``, ``timeout 600 flwr run``."""
    outer: set[int] = set()
    for process in found:
        with contextlib.suppress(psutil.Error):
            outer |= {parent.pid for parent in process.parents()}
    return [process for process in found if process.pid not in outer]


def _patience(process: psutil.Process, starter: int) -> float:
    return SUBMIT_SECONDS_FRESH if process.pid == starter else SUBMIT_SECONDS


def _superlink() -> psutil.Process | None:
    """The SuperLink that we run under, if it is on this machine."""
    try:
        parents = psutil.Process().parents()
    except psutil.Error:
        return None
    return next((p for p in parents if _runs(p, "flower-superlink")), None)


def _runs(process: psutil.Process, program: str) -> bool:
    try:
        return any(Path(word).stem == program for word in process.cmdline()[:2])
    except psutil.Error:
        return False


def _streaming() -> Iterator[psutil.Process]:
    me = psutil.Process().username()
    for process in psutil.process_iter():
        try:
            words = command_of_flwr_run(process.cmdline())
            if words is not None and _STREAM in words and process.username() == me:
                process.create_time()  # from now on known to the object
                yield process
        except psutil.Error:
            continue


def command_of_flwr_run(words: Sequence[str]) -> list[str] | None:
    """What follows ``flwr run`` in a command line; None when it is something else."""
    for index, word in enumerate(words[:-1]):
        if Path(word).stem == "flwr":
            return list(words[index + 2 :]) if words[index + 1] == "run" else None
    return None


def app_of(words: Sequence[str]) -> str:
    """The app that the words after ``flwr run`` name."""
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in _VALUED
            continue
        return word
    return "."


def _submits(process: psutil.Process, app_name: str) -> bool:
    try:
        app = app_of(command_of_flwr_run(process.cmdline()) or [])
        if app.startswith("@"):
            return app.split("/")[-1].split("==")[0] == app_name
        text = (Path(process.cwd()) / Path(app).expanduser() / "pyproject.toml").read_text()
        return bool(tomllib.loads(text)["project"]["name"] == app_name)
    except (psutil.Error, OSError, ValueError, KeyError, TypeError):
        return False
