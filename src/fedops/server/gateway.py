"""The Fleet gateway: what a node may say to the SuperLink, and nothing else.

An ASGI app of its own, mounted at ``/v1/fleet``. It knows the database only through ``NodeAuth``, so that
it can become its own process. Bodies are streamed both ways and never held.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx

from fedops.core.contracts import ErrorReply
from fedops.core.errors import FedOpsError, Forbidden, NotFound, Unavailable
from fedops.server.node_auth import NodeAuth

logger = logging.getLogger("fedops.server.gateway")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOUNT = "/v1/fleet"
METHODS = (
    "send-node-heartbeat",
    "pull-messages",
    "push-messages",
    "pull-object",
    "push-object",
    "confirm-message-received",
)
#: Compared with the path as it came over the wire: nothing is decoded, so nothing can be smuggled.
PATHS = frozenset(f"{MOUNT}/{method}".encode() for method in METHODS)

_REQUEST_HEADERS = frozenset({"accept", "content-type", "content-length", "content-encoding"})
_RESPONSE_HEADERS = frozenset({"content-type", "content-length", "content-encoding", "date"})
_FLOWER_PREFIX = "flwr-"
_TIMEOUT = httpx.Timeout(60.0, connect=5.0, pool=30.0)
# The SuperLink closes a connection after 5 idle seconds: let go of it earlier.
_LIMITS = httpx.Limits(max_connections=200, max_keepalive_connections=50, keepalive_expiry=2.0)


class _ClientGone(Exception):
    """The node hung up in the middle of its request."""


class FleetGateway:
    """Passes the six Fleet methods from approved devices to the SuperLink on loopback."""

    def __init__(self, auth: NodeAuth, fleet_url: Callable[[], str | None]) -> None:
        self._auth = auth
        self._fleet_url = fleet_url
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Close the connections to the SuperLink."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the Fleet gateway serves HTTP, not {scope['type']}")
        try:
            request = await self._request(scope, receive)
        except FedOpsError as error:
            await _refuse(send, error)
            return
        await self._pass_on(request, send)

    async def _request(self, scope: Scope, receive: Receive) -> httpx.Request:
        """The request to the SuperLink, after all checks."""
        path = scope.get("raw_path") or scope["path"].encode()
        if path not in PATHS or scope["method"] != "POST":
            raise NotFound("the Fleet gateway has no such method")
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        device = await self._auth.verify_async(headers)
        url = self._fleet_url()
        if url is None:
            raise Unavailable("the SuperLink is being started; try again in a few seconds")
        logger.debug("%s from %s", path, device.name)
        return self._http().build_request(
            "POST", url + path.decode(), headers=_passed(headers), content=_body(receive)
        )

    async def _pass_on(self, request: httpx.Request, send: Send) -> None:
        try:
            response = await self._http().send(request, stream=True)
        except _ClientGone:
            return
        except httpx.TransportError as error:
            logger.warning("the SuperLink did not take %s: %r", request.url.path, error)
            await _refuse(send, Unavailable("the SuperLink does not answer; try again soon"))
            return
        try:
            await _answer(response, send)
        except httpx.TransportError as error:
            # Too late for an error reply: the incomplete answer makes the connection close.
            logger.warning("the SuperLink broke off %s: %r", request.url.path, error)
        finally:
            await response.aclose()

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT, limits=_LIMITS, trust_env=False)
        return self._client


def _passed(headers: dict[str, str]) -> dict[str, str]:
    passed = {n: value for n, value in headers.items() if _is_passed(n, _REQUEST_HEADERS)}
    return {"accept-encoding": "identity", **passed}


def _is_passed(name: str, allowed: frozenset[str]) -> bool:
    return name in allowed or name.startswith(_FLOWER_PREFIX)


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _answer(response: httpx.Response, send: Send) -> None:
    # A node takes 401 for the end of its life; whatever the SuperLink means by it is a refusal.
    status = Forbidden.http_status if response.status_code == 401 else response.status_code
    headers = [
        (name.lower(), value)
        for name, value in response.headers.raw
        if _is_passed(name.lower().decode("latin-1"), _RESPONSE_HEADERS)
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    async for block in response.aiter_raw():
        await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(send: Send, error: FedOpsError) -> None:
    reply = ErrorReply(kind=error.kind, error=type(error).__name__, message=error.message)
    body = json.dumps(reply.model_dump()).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
