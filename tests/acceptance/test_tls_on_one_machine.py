"""TLS on loopback: from plain HTTP to TLS and what is left of plain HTTP, and a server that has none."""

from __future__ import annotations

import json
import os
import ssl
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from federating import LIGHT, WITH_LIGHT, complete, part_of
from postgres import fresh_database

from fedops.core.errors import FedOpsError
from fedops.core.states import RunStatus
from fedops.demo.federation import FEDOPS, Federation, free_port

NAMES = ("left", "right")
POSTGRES = os.environ.get("FEDOPS_TEST_POSTGRES")


def server_of(federation: Federation, name: str) -> str:
    """Where a device believes its server to be."""
    return str(json.loads((federation.device_home(name) / "device.json").read_text())["server"])


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Its devices joined over plain HTTP; then its server was started with TLS."""
    with Federation(tmp_path_factory.mktemp("moves"), WITH_LIGHT) as federation:
        federation.start_server()
        federation.create_task("tiny", LIGHT)
        for name in (*NAMES, "late"):
            federation.join(name)
        federation.stop("server")
        federation.tls = True
        federation.start_server()
        yield federation


def test_devices_that_joined_without_tls_go_on_with_it(moved: Federation) -> None:
    for name in NAMES:
        assert server_of(moved, name).startswith("http://")
        moved.start_client(name, LIGHT, "tiny", overrides=part_of(NAMES, name))
    moved.until_ready(NAMES, seconds=90.0)
    assert {server_of(moved, name) for name in NAMES} == {moved.url}
    assert complete(moved, "tiny").status is RunStatus.COMPLETED


def test_what_is_left_of_plain_http(moved: Federation) -> None:
    plain = moved.url.replace("https://", "http://")
    bearer = {"authorization": f"Bearer {moved.admin_token}", "fedops-protocol": "1"}
    for method, path in (
        ("GET", "/info"),
        ("POST", "/join"),
        ("GET", "/devices"),
        ("GET", "/runs"),
    ):
        answer = httpx.request(method, f"{plain}/api/v1{path}", headers=bearer)
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "TLS/1.2")
    page = httpx.get(plain, headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (307, f"{moved.url}/")
    with pytest.raises(FedOpsError, match="this server speaks TLS only"):
        moved.command("join", plain, "--home", str(moved.home / "new"), FEDOPS_JOIN_TOKEN="x")
    # A device of an earlier FedOps is answered for thirty days more.
    token = json.loads((moved.device_home("late") / "device.json").read_text())["token"]
    device = {"authorization": f"Bearer {token}", "fedops-protocol": "1"}
    assert httpx.get(f"{plain}/api/v1/devices/me", headers=device).status_code == 200
    until = float((moved.server_home / "tls" / "plain-http-until").read_text().split()[0])
    assert 29 < (until - time.time()) / 86_400 <= 30


def test_after_thirty_days_it_takes_the_line_once_more(moved: Federation) -> None:
    moved.stop("server")
    (moved.server_home / "tls" / "plain-http-until").write_text(f"{time.time() - 1}\n")
    moved.start_server()
    words = moved.client_command("late", LIGHT, ["tiny"])[3:]
    with pytest.raises(FedOpsError, match="does not upgrade devices that joined without it"):
        moved.command(*words)
    assert server_of(moved, "late").startswith("http://")
    moved.command("join", moved.join_url, "--home", str(moved.device_home("late")))
    assert server_of(moved, "late") == moved.url
    moved.start_client("late", LIGHT, "tiny")
    moved.until_ready(["late"], seconds=90.0)


def test_the_commands_of_this_machine_find_a_server_with_tls(moved: Federation) -> None:
    here = {"FEDOPS_SERVER_HOME": str(moved.server_home)}
    status = moved.command("server", "status", **here)
    assert (status["insecure"], status["join_url"].split("#")[0]) == (False, moved.url)
    assert 80 < (status["certificate_until"] - time.time()) / 86_400 < 91
    login = moved.home / "cli.json"
    there = {"FEDOPS_LOGIN_FILE": str(login), "FEDOPS_SERVER_HOME": str(moved.home / "none")}
    with pytest.raises(FedOpsError, match="this server speaks TLS only"):
        moved.command("login", moved.url.replace("https", "http"), FEDOPS_TOKEN="x", **there)
    moved.command("login", status["join_url"], FEDOPS_TOKEN=moved.admin_token, **there)
    assert login.stat().st_mode & 0o777 == 0o600
    assert moved.command("status", **there)["server"]["insecure"] is False


def test_a_server_without_tls_says_so_everywhere(tmp_path: Path) -> None:
    with Federation(tmp_path, WITH_LIGHT) as federation:
        federation.start_server("--host", "0.0.0.0", "--insecure")
        assert "INSECURE" in (tmp_path / "logs" / "server.log").read_text()
        assert federation.admin("server", "status")["insecure"] is True
        attention = federation.admin("status")["attention"]
        assert attention[0].startswith("INSECURE: this server speaks no TLS")
        for page in ("/", "/api/docs"):
            assert "INSECURE" in httpx.get(f"{federation.url}{page}", follow_redirects=True).text
        federation.join("anyhow")


@pytest.mark.skipif(POSTGRES is None, reason="FEDOPS_TEST_POSTGRES names no server")
def test_a_file_server_speaks_tls_with_the_certificate_of_its_home(tmp_path: Path) -> None:
    assert POSTGRES
    with fresh_database(POSTGRES, f"tls_{uuid.uuid4().hex}") as url:
        env = {**WITH_LIGHT, "FEDOPS_DATABASE_URL": url}
        with Federation(tmp_path, env, tls=True) as federation:
            federation.start_server()
            port = free_port()
            place = ["--home", str(federation.server_home), "--port", str(port), "--tls"]
            federation._start("files", [*FEDOPS, "server", "files", *place])
            verify = ssl.create_default_context(cadata=federation.authorities)
            with httpx.Client(verify=verify, base_url=f"https://127.0.0.1:{port}") as client:
                federation.until("the file server", lambda: _answers(client))
                assert client.get("/health").json() == {"status": "ok"}
                unknown = client.get(f"/api/v1/blobs/{'0' * 64}", headers={"fedops-protocol": "1"})
                assert unknown.status_code == 401
            assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 426


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False
