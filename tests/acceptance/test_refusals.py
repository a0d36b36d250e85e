"""Bad input from the command line: one clear message, the right exit code, nothing lost."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from federating import LIGHT, TINY, WITH_LIGHT

from fedops.core.errors import Conflict, FedOpsError, Forbidden, Invalid, NotFound, Unavailable
from fedops.demo.federation import FEDOPS, Federation, free_port
from fedops.processes.spawn import clean_env


def test_unknown_things_are_not_found(server: Federation) -> None:
    for words in (
        ["task", "show", "nowhere"],
        ["run", "start", "nowhere"],
        ["run", "show", "4711"],
        ["device", "show", "nobody"],
        ["model", "list", "nowhere"],
    ):
        with pytest.raises(NotFound, match=f"{words[2]}"):
            server.admin(*words)


def test_a_task_is_created_once(server: Federation) -> None:
    server.create_task("once", LIGHT)
    with pytest.raises(Conflict, match="once"):
        server.create_task("once", LIGHT)
    assert server.admin("task", "show", "once")["status"] == "ready"


def test_a_folder_that_is_no_app(server: Federation, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"no pyproject\.toml"):
        server.create_task("no-app", tmp_path)
    with pytest.raises(Invalid, match="no app folder"):
        server.create_task("no-app", tmp_path / "missing")
    with pytest.raises(NotFound):
        server.admin("task", "show", "no-app")


def test_a_broken_config_names_every_bad_key(server: Federation, tmp_path: Path) -> None:
    app = tmp_path / "light"
    shutil.copytree(LIGHT, app)
    config = app / "lightapp" / "conf" / "config.toml"
    text = config.read_text().replace("batch_size = 16", 'batch_size = "many"\nbach_size = 3')
    config.write_text(text.replace("[dataset]", '[dataset]\nfallback = "dogs"'))
    with pytest.raises(Invalid) as refused:
        server.create_task("broken", app)
    for word in ("config.toml", "batch_size", "bach_size", "fallback", "digits"):
        assert word in refused.value.message
    with pytest.raises(NotFound):
        server.admin("task", "show", "broken")


def test_a_wrong_override_names_key_and_choices(server: Federation) -> None:
    server.create_task("override", LIGHT)
    with pytest.raises(Invalid, match="num_round"):
        server.admin("run", "start", "override", "--set", "num_round=3")
    with pytest.raises(Invalid, match="num_rounds"):
        server.admin("run", "start", "override", "--set", "num_rounds=none")
    assert server.admin("run", "list", "--task", "override") == []


def test_what_is_wrong_on_every_device_is_refused_before_the_run(server: Federation) -> None:
    server.create_task("layers", TINY)
    for key, value, words in (
        ("xai.layer", "hiden", "no layer 'hiden'; did you mean 'hidden'?"),
        ("model.widht", "3", "has no such parameter"),
    ):
        wrong = ["--set", "xai.enabled=true", "--set", f"{key}={value}"]
        with pytest.raises(Invalid) as refused:
            server.admin("run", "start", "layers", *wrong)
        assert words in refused.value.message
        assert str(server.server_home) not in refused.value.message
    assert server.admin("run", "list", "--task", "layers") == []


def test_a_token_works_as_often_as_it_says(server: Federation) -> None:
    token = server.admin("token", "create", "--uses", "1")["token"]
    server.join("first-user", token)
    with pytest.raises(Forbidden, match="used"):
        server.join("second-user", token)
    assert not (server.device_home("second-user") / "device.json").exists()


def test_expired_revoked_and_wrong_tokens(server: Federation) -> None:
    expired = server.admin("token", "create", "--expires", "1s")["token"]
    made = server.admin("token", "create")
    server.admin("token", "revoke", str(made["id"]))
    time.sleep(1.1)
    for name, token in (("late", expired), ("gone", made["token"]), ("bad", "fo_join_wrong")):
        with pytest.raises(Forbidden, match="token"):
            server.join(name, token)
    names = [device["name"] for device in server.admin("device", "list")]
    assert not {"late", "gone", "bad"} & set(names)


def test_joining_twice_is_harmless(server: Federation) -> None:
    server.join("again")
    before = (server.device_home("again") / "device.json").read_text()
    server.join("again")
    assert (server.device_home("again") / "device.json").read_text() == before


def test_a_device_name_is_unique_on_its_server(server: Federation) -> None:
    server.join("unique")
    shutil.move(server.device_home("unique"), server.device_home("another machine"))
    server.join("unique")
    names = [device["name"] for device in server.admin("device", "list")]
    assert [name for name in names if name.startswith("unique")] == ["unique", "unique-2"]


def test_a_device_token_is_no_admin_token(server: Federation) -> None:
    server.join("limited")
    token = json.loads((server.device_home("limited") / "device.json").read_text())
    secret = next(v for v in token.values() if str(v).startswith("fo_device_"))
    with pytest.raises(Forbidden):
        server.command("device", "list", "--server", server.url, FEDOPS_TOKEN=secret)
    with pytest.raises(Forbidden):
        server.command("device", "list", "--server", server.url, FEDOPS_TOKEN="fo_admin_wrong")


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    federation = Federation(tmp_path)
    with pytest.raises(Unavailable, match=url):
        federation.command("run", "list", "--server", url, FEDOPS_TOKEN="fo_admin_x")


def test_joining_an_unreachable_server_tries_again_then_says_so(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    words = ["--home", str(tmp_path / "d"), "--wait", "4"]
    with pytest.raises(Unavailable, match=f"{url}.*gave up after 4 s"):
        Federation(tmp_path).command("join", url, *words, FEDOPS_JOIN_TOKEN="x")
    assert time.monotonic() - began > 3.0


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = fails("server", "--home", str(tmp_path), "--port", str(port))
    assert done.returncode in (Conflict.exit_code, Unavailable.exit_code)
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_listening_on_all_addresses_needs_tls_or_insecure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDOPS_SERVER_TLS", "off")
    done = fails("server", "--home", str(tmp_path), "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == Invalid.exit_code
    assert "--insecure" in done.stderr


def test_two_servers_on_one_data_folder(server: Federation) -> None:
    done = fails("server", "--home", str(server.server_home), "--port", str(free_port()))
    assert done.returncode == Conflict.exit_code
    assert "already running" in done.stderr


def test_two_client_managers_on_one_data_folder(server: Federation) -> None:
    server.create_task("twice", LIGHT)
    server.join("single")
    server.start_client("single", LIGHT, "twice")
    server.until_ready(["single"])
    done = fails(*server.client_command("single", LIGHT, ["twice"])[len(FEDOPS) :])
    assert done.returncode == Conflict.exit_code
    assert "already running" in done.stderr
    server.stop("single")


def test_a_client_of_an_unknown_task_is_told_the_right_ones(server: Federation) -> None:
    server.create_task("known", LIGHT)
    server.join("lost")
    done = fails(*server.client_command("lost", LIGHT, ["knwon"])[len(FEDOPS) :])
    assert done.returncode == NotFound.exit_code
    assert "knwon" in done.stderr
    assert "known" in done.stderr.replace("knwon", "")


def test_a_client_that_never_joined(tmp_path: Path) -> None:
    done = fails("client", "run", "--app", str(LIGHT), "--home", str(tmp_path / "new"))
    assert done.returncode in (NotFound.exit_code, Invalid.exit_code)
    assert "fedops join" in done.stderr


def fails(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is expected to fail soon."""
    done = subprocess.run(
        [*FEDOPS, *words],
        env=clean_env(WITH_LIGHT),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done


def test_every_message_says_what_to_do(server: Federation) -> None:
    with pytest.raises(FedOpsError) as refused:
        server.admin("model", "show", "nowhere")
    assert len(refused.value.message.split()) >= 5
