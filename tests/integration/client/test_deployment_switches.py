"""A Client Manager whose code comes from the server: real processes, from commit to commit and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from deploying import Deploying
from device_processes import Device


@pytest.fixture
def deploying(device: Device, tmp_path: Path) -> Deploying:
    return Deploying(device, tmp_path)


def test_from_commit_to_commit_and_back(deploying: Deploying) -> None:
    device = deploying.device
    device.start("managed=yes", "training=real")
    first = deploying.want("a")
    report = deploying.until("active", first)
    assert (report["active"], report["attempt"], report["local"]) == (first, 1, False)
    assert deploying.current() == first
    assert deploying.imported() == ["trial a", "training a"]
