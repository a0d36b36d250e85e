"""Two Server Managers on one PostgreSQL have their upload slots together."""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx
import pytest
from manager_pair import begun, manager, needs_postgres, upload_headers
from managing import Device, later

from fedops.core import contracts as c
from fedops.server.protocol.slot_book import SLOT_SECONDS

pytestmark = needs_postgres
ASK = c.SlotRequest(size=100_000, wait=SLOT_SECONDS / 2)
NOT_NOW = c.SlotRequest(size=100_000, wait=0.2)


def upload(url: str, device: Device, assignment: str) -> None:
    data = os.urandom(100_000)
    head = upload_headers(assignment, data, device.token)
    content = {"content-type": "application/offset+octet-stream"}
    made = httpx.post(f"{url}/api/v1/blobs", content=data, headers={**head, **content})
    assert made.headers["upload-offset"] == "100000", made.text


def test_there_are_only_so_many_slots_and_an_upload_gives_its_own_back_wherever_it_ends(
    tmp_path: Path, url: str, files: Path
) -> None:
    with (
        manager(tmp_path, "a", url, files, upload_slots=1) as lead,
        manager(tmp_path, "b", url, files, upload_slots=1) as other,
    ):
        lead.task()
        here = lead.ready_devices("ada", "bob")
        there = {name: other.hears(device) for name, device in here.items()}
        _, ids = begun(lead, "ada", "bob")
        for device in here.values():
            device.take()
        assert here["ada"].slot(ids["ada"], NOT_NOW).granted
        assert not there["bob"].slot(ids["bob"], NOT_NOW).granted, "the other one gave it away"
        assert there["ada"].slot(ids["ada"], NOT_NOW).granted, "it is the same slot everywhere"
        upload(other.url, here["ada"], ids["ada"])
        began = time.monotonic()
        assert here["bob"].slot(ids["bob"], ASK).granted
        assert time.monotonic() - began < SLOT_SECONDS / 3, "it need not run out"


def test_who_waits_hears_at_once_that_a_slot_was_given_back_elsewhere(
    tmp_path: Path, url: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedops.server.peers.shared_slots.LOOK_SECONDS", 60.0)
    with (
        manager(tmp_path, "a", url, files, upload_slots=1) as lead,
        manager(tmp_path, "b", url, files, upload_slots=1) as other,
    ):
        lead.task()
        here = lead.ready_devices("ada", "bob")
        _, ids = begun(lead, "ada", "bob")
        for device in here.values():
            device.take()
        assert here["ada"].slot(ids["ada"], NOT_NOW).granted
        began = time.monotonic()
        with later(0.5, lambda: upload(other.url, here["ada"], ids["ada"])):
            assert here["bob"].slot(ids["bob"], ASK).granted
        assert 0.5 <= time.monotonic() - began < SLOT_SECONDS / 3
