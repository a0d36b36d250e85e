"""Where a request comes from: the word of a trusted proxy counts, nobody else's; and whose page is ours."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest
from attacks import head, heard, line_to, status_of
from cryptography.hazmat.primitives.asymmetric import ec
from server_process import ServerProcess, server_process

from fedops.client.device.enrolment import join_request
from fedops.core import contracts as c

PROXY, ELSEWHERE = "127.0.0.7", "127.0.0.8"
BEHIND = "203.0.113.9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDOPS_SERVER_TRUSTED_PROXIES", f"{PROXY}, 192.0.2.0/24")
        with server_process(tmp_path_factory.mktemp("proxies") / "server") as made:
            yield made


@pytest.fixture
def joining(server: ServerProcess) -> bytes:
    """A join with a token for machines behind the proxy."""
    with server.operator() as operator:
        token = operator.create_token(c.TokenCreate(network="203.0.113.0/24")).token
    key = ec.generate_private_key(ec.SECP384R1())
    return join_request(token or "", "a", key, c.DeviceInfo()).model_dump_json().encode()


def join_from(server: ServerProcess, source: str, body: bytes, forwarded: str) -> httpx.Response:
    with httpx.Client(
        transport=httpx.HTTPTransport(local_address=source), base_url=server.url, trust_env=False
    ) as http:
        headers = {
            "content-type": "application/json",
            "fedops-protocol": "1",
            "x-forwarded-for": forwarded,
        }
        return http.post("/api/v1/join", content=body, headers=headers)


def test_the_word_of_a_trusted_proxy_counts(server: ServerProcess, joining: bytes) -> None:
    answer = join_from(server, PROXY, joining, BEHIND)
    assert answer.status_code == 201, answer.text


def test_nobody_elses_word_counts(server: ServerProcess, joining: bytes) -> None:
    answer = join_from(server, ELSEWHERE, joining, BEHIND)
    assert answer.status_code == 403
    assert f"this one calls from {ELSEWHERE}" in answer.json()["message"]


def test_what_a_device_adds_itself_does_not_count(server: ServerProcess, joining: bytes) -> None:
    """The proxy appends whom it sees: what stands before that is what the caller says."""
    answer = join_from(server, PROXY, joining, f"{BEHIND}, {ELSEWHERE}")
    assert answer.status_code == 403


@pytest.mark.parametrize(("origin", "status"), [("https://evil.example", 403), ("own", 101)])
def test_only_its_own_pages_open_a_websocket(
    server: ServerProcess, origin: str, status: int
) -> None:
    host = f"127.0.0.1:{server.port}"
    secret = (server.home / "admin-token").read_text().strip()
    session = httpx.post(f"http://{host}/sign-in", data={"secret": secret})
    asked = head(
        "GET",
        "/live?at=/",
        cookie=session.headers["set-cookie"].partition(";")[0],
        host=host,
        origin=f"http://{host}" if origin == "own" else origin,
        connection="Upgrade",
        upgrade="websocket",
        sec_websocket_version=13,
        sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
    )
    with line_to(server.port) as line:
        line.sendall(asked)
        line.settimeout(5.0)
        answer = line.recv(1 << 12) if status == 101 else heard(line)
    assert status_of(answer) == status


def test_a_foreign_name_opens_none_either(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5.0) as line:
        line.sendall(head("GET", "/", host="rebound.example"))
        assert status_of(heard(line)) == 421
