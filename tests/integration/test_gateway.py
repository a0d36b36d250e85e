"""The Fleet gateway: what passes, what does not, and that nothing is held on the way."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from serving import serving
from starlette.applications import Starlette
from starlette.routing import Mount

from fedops.core.states import Enrolment
from fedops.flower.engine import FlowerEngine
from fedops.flower.superlink import SuperLink
from fedops.server.devices import DeviceKey
from fedops.server.gateway import METHODS, FleetGateway
from fedops.server.keys import parse
from fedops.server.node_auth import NodeAuth

CURVE = ec.SECP384R1()


@dataclass
class FakeSuperLink:
    """Answers what it is told to and remembers what reached it."""

    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)
    status: int = 200
    first_block: threading.Event = field(default_factory=threading.Event)
    answer: Callable[[], Iterator[bytes]] = lambda: iter([b"pong"])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        self.seen.append((scope["method"], scope["raw_path"].decode(), headers))
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            if size:
                self.first_block.set()
        self.bodies.append(size)
        start = {"type": "http.response.start", "status": self.status}
        await send({**start, "headers": [(b"flwr-told", b"this"), (b"server", b"secret")]})
        for block in self.answer():
            await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class Fleet:
    """A gateway before a fake SuperLink, with one approved device."""

    superlink: FakeSuperLink
    auth: NodeAuth
    key: ec.EllipticCurvePrivateKey
    devices: list[DeviceKey]
    port: int = 0
    url: str | None = None

    def call(
        self, path: str, method: str = "POST", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request whose path goes over the wire exactly as given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            signed_headers = signed(self.key) if headers is None else headers
            connection.request(method, path, body=b"ping", headers=signed_headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def device(key: ec.EllipticCurvePrivateKey, name: str = "pi-1") -> DeviceKey:
    node_key = parse(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    return DeviceKey(
        name, name, Enrolment.APPROVED, node_key.openssh.encode(), node_key.fingerprint, None
    )


def signed(
    key: ec.EllipticCurvePrivateKey, at: datetime | None = None, text: str | None = None
) -> dict[str, str]:
    timestamp = text or (at or datetime.now(UTC)).isoformat()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = key.sign(timestamp.encode(), ec.ECDSA(hashes.SHA256()))
    return {
        "flwr-public-key": b64encode(public).decode(),
        "flwr-timestamp": timestamp,
        "flwr-signature": b64encode(signature).decode(),
    }


def mounted(gateway: FleetGateway) -> Starlette:
    """The gateway as the Server Manager mounts it."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await gateway.close()

    return Starlette(routes=[Mount("/v1/fleet", gateway)], lifespan=lifespan)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    superlink, key = FakeSuperLink(), ec.generate_private_key(CURVE)
    devices = [device(key)]
    auth = NodeAuth(lambda: list(devices))
    made = Fleet(superlink, auth, key, devices)
    gateway = FleetGateway(auth, lambda: made.url)
    with serving(superlink, lifespan="off") as upstream, serving(mounted(gateway)) as port:
        made.url, made.port = f"http://127.0.0.1:{upstream}", port
        yield made


# --- what passes -----------------------------------------------------------------------------


def test_the_six_methods_pass(fleet: Fleet) -> None:
    headers = {**signed(fleet.key), "content-type": "application/protobuf", "cookie": "mine"}
    for method in METHODS:
        assert fleet.call(f"/v1/fleet/{method}", headers=headers) == (200, b"pong")
    reached = [(verb, path) for verb, path, _ in fleet.superlink.seen]
    assert reached == [("POST", f"/v1/fleet/{method}") for method in METHODS]
    assert fleet.superlink.bodies == [4] * len(METHODS)
    seen = fleet.superlink.seen[0][2]
    assert seen["content-type"] == "application/protobuf"
    assert seen["content-length"] == "4"
    assert seen["flwr-signature"] == headers["flwr-signature"]
    assert "cookie" not in seen


