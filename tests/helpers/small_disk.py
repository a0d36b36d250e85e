"""A small disk of its own, for tests of what happens when it is full or closed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def require_mounts() -> None:
    """Skip where nobody may mount."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root on Linux can mount a small disk")


def _mounted(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine allows no mounts: {done.stderr.strip()}")


@contextmanager
def small_disk(folder: Path, size: int, inodes: int = 0) -> Iterator[None]:
    """While this is entered, a folder is a disk of so many bytes and files (0: as many as fit)."""
    require_mounts()
    folder.mkdir(mode=0o700, exist_ok=True)
    options = f"size={size},nr_inodes={inodes},mode=0700"
    _mounted("-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """While this is entered, nobody can write to a folder, not even root."""
    require_mounts()
    _mounted("--bind", str(folder), str(folder))
    try:
        _mounted("-o", "remount,ro,bind", str(folder))
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
