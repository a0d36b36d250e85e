"""A Client Manager whose server goes and comes, has no room, revokes it or speaks another version."""

from __future__ import annotations

import time

from device_processes import Device, alive
from fake_manager import eventually

from fedops.client.local.status import client_status


def test_a_server_that_is_away_does_not_disturb_training(device: Device) -> None:
    server = device.server
    manager = device.start()
    device.until("idle")
    work = server.ask(7, 1, seconds=1.5)
    device.until("training")
    server.down = True
    eventually(lambda: "waiting to upload" in client_status(device.home).why)
    status = client_status(device.home)
    assert status.server.reachable is False
    assert "out of reach" in status.why
    assert "waiting to upload" in status.why
    assert status.process.restarts == 0
    server.down = False
    device.deliver(work)
    eventually(lambda: "loss" in server.order)
    assert manager.text.count("training goes on, trying again") == 1
    assert manager.text.count("is reachable") == 2
    assert device.trainings() == 1


def test_records_arrive_once_and_in_order_though_answers_get_lost(device: Device) -> None:
    server = device.server
    server.lost_answers = 3
    device.start()
    device.until("idle")
    for round_ in range(1, 6):
        device.deliver(server.ask(7, round_))
    eventually(lambda: server.order.count("loss") == 5)
    rounds = [r["round"] for r in server.records.values() if r["name"] == "loss"]
    assert rounds == [1, 2, 3, 4, 5]


def test_a_server_away_at_the_start_is_waited_for(device: Device) -> None:
    device.server.down = True
    manager = device.start()
    eventually(lambda: "trying again" in manager.text)
    assert device.server.polls == []
    assert client_status(device.home).server.reachable is False
    device.server.down = False
    device.until("idle")
    assert len(device.started) == 1
    assert "Traceback" not in manager.text


def test_a_device_says_at_once_that_it_is_ready(device: Device) -> None:
    device.server.bump(poll_seconds=60.0)
    device.start()
    device.until("idle", 15.0)
    assert device.server.last["wait"] == 0, "said beside the long poll, not with the next one"


def test_a_server_without_room_at_the_start_is_asked_again_when_it_says(device: Device) -> None:
    device.server.down, device.server.down_seconds = True, 30.0
    manager = device.start()
    eventually(lambda: client_status(device.home).server.reachable is False)
    device.server.down = False
    time.sleep(3)
    assert not device.server.calls["tasks"]
    begin = time.monotonic()
    manager.process.terminate()
    assert manager.wait() == 0
    assert time.monotonic() - begin < 5


def test_a_revoked_device_stops_and_says_so(device: Device) -> None:
    manager = device.start()
    device.until("idle")
    device.server.ask(7, 1, seconds=60)
    device.until("training")
    child = device.child()
    device.server.forbidden = "device 'pi-1' was revoked"
    assert manager.wait(10) == 3
    assert "device 'pi-1' was revoked" in manager.text
    assert "Traceback" not in manager.text
    assert not alive(child)


def test_a_pending_device_waits_for_approval(device: Device) -> None:
    device.server.wanted.update(enrolment="pending")
    manager = device.start()
    eventually(lambda: "fedops device approve pi-1" in manager.text)
    assert "approve" in client_status(device.home).why
    device.server.bump(enrolment="approved")
    device.deliver(device.server.ask(7, 1))
    device.server.bump(enrolment="rejected")
    assert manager.wait(10) == 3


def test_a_server_of_another_version_ends_it_with_what_to_do(device: Device) -> None:
    said = "this server speaks version 2 of the protocol: upgrade with 'pip install -U fedops'"
    device.server.other_version = said
    manager = device.start()
    assert manager.wait(20) == 2
    assert f"fedops: {said}" in manager.text
    assert "Traceback" not in manager.text


def test_a_server_of_before_is_said_to_be_old(device: Device) -> None:
    device.server.old = True
    manager = device.start()
    assert manager.wait(20) == 2
    assert "is older than this device" in manager.text
    assert "Traceback" not in manager.text
