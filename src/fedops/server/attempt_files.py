"""What the ServerApp of an attempt finds on disk: whom to call, and its token.

Named by Flower's run id, the only thing a ServerApp knows of itself. Never in the run config: nodes
can read that.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from fedops.core.errors import Unavailable
from fedops.server.attempts import Submission


class AttemptFiles:
    """The folder of credentials, readable by its owner only."""

    def __init__(self, folder: Path, server_url: str) -> None:
        self._folder = folder
        self._server_url = server_url

    def prepare(self) -> None:
        """An empty folder: what an earlier life left in it is worthless."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.chmod(0o700)
            for left in self._folder.glob("*.json*"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot use {self._folder}: {error.strerror}") from error

    def write(self, engine_run_id: str, attempt: Submission) -> None:
        """Hand over; the file appears whole."""
        content = {
            "server_url": self._server_url,
            "token": attempt.token,
            "run_id": attempt.run_id,
            "attempt": attempt.number,
        }
        target = self._path(engine_run_id)
        temporary = target.with_suffix(".json.part")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(content, file)
            temporary.replace(target)
        except OSError as error:
            raise Unavailable(f"cannot write {target}: {error.strerror}") from error

    def remove(self, engine_run_id: str) -> None:
        """The attempt is over."""
        with contextlib.suppress(OSError):
            self._path(engine_run_id).unlink()

    def _path(self, engine_run_id: str) -> Path:
        return self._folder / f"{int(engine_run_id)}.json"