def test_answers_keep_status_and_flower_headers_but_never_401(fleet: Fleet) -> None:
    fleet.superlink.status = 412
    url = f"http://127.0.0.1:{fleet.port}/v1/fleet/pull-messages"
    response = httpx.post(url, headers=signed(fleet.key))
    assert (response.status_code, response.headers["flwr-told"]) == (412, "this")
    assert response.headers.get("server") != "secret"
    fleet.superlink.status = 401
    assert fleet.call("/v1/fleet/pull-messages")[0] == 403


def test_bodies_are_streamed_both_ways(fleet: Fleet) -> None:
    arrived = threading.Event()
    block = b"x" * (1 << 20)

    def request() -> Iterator[bytes]:
        yield block
        assert fleet.superlink.first_block.wait(10), "the first block was held back"
        for _ in range(44):
            yield block

    def answer() -> Iterator[bytes]:
        yield block
        yield from (block for _ in range(44))

    fleet.superlink.answer = answer
    url = f"http://127.0.0.1:{fleet.port}/v1/fleet/push-object"
    size = 0
    with httpx.stream("POST", url, headers=signed(fleet.key), content=request()) as response:
        for part in response.iter_raw():
            arrived.set()
            size += len(part)
    assert fleet.superlink.bodies == [45 << 20]
    assert size == 45 << 20


# --- what does not ---------------------------------------------------------------------------

FORBIDDEN_PATHS = [
    "/v1/fleet/register-node",
    "/v1/fleet/unregister-node",
    "/v1/fleet/activate-node",
    "/v1/fleet/deactivate-node",
    "/v1/fleet/get-run",
    "/v1/fleet/get-fab",
    "/v1/fleet",
    "/v1/fleet/",
    "/v1/fleet/pull-messages/",
    "/v1/fleet//pull-messages",
    "/v1//fleet/pull-messages",
    "//v1/fleet/pull-messages",
    "/v1/fleet/./pull-messages",
    "/v1/fleet/../fleet/pull-messages",
    "/v1/fleet/../control/list-runs",
    "/v1/fleet/..%2fcontrol%2flist-runs",
    "/v1/fleet/%2e%2e/control/list-runs",
    "/v1/fleet/%2E%2E/control/start-run",
    "/v1/fleet/pull-messages/../../control/start-run",
    "/v1/fleet/pull-messages%2f..%2f..%2fcontrol%2fstart-run",
    "/v1/fleet/pull%2dmessages",
    "/v1/fleet/PULL-MESSAGES",
    "/v1/fleet/pull-messages%00",
    "/v1/fleet/pull-messages;x",
    "/v1/control/list-runs",
    "/v1/runtime/pull-messages",
    "http://127.0.0.1/v1/control/list-runs",
]


def test_no_other_path_reaches_the_superlink(fleet: Fleet) -> None:
    for path in FORBIDDEN_PATHS:
        status, _ = fleet.call(path)
        assert status in (307, 400, 403, 404), path  # 307: the router adds the slash
        assert fleet.superlink.seen == [], path


def test_only_post_passes(fleet: Fleet) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        assert fleet.call("/v1/fleet/pull-messages", method)[0] == 404
    assert fleet.superlink.seen == []


def test_the_query_string_stays_behind(fleet: Fleet) -> None:
    assert fleet.call("/v1/fleet/pull-messages?../../control/start-run")[0] == 200
    assert [path for _, path, _ in fleet.superlink.seen] == ["/v1/fleet/pull-messages"]


def refused(fleet: Fleet, headers: dict[str, str]) -> str:
    """The message with which these headers are refused."""
    status, body = fleet.call("/v1/fleet/pull-messages", headers=headers)
    assert status == 403
    assert fleet.superlink.seen == []
    assert b'"forbidden"' in body
    return body.decode()


