"""What a disk answers when it cannot take a file."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fedops.core.errors import Unavailable
from fedops.core.reasons.shortages import Lack
from fedops.storage.disk import disk_errors
from fedops.storage.shortages import shortages


def test_each_shortage_is_called_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot write: Name too long"), disk_errors(tmp_path):
        raise OSError(errno.ENAMETOOLONG, "Name too long")
    assert shortages.current is None
    with pytest.raises(Unavailable, match="the server may not write to"), disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(Unavailable, match="the server's disk is full"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert shortages.current is not None
    assert (shortages.current.lack, shortages.current.where) == (Lack.DISK, str(tmp_path))
