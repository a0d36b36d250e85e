"""A child that reports through a pipe of its own, beside what it prints."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fedops.platforms.processes import number_for_child
from fedops.processes.spawn import clean_env, spawn


def spawn_piped(
    command: Callable[[int], Sequence[str]], *, env: Mapping[str, str], tree: str, cwd: Path
) -> tuple[subprocess.Popen[bytes], int]:
    """Start it; returns the child, and the descriptor at which its reports are read.

    ``command``: of the number by which the child knows its end of the pipe. ``env``: what it has beside
    ``clean_env``.

    Raises:
        OSError: it cannot be started.
    """
    read_end, write_end = os.pipe()
    try:
        child = spawn(
            command(number_for_child(write_end)),
            env=clean_env(env),
            tree=tree,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end,),
        )
    except OSError:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    return child, read_end