def test_who_did_not_sign_is_refused(fleet: Fleet) -> None:
    good, other = signed(fleet.key), signed(ec.generate_private_key(CURVE))
    assert "approved" in refused(fleet, other)
    assert "signature" in refused(fleet, {**good, "flwr-signature": other["flwr-signature"]})
    assert "timestamp" in refused(fleet, {**good, "flwr-timestamp": "yesterday"})
    assert "base64" in refused(fleet, {**good, "flwr-signature": "%%%"})
    assert "base64" in refused(fleet, {**good, "flwr-public-key": "%%%"})
    assert "public key" in refused(fleet, {**good, "flwr-public-key": b64encode(b"key").decode()})
    for missing in good:
        refused(fleet, {name: value for name, value in good.items() if name != missing})
    refused(fleet, {"authorization": "Bearer fo_admin_x"})


def test_an_old_or_early_signature_is_refused_in_any_time_zone(fleet: Fleet) -> None:
    now = datetime.now(UTC)
    for seconds in (-70, 70):
        assert "clock" in refused(fleet, signed(fleet.key, now + timedelta(seconds=seconds)))
    assert "time zone" in refused(fleet, signed(fleet.key, text=datetime.now().isoformat()))  # noqa: DTZ005
    far = now.astimezone(timezone(timedelta(hours=9))) - timedelta(seconds=50)
    headers = signed(fleet.key, far)
    assert fleet.call("/v1/fleet/pull-messages", headers=headers)[0] == 200


def test_approval_and_revocation_count_from_the_next_request_on(fleet: Fleet) -> None:
    new = ec.generate_private_key(CURVE)
    assert fleet.call("/v1/fleet/pull-messages", headers=signed(new))[0] == 403
    fleet.devices.append(device(new, "pi-2"))
    fleet.auth.devices_changed()
    assert fleet.call("/v1/fleet/pull-messages", headers=signed(new))[0] == 200
    fleet.devices.pop(0)
    fleet.auth.devices_changed()
    assert fleet.call("/v1/fleet/pull-messages")[0] == 403
    assert fleet.call("/v1/fleet/pull-messages", headers=signed(new))[0] == 200


# --- when the SuperLink is away --------------------------------------------------------------


def test_503_while_the_superlink_is_away(fleet: Fleet) -> None:
    url, fleet.url = fleet.url, None
    status, body = fleet.call("/v1/fleet/pull-messages")
    assert (status, b"unavailable" in body) == (503, True)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        fleet.url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert fleet.call("/v1/fleet/pull-messages")[0] == 503
    fleet.url = url
    assert fleet.call("/v1/fleet/pull-messages")[0] == 200


def test_a_node_that_hangs_up_leaves_the_gateway_well(fleet: Fleet) -> None:
    with socket.create_connection(("127.0.0.1", fleet.port)) as half:
        lines = [f"{name}: {value}" for name, value in signed(fleet.key).items()]
        head = ["POST /v1/fleet/push-object HTTP/1.1", "host: x", "content-length: 1000", *lines]
        half.sendall("\r\n".join([*head, "", "abc"]).encode())
        assert fleet.superlink.first_block.wait(10)
    deadline = time.monotonic() + 10
    while not fleet.superlink.bodies:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert fleet.call("/v1/fleet/pull-messages")[0] == 200


# --- the real thing --------------------------------------------------------------------------


def test_a_flower_node_reaches_a_real_superlink(tmp_path: Path) -> None:
    engine = FlowerEngine(SuperLink(tmp_path / "engine", tmp_path))
    engine.start()
    try:
        key = ec.generate_private_key(CURVE)
        node = device(key)
        gateway = FleetGateway(NodeAuth(lambda: [node]), lambda: engine.fleet_url)
        node_id = int(engine.register_node(node.public_key))
        with serving(mounted(gateway)) as port:
            client = FleetHttpClient.from_server_address(
                f"127.0.0.1:{port}", True, None, [NodeAuthHttpInterceptor(key, key.public_key())]
            )
            with client:
                beat = SendNodeHeartbeatRequest(node=Node(node_id=node_id), heartbeat_interval=30)
                assert client.SendNodeHeartbeat(beat).success
                beat.node.node_id = node_id + 1
                with pytest.raises(httpx.HTTPStatusError, match="403"):
                    client.SendNodeHeartbeat(beat)
    finally:
        engine.stop()
