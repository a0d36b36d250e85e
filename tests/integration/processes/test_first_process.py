"""SIGTERM while a program is being loaded, as process 1 of a container and as any other."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

LOADING = """
import sys, time
from fedops.processes.first_process import end_on_sigterm
end_on_sigterm(pid={pid})
print("loading", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("pid", "ends_with"),
    [
        pytest.param(1, 128 + signal.SIGTERM, id="the first process ends itself"),
        pytest.param(2, -signal.SIGTERM, id="the kernel ends every other"),
    ],
)
def test_sigterm_ends_a_program_that_is_being_loaded(pid: int, ends_with: int) -> None:
    command = [sys.executable, "-c", LOADING.format(pid=pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.terminate()
        assert process.wait(20) == ends_with
