"""The Client Manager and its training client as real processes, against a server on loopback."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from device_processes import Device, alive, gone
from fake_manager import eventually
from fake_manager_server import fake_server

from fedops.client.device.enrolment import join
from fedops.client.local.status import (
    client_status,
    restart_program,
    restart_training,
    stop_client,
)
from fedops.core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- joining -----------------------------------------------------------------------------------


def test_joining_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with fake_server() as (server, url):
        first = join(url + "/", "good", "pi-1", home)
        assert first.message == f"joined {url} as 'pi-1'"
        again = join(url, "anything", "other", home)
        assert again.message == f"already joined {url} as 'pi-1'; nothing to do"
        other_way = join(url, "anything", "other", home, proxy="http://127.0.0.1:1")
        assert "--proxy is not kept: write it into" in other_way.message
        assert len(server.joins) == 1
        assert server.joins[0]["public_key"].startswith("ecdsa-sha2-nistp384 ")
        with pytest.raises(Conflict, match="--home"):
            join("http://127.0.0.1:1", "good", "pi-1", home)
    assert mode_of(home) == 0o700
    assert mode_of(home / "device.json") == 0o600
    assert mode_of(home / "node-key.pem") == 0o600
    assert "[limits]" in (home / "device.toml").read_text()


def test_a_name_that_is_taken_is_said(tmp_path: Path) -> None:
    with fake_server() as (server, url):
        server.taken.add("pi-1")
        said = join(url, "good", "pi-1", tmp_path).message
    assert (
        said
        == f"joined {url} as 'pi-1-2'; the name 'pi-1' was taken, so the server gave it another one"
    )


def test_a_home_whose_device_was_shut_out_joins_no_more(tmp_path: Path) -> None:
    with fake_server() as (server, url):
        join(url, "good", "pi-1", tmp_path)
        server.forbidden = "device 'pi-1' was revoked"
        with pytest.raises(Forbidden, match=r"wants nothing any more .*was revoked.*--home"):
            join(url, "good", "pi-1", tmp_path)


def test_a_join_that_failed_is_repeated_with_the_same_key(tmp_path: Path) -> None:
    with fake_server() as (server, url):
        with pytest.raises(Forbidden, match="wrong, expired or used up"):
            join(url, "bad", "pi-1", tmp_path)
        key = (tmp_path / "node-key.pem").read_bytes()
        (tmp_path / "device.toml").write_text("[limits]\nthreads = 1\n")
        server.wanted["enrolment"] = "pending"
        assert "approve" in join(url, "good", "pi-1", tmp_path).message
        assert (tmp_path / "node-key.pem").read_bytes() == key
        assert (tmp_path / "device.toml").read_text() == "[limits]\nthreads = 1\n"


def test_an_unreachable_server_is_tried_for_a_while(tmp_path: Path) -> None:
    asked: list[httpx.Request] = []

    def nobody(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ConnectError("nobody there")

    with pytest.raises(Unavailable, match="nobody there; gave up after 1 s"):
        join(
            "http://server",
            "good",
            "pi-1",
            tmp_path,
            patience=1,
            transport=httpx.MockTransport(nobody),
        )
    assert len(asked) == 2, "at the beginning and at the end"
    with pytest.raises(Invalid, match="http://"):
        join("127.0.0.1:9", "good", "pi-1", tmp_path)
    with pytest.raises(Invalid, match="--name"):
        join("http://127.0.0.1:9", "good", "my device", tmp_path)
    with pytest.raises(NotFound, match="fedops join"):
        client_status(tmp_path)


# --- one life ------------------------------------------------------------------------------------


def test_a_device_that_was_renamed_keeps_its_new_name(device: Device) -> None:
    manager = device.start()
    device.until("idle")
    assert client_status(device.home).device == "pi-1"
    device.server.bump(name="ward-7")
    eventually(lambda: client_status(device.home).device == "ward-7")
    assert "calls this device 'ward-7' now, not 'pi-1'" in manager.text
    device.server.bump(runs=[7])
    work = device.deliver(device.server.ask(7, 1))
    assert work.payload.configs["by"]["device"] == "ward-7", "and what it trains is by that name"
    stop_client(device.home)
    assert manager.wait() == 0
    assert client_status(device.home).device == "ward-7", "its home knows it, too"
    assert mode_of(device.home / "device.json") == 0o600


def test_after_an_upgrade_it_ends_so_that_its_service_starts_it_anew(device: Device) -> None:
    manager = device.start()
    device.until("idle")
    device.server.bump(fedops="9.9.9")
    eventually(lambda: client_status(device.home).server.fedops == "9.9.9")
    child = device.child()
    restart_program(device.home)
    assert manager.wait() == Unavailable.exit_code == 6, "systemd restarts it: no 0, 2, 3, 4 or 5"
    assert not alive(child)


def test_rounds_metrics_events_and_a_good_end(device: Device) -> None:
    server = device.server
    (device.home / "device.toml").write_text("[limits]\nmax_epochs = 3\n")
    manager = device.start(FEDOPS_ADMIN_TOKEN="fo_admin_secret")
    device.until("idle")
    assert client_status(device.home).why.endswith(" s, no run is active")
    server.bump(runs=[7])
    first, second = (device.deliver(server.ask(7, n, num_epochs=9)) for n in (1, 2))
    assert second.metrics["epochs"] == 3
    assert second.metrics["checkpoints"] == 2
    assert first.payload.arrays["arrays"]["packed"][0] == 1.0
    eventually(lambda: not list((device.home / "work").iterdir()))

    eventually(lambda: [r["name"] for r in server.records.values()].count("loss") == 2)
    began = [(e["run_id"], e["round"]) for e in server.events("began")]
    assert began == [(7, 1), (7, 2)]
    assert len(server.events("value_lowered")) == 1
    eventually(lambda: "device" in server.order)
    telemetry = next(r for r in server.records.values() if r["kind"] == "telemetry")
    assert telemetry["data"]["cpu_percent"] >= 0
    assert telemetry["data"]["training_memory_mb"] > 10
    status = client_status(device.home)
    assert status.server.reachable
    assert status.server.runs == [7]
    assert status.process.pid == device.child()

    assert server.polls[0]["info"]["libraries"]["numpy"] == version("numpy")
    assert server.polls[-1].get("info") is None  # once it was heard

    child = device.child()
    manager.process.send_signal(signal.SIGTERM)
    assert manager.wait(5) == 0
    assert not alive(child)
    assert "training client | clean" in manager.text
    assert "clean" in (device.home / "logs" / "training-client.log").read_text()
    assert server.process["status"] == "stopped"
    logs = "\n".join(r["text"] for r in server.records.values() if r["kind"] == "log")
    assert "clean" in logs
    ended = client_status(device.home)
    assert not ended.running
    assert "fedops client run" in ended.why


def test_the_owner_can_keep_logs_and_telemetry(device: Device) -> None:
    (device.home / "device.toml").write_text("[uploads]\nlogs = false\ntelemetry = false\n")
    device.start()
    device.until("idle")
    device.server.ask(1, 1)
    eventually(lambda: "loss" in device.server.order)
    time.sleep(2.5)
    assert {r["kind"] for r in device.server.records.values()} == {"event", "metric"}


# --- stopping ------------------------------------------------------------------------------------


@pytest.mark.parametrize("deaf", [False, True])
def test_cancelled_work_is_stopped_within_five_seconds(device: Device, deaf: bool) -> None:
    server = device.server
    device.start()
    device.until("idle")
    child = device.child()
    work = server.ask(7, 1, seconds=60, deaf=deaf)
    assert device.until("training")["run_id"] == 7
    begin = time.monotonic()
    polls = len(server.polls)
    server.cancel(work)
    eventually(lambda: not server.holds(work), 5.0)
    assert time.monotonic() - begin < 5.0
    assert len(server.polls) - polls < 12  # it does not ask again and again while it stops
    assert not server.delivered
    device.until("idle")
    assert (device.child() == child) is (not deaf)
    device.deliver(server.ask(8, 1))
    if deaf:  # ended on purpose: nothing that counts as a crash
        (ended, *_) = eventually(lambda: server.events("training_client_ended"))
        assert "went on" in ended["text"]


def test_sigterm_ends_a_child_that_ignores_it(device: Device) -> None:
    device.mode("stubborn")
    manager = device.start()
    device.until("idle")
    device.server.ask(7, 1, seconds=60, deaf=True)
    device.until("training")
    child = device.child()
    begin = time.monotonic()
    stop_client(device.home)
    assert manager.wait(8) == 0
    assert time.monotonic() - begin < 6
    assert not alive(child)


# --- crashes -------------------------------------------------------------------------------------


def test_kill_9_of_the_training_client(device: Device) -> None:
    server = device.server
    device.start()
    device.until("idle")
    work = server.ask(7, 3, seconds=2)
    device.until("training")
    child = device.child()
    os.kill(child, signal.SIGKILL)
    device.deliver(work)  # the next one does the same work
    assert device.child() != child
    assert server.process["restarts"] == 1
    assert device.trainings() == 2
    (ended,) = eventually(lambda: server.events("training_client_ended"))
    assert "memory" in ended["text"]
    assert (ended["run_id"], ended["round"]) == (7, 3)


def test_kill_9_of_the_manager(device: Device) -> None:
    server = device.server
    manager = device.start()
    device.until("idle")
    work = server.ask(7, 1, seconds=2, deaf=True)
    device.until("training")
    child = device.child()
    manager.process.kill()
    manager.process.wait()
    begin = time.monotonic()
    assert gone(child, 5.0)
    assert time.monotonic() - begin < 5.0
    assert not client_status(device.home).running
    device.start()
    device.deliver(work)
    assert device.child() != child
    assert server.calls["instruction"] == 1  # it was on the disk


def test_a_client_that_crashes_at_import_is_given_up_with_its_reason(device: Device) -> None:
    device.mode("crash")
    device.start()
    process = device.until("fatal", 60)
    assert process["reason"] == (
        "it ended with code 1: ModuleNotFoundError: No module named 'torchh'"
    )
    assert process["restarts"] == 4
    eventually(lambda: device.server.events("training_client_given_up"))
    assert "given up" in client_status(device.home).why
    device.mode("")
    restart_training(device.home)
    device.until("idle")


def test_a_mistake_of_the_users_is_given_up_at_once(device: Device) -> None:
    device.mode("invalid")
    manager = device.start("end=1")
    assert manager.wait(20) == 1
    message = "the training client is given up: config.toml: learning_rat: unknown key"
    assert f"fedops: {message}" in manager.text
    assert "Traceback" not in manager.text


def test_a_client_that_never_gets_ready_is_started_again(device: Device) -> None:
    device.mode("silent")
    device.start("start_seconds=1.5")
    assert "not ready within 2 s" in device.until("backoff")["reason"]


def test_a_client_that_eats_too_much_memory_is_ended(device: Device) -> None:
    (device.home / "device.toml").write_text("[limits]\nmemory_mb = 600\n")
    device.start()
    device.until("idle")
    work = device.server.ask(7, 1, eat_mb=700)
    ended = eventually(lambda: device.server.events("training_client_ended"))
    assert "memory_mb = 600" in ended[0]["text"]
    eventually(lambda: work.end, 60)  # it is given up after as many tries as any
    assert "memory_mb = 600" in work.end["reason"]


def test_a_device_reports_that_its_owner_lets_it_take_no_work_now(device: Device) -> None:
    (device.home / "device.toml").write_text("[conditions]\nmemory_mb = 1000000000\n")
    device.start()
    device.until("idle")
    unmet = "less than 1000000000 MB of memory free"
    assert {poll["process"]["unmet_conditions"] for poll in device.server.polls} == {unmet}
    said = f"takes no new work by its owner's conditions: {unmet}"
    assert said in client_status(device.home).why


# --- mistakes ------------------------------------------------------------------------------------


def test_an_unknown_task_lists_the_ready_ones(device: Device) -> None:
    device.server.ready_tasks = ["mnist", "cifar"]
    manager = device.start("tasks=mnits")
    assert manager.wait(20) == 4
    assert "no ready task 'mnits'; did you mean 'mnist'?; ready tasks: 'cifar', 'mnist'" in (
        manager.text
    )


def test_two_managers_on_one_data_dir(device: Device) -> None:
    first = device.start()
    device.until("idle")
    second = device.start()
    assert second.wait(10) == 5
    assert f"a Client Manager is already running on {device.home}" in second.text
    assert str(first.process.pid) in second.text
    assert len(second.text.splitlines()) == 1


def test_a_broken_device_toml_is_one_message(device: Device) -> None:
    (device.home / "device.toml").write_text("[limits]\nthread = 2\nnice = 40\n")
    manager = device.start()
    assert manager.wait(10) == 2
    assert "did you mean 'threads'?" in manager.text
    assert "limits.nice = 40" in manager.text


# --- the local ports -------------------------------------------------------------------------------


def test_the_local_ports_answer_only_to_loopback_names_and_the_token(device: Device) -> None:
    device.start()
    device.until("idle")
    tokens = [(device.home / name).read_text() for name in ("local-token", "training-token")]
    for name in ("local-token", "training-token"):
        assert mode_of(device.home / name) == 0o600
    status = client_status(device.home)
    assert status.url is not None
    assert status.training_url is not None
    of_manager, of_training = ({"authorization": f"Bearer {token}"} for token in tokens)
    for url, path, good, other in (
        (status.training_url, "/online", of_training, of_manager),
        (status.url, "/status", of_manager, of_training),
    ):
        assert httpx.get(url + path, headers=good).status_code == 200
        assert httpx.get(url + path).status_code == 403
        assert httpx.get(url + path, headers=other).status_code == 403
        wrong = {"authorization": "Bearer wrong"}
        assert httpx.get(url + path, headers=wrong).status_code == 403
        rebound = httpx.get(url + path, headers={**good, "host": "evil.example:8004"})
        assert rebound.status_code == 403
        assert "loopback" in rebound.json()["message"]
        assert httpx.get(url + path, headers={**good, "host": "localhost"}).status_code == 200
    info = httpx.get(status.url + "/info", headers=of_manager).json()
    assert info["device"] == "pi-1"
    assert "fo_device" not in json.dumps(info) + status.model_dump_json()
    bad = httpx.post(status.training_url + "/work", headers=of_training, json={"out": [1]})
    assert bad.status_code == 422
