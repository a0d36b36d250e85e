"""The owner's command for a new model: no shell, no secrets of ours, and an end."""

from __future__ import annotations

import logging
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fedops.client.serving.served_model import ServedModel
from fedops.processes.process_tree import end_tree
from fedops.processes.spawn import clean_env, let_go, spawn, without_credentials

logger = logging.getLogger("fedops.client")

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 1.0
#: Of what the command prints, so much is looked at, and so much is said. Bytes; characters.
_TAIL, _SAID = 4_096, 300


@dataclass(frozen=True)
class OwnerCommand:
    """What is run after each new version. An empty command does nothing and always succeeds."""

    command: Sequence[str]
    seconds: float

    def run(self, model: Path, served: ServedModel, over: Callable[[], bool]) -> str:
        """What went wrong; "": nothing. It is ended when its time is up, or when it is ``over``."""
        if not self.command:
            return ""
        told = {"FEDOPS_MODEL": str(model), "FEDOPS_MODEL_VERSION": str(served.version)}
        env = {**without_credentials(clean_env()), **told}
        with tempfile.TemporaryFile() as output:
            try:
                child = spawn(self.command, env=env, cwd=model.parent, stdout=output, stderr=output)
            except OSError as error:
                return f"cannot start '{self.command[0]}': {error.strerror or error}"
            problem = self._await(child, over)
            return problem or _said(self.command[0], child.returncode, output)

    def _await(self, child: subprocess.Popen[bytes], over: Callable[[], bool]) -> str:
        """Returns when it has ended, and why it was made to."""
        until = time.monotonic() + self.seconds
        try:
            while child.poll() is None:
                if over():
                    return self._end(child, "the Client Manager is ending")
                if time.monotonic() >= until:
                    return self._end(child, f"it took longer than {self.seconds:.0f} s")
                try:
                    child.wait(_LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
            return ""
        finally:
            let_go(child)

    def _end(self, child: subprocess.Popen[bytes], why: str) -> str:
        end_tree(child.pid, _GRACE_SECONDS)
        child.wait()
        return f"the command '{self.command[0]}' was ended: {why}"


def _said(program: str, code: int, output: IO[bytes]) -> str:
    """What the end of a command means."""
    if code == 0:
        return ""
    output.seek(0, 2)
    output.seek(max(output.tell() - _TAIL, 0))
    lines = [line.strip() for line in output.read().decode(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "it said nothing")
    # A log line leaves the device only where its owner lets log lines go; a reason always does.
    logger.warning("the command '%s' failed and said last: %s", program, last[:_SAID])
    how = f"exit status {code}" if code > 0 else f"signal {-code}"
    return f"the command '{program}' failed ({how}): see the Client Manager's log for what it said"
