"""What is remembered of a full disk."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fedops.core.errors import Unavailable
from fedops.storage import disk
from fedops.storage.disk import FullDisk, disk_errors


def test_a_full_disk_is_remembered_for_a_while() -> None:
    now = 100.0
    found = FullDisk(lambda: now)
    assert found.where is None
    found.note("/var")
    now += 14.0
    assert found.where == "/var"
    now += 2.0
    assert found.where is None


def test_only_what_is_full_is_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "full_disk", FullDisk())
    with pytest.raises(Unavailable, match="cannot write: Permission denied"), disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert disk.full_disk.where is None
    with pytest.raises(Unavailable, match="the server's disk is full"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert disk.full_disk.where == str(tmp_path)
