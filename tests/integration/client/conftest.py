"""Each test that asks for one gets a device that has joined a server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from device_processes import Device, joined_device


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with joined_device(tmp_path) as device:
        yield device
