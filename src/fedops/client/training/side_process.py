"""A process beside the training client that does one piece of work and ends, so that nothing here changes.

It inherits what holds for the training client: user, confinement, priority.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from pydantic import BaseModel

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import load_device_config
from fedops.client.local.messages import TrainingArgs
from fedops.client.telemetry.system_metrics import MIB, memory_of
from fedops.core.errors import Invalid
from fedops.processes.process_tree import end_named_tree
from fedops.processes.spawn import let_go, spawn

_LOOK_SECONDS = 0.1
#: Looking at the memory takes time, which is measured.
_MEMORY_SECONDS = 0.5
#: Of the memory that the owner allows; beyond all of it the training client would be ended.
_SHARE = 0.95


class SideProcess:
    """Starts such processes, one at a time. ``what``: how a message calls what is done, ``a benchmark``."""

    def __init__(self, args: TrainingArgs, what: str) -> None:
        self._app_dir, self._what = args.app_dir, what
        limits = load_device_config(DataDir(args.home).device_config).limits
        self._limit = limits.memory_mb * MIB

    def run(
        self, program: str, args: BaseModel, folder: Path, cancelled: threading.Event
    ) -> int | None:
        """Run ``python -m program FILE``, with ``args`` in the file. The exit code; None: it was cancelled.

        Raises:
            Invalid: the device's owner does not allow the memory that it takes.
        """
        file = folder / "args.json"
        file.touch(mode=0o600)
        file.write_text(args.model_dump_json(), encoding="utf-8")
        tree = f"side-{folder.name}"
        self._check_memory(times=2)  # as much as this process has
        child = spawn([sys.executable, "-m", program, str(file)], cwd=self._app_dir, tree=tree)
        looked_at = time.monotonic()
        try:
            while not cancelled.wait(_LOOK_SECONDS):
                if (code := child.poll()) is not None:
                    return code
                if time.monotonic() - looked_at >= _MEMORY_SECONDS:
                    looked_at = time.monotonic()
                    self._check_memory()
            return None
        finally:
            _end(child, tree)

    def _check_memory(self, times: int = 1) -> None:
        """``times``: so often as much as now. ``Invalid``: the owner does not allow that."""
        used = (memory_of(os.getpid()) or 0) * times if self._limit else 0
        if used > self._limit * _SHARE:
            raise Invalid(
                f"{self._what} loads the app a second time, beside the training client: that takes "
                f"{used // MIB} MB, and memory_mb in device.toml allows {self._limit // MIB}"
            )


def _end(child: subprocess.Popen[bytes], tree: str) -> None:
    end_named_tree(tree, grace=0.0)
    let_go(child)
    child.wait()
