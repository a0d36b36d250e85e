"""The gate before every app: whose request it is, under which name it came, how large it may be.

All of it is known from the headers, so that nobody without a credential has a body read.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedops.core.contracts import ErrorReply
from fedops.core.errors import FedOpsError, Forbidden
from fedops.server.access.principal import Principal
from fedops.server.access.token_cache import TokenCache
from fedops.server.access.tokens import Unauthorized
from fedops.server.edge.connections import SCOPE_KEY, Connection, ConnectionBook
from fedops.server.edge.hosts import Hosts
from fedops.server.edge.response_headers import with_headers
from fedops.server.protocol.addresses import plain_address
from fedops.server.protocol.error_replies import headers_of, log_trouble
from fedops.server.protocol.parties import party_of
from fedops.server.protocol.rates import Rates
from fedops.server.protocol.refusals import TooLarge, TooMany

_TOO_MUCH = "this device calls more often, or sends more, than one device may"
#: The largest body of who needs no credential, and of a join. Bytes.
STRANGER_BYTES, JOIN_BYTES = 64 << 10, 16 << 10
#: The largest of a call that is signed. Bytes.
SIGNED_BYTES = 1 << 20
#: After an answer, so many bytes of a body that nobody reads may come; before more the connection is closed.
_LEFT_OVER = 64 << 10
#: So many credentials from addresses that guess are looked up at a time.
_FEW = 2
_SITE = b"sec-fetch-site"
_WANTED = frozenset(
    (b"host", b"origin", _SITE, b"authorization", b"content-length", b"transfer-encoding")
)


@dataclass(frozen=True)
class Places:
    """Which paths are whose. A prefix is one of whole parts of a path."""

    #: The API: nothing with a body without a credential, but for what is said below.
    api: str
    health: str
    join: str
    #: Of the API, too: a small body without a credential.
    open: tuple[str, ...]
    #: Apps that look at the credential themselves before they read.
    own: tuple[str, ...]
    #: Of the API, too: what is below it is signed by who sends it, and read whole to see that. None: nothing.
    signed: str | None = None


@dataclass(frozen=True)
class Traffic:
    """What one device, and one address, may do in a minute. All is in the memory of this process."""

    calls: Rates
    #: Of the bodies of calls; files are bounded by the work that a device has.
    body_bytes: Rates
    #: Credentials that are none, by address.
    guesses: Rates
    #: Joins that were refused, and devices that joined, by address.
    failed_joins: Rates
    joins: Rates


class Gate:
    """An ASGI app before another. ``book``: the connections that its requests come by."""

    def __init__(
        self,
        app: ASGIApp,
        tokens: TokenCache,
        hosts: Hosts,
        places: Places,
        traffic: Traffic,
        book: ConnectionBook,
        refused: Callable[[str, str | None], Awaitable[None]] | None = None,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._hosts = hosts
        self._places = places
        self._traffic = traffic
        self.book = book
        self._refused = refused
        self._seen = tokens.generation
        self._cutting: asyncio.Task[None] | None = None
        #: For unknown credentials from where many wrong ones came.
        self._few = asyncio.Semaphore(_FEW)

    def look(self, now: float) -> None:
        """End what has taken too long, and what goes on for who was shut out. About once a second."""
        self.book.sweep(now)
        generation = self._tokens.generation
        if generation != self._seen and (self._cutting is None or self._cutting.done()):
            self._seen = generation
            self._cutting = asyncio.ensure_future(self._cut())

    async def _cut(self) -> None:
        """A transfer that is under way was admitted when it began."""
        busy = self.book.busy()
        for device in await asyncio.to_thread(self._tokens.shut_out, busy) if busy else []:
            for connection in self.book.of(device):
                self.book.end(connection, "shut out")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        head = _head_of(scope)
        if scope["type"] == "http" and _may_leave_much(head):
            receive, send = _ending(receive, send)
        try:
            self._check_place(scope, head)
            if scope["type"] == "http":
                receive, send = await self._admit(scope, head, receive, send)
        except FedOpsError as error:
            await _refuse(scope, error, send)
            return
        await self._app(scope, receive, send)

    def _check_place(self, scope: Scope, head: Mapping[bytes, bytes]) -> None:
        host = head.get(b"host", b"").decode("latin-1").lower()
        if (
            scope["path"] != self._places.health
        ):  # what balances loads asks by address, or by no name
            self._hosts.require(host)
        origin = head.get(b"origin")
        # "null": of what page it is is not said; a browser that says that it is one of ours says so itself.
        own = origin == b"null" and head.get(_SITE) == b"same-origin"
        if origin is not None and not own:
            scheme = scope["scheme"].replace("ws", "http")
            self._hosts.require_origin(origin.decode("latin-1").lower(), host, scheme)

    async def _admit(
        self, scope: Scope, head: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> tuple[Receive, Send]:
        path, places = scope["path"], self._places
        address = party_of((scope.get("client") or ("",))[0])
        if path == places.join:
            return self._admit_join(scope, head, receive, send, address)
        if places.signed is not None and path.startswith(places.signed + "/"):
            return self._admit_signed(scope, head, receive, send, address)
        own = any(path == one or path.startswith(one + "/") for one in places.own)
        who = await self._caller(head, address)
        if not isinstance(who, Principal):
            self._nobody(scope)
        if isinstance(who, Principal):
            self._count(scope, who)
            if who.device_id is not None and not own:
                receive = self._measured(who.device_id, receive)
        elif not own:
            if path.startswith(places.api + "/") and path not in places.open:
                await self._require_no_body(scope, head, who)
            receive = _at_most(STRANGER_BYTES, head, receive)
        return receive, send if own else with_headers(scope, send)

    # --- whose it is ---------------------------------------------------------------------------

    async def _caller(self, head: Mapping[bytes, bytes], address: str) -> Principal | Forbidden:
        """Whom the request speaks for, or why for nobody. The app asks again: this is remembered."""
        header = head.get(b"authorization", b"").decode("latin-1")
        kind, _, secret = header.partition(" ")
        if kind.lower() != "bearer" or not secret:
            return Unauthorized(
                "this needs a token: send 'Authorization: Bearer TOKEN' "
                "(the file 'admin-token' in the server's folder holds the admin token)"
            )
        known = self._tokens.known(secret)
        if known is not None:
            return known
        guesses = self._traffic.guesses
        try:
            # A hospital is one address: who guesses there keeps nobody out, but has to queue.
            async with self._few if guesses.wait(address) else nullcontext():
                return await asyncio.to_thread(self._tokens.look_up, secret)
        except Forbidden as error:
            if wait := guesses.wait(address):
                raise TooMany(f"too many wrong credentials came from {address}", wait) from None
            guesses.take(address)
            return error

    def _nobody(self, scope: Scope) -> None:
        """Who is told that it was shut out is not cut off before it hears that."""
        connection = scope.get("state", {}).get(SCOPE_KEY)
        if isinstance(connection, Connection):
            self.book.signed_out(connection)

    async def _require_no_body(
        self, scope: Scope, head: Mapping[bytes, bytes], why: Forbidden
    ) -> None:
        """Without a credential the API reads none. What is sent without one goes on to be refused by it."""
        if not _has_body(head):
            return
        if self._refused is not None and b"authorization" in head:
            await self._refused(why.message, plain_address((scope.get("client") or ("",))[0]))
        raise why

    def _count(self, scope: Scope, who: Principal) -> None:
        """``TooMany`` for a device that does more than one may, or a credential with too many connections."""
        key = who.device_id or f"token {who.token_id}"
        connection = scope.get("state", {}).get(SCOPE_KEY)
        if isinstance(connection, Connection) and not self.book.signed_in(connection, key):
            limit = self.book.limits.of_one
            raise TooMany(f"this credential has {limit} connections already: close some", 5.0)
        if who.device_id is None:
            return
        traffic = self._traffic
        wait = max(traffic.calls.wait(key), traffic.body_bytes.wait(key))
        if wait:
            raise TooMany(_TOO_MUCH, wait)
        traffic.calls.take(key)

    def _measured(self, device_id: str, receive: Receive) -> Receive:
        """``receive`` that counts what a device sends, and ends when it is too much: memory holds it."""
        sent = self._traffic.body_bytes

        async def counted() -> Message:
            message = await receive()
            size = len(message.get("body", b""))
            if size and (wait := sent.wait(device_id)):
                raise TooMany(_TOO_MUCH, wait)
            sent.take(device_id, size)
            return message

        return counted

    # --- joining -------------------------------------------------------------------------------

    def _admit_join(
        self,
        scope: Scope,
        head: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        address: str,
    ) -> tuple[Receive, Send]:
        traffic = self._traffic
        wait = max(traffic.failed_joins.wait(address), traffic.joins.wait(address))
        if wait:
            raise TooMany(f"too many machines asked to join from {address}", wait)
        send = with_headers(scope, send)

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                joined = message["status"] < 300
                (traffic.joins if joined else traffic.failed_joins).take(address)
            await send(message)

        return _at_most(JOIN_BYTES, head, receive), count

    # --- signed calls --------------------------------------------------------------------------

    def _admit_signed(
        self,
        scope: Scope,
        head: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        address: str,
    ) -> tuple[Receive, Send]:
        """A signature that does not fit is a guess."""
        guesses = self._traffic.guesses
        if wait := guesses.wait(address):
            raise TooMany(f"too many calls with wrong signatures came from {address}", wait)
        send = with_headers(scope, send)

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 403:
                guesses.take(address)
            await send(message)

        return _at_most(SIGNED_BYTES, head, receive), count


def _has_body(head: Mapping[bytes, bytes]) -> bool:
    return b"transfer-encoding" in head or _announced(head) > 0


def _at_most(limit: int, head: Mapping[bytes, bytes], receive: Receive) -> Receive:
    """``receive`` that takes no more than ``limit`` bytes."""
    said = f"the body is larger than the {limit:,} bytes that are taken here"
    if _announced(head) > limit:
        raise TooLarge(said)
    left = limit

    async def some() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise TooLarge(said)
        return message

    return some


def _announced(head: Mapping[bytes, bytes]) -> int:
    text = head.get(b"content-length", b"")
    return int(text) if text.isdigit() and len(text) < 19 else 0


def _head_of(scope: Scope) -> dict[bytes, bytes]:
    return {name: value for name, value in scope["headers"] if name in _WANTED}


def _may_leave_much(head: Mapping[bytes, bytes]) -> bool:
    return b"transfer-encoding" in head or _announced(head) > _LEFT_OVER


def _ending(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """The connection is closed after an answer that came before the body was read."""
    read = False

    async def next_one() -> Message:
        nonlocal read
        message = await receive()
        read = not message.get("more_body", False)
        return message

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start" and not read:
            headers = [*message.get("headers", []), (b"connection", b"close")]
            message = {**message, "headers": headers}
        await send(message)

    return next_one, answer


async def _refuse(scope: Scope, error: FedOpsError, send: Send) -> None:
    """The error as the answer; a WebSocket is not opened."""
    log_trouble(error)
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    kind, text = _words(scope, error)
    told = {"content-type": kind, **headers_of(error)}
    body = b"" if scope["method"] == "HEAD" else text.encode()
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in told.items()]
    headers.append((b"content-length", str(len(body)).encode()))
    send = with_headers(scope, send)
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _words(scope: Scope, error: FedOpsError) -> tuple[str, str]:
    """The type and the text of a refusal: a page for whoever reads pages, as after too large a form."""
    accepted = b"".join(value for name, value in scope["headers"] if name == b"accept")
    if b"text/html" not in accepted:
        return "application/json", ErrorReply.of(error).model_dump_json()
    said = f'<p class="lead" role="alert">{html.escape(error.message)}</p>'
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>FedOps</title>{said}</html>'
    )
    return "text/html; charset=utf-8", page
