"""What every client of the Server Manager does: send, parse, and turn each failure into one of five kinds."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from fedops import __version__
from fedops.api_client.certificate_errors import why_untrusted
from fedops.api_client.certificates import system_authorities
from fedops.api_client.proxies import without_credentials
from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError, Forbidden, Invalid, Unavailable
from fedops.core.validation_messages import validation_messages
from fedops.storage.atomic_files import atomic_file
from fedops.storage.shortages import why_not_written

M = TypeVar("M", bound=BaseModel)
PREFIX = "/api/v1"
#: Longest time the server holds a long poll open. Seconds.
LONG_POLL_SECONDS = 25.0
#: How long a call may take that writes much, and one that reads or moves whole files. Seconds.
WRITE_SECONDS = 120.0
FILE_SECONDS = 600.0
#: How many bytes go at a time: small enough that a slow link shows progress and is no stalled one.
BLOCK_BYTES = 128 * 1024
#: Whether and by which authorities a server's certificate is checked.
Verify = bool | ssl.SSLContext
#: Answers that may be another one later.
_LATER = frozenset({423, 429, 502, 503, 504, 507})


class OtherVersion(Invalid):
    """The server speaks another version of the protocol; the message says what to do."""


class Unreachable(Unavailable):
    """Nobody answered."""


class TryLater(Unavailable):
    """The server has no room now. ``seconds``: when to ask again, as far as it says."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class Client:
    _prefix = PREFIX
    _unreachable = "cannot reach the Server Manager at"

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 30.0,
        verify: Verify = True,
        proxy: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._proxy, self._pinned = proxy, verify is not True and verify is not system_authorities()
        self._way = f" through the proxy {without_credentials(proxy)}" if proxy else ""
        headers = {c.PROTOCOL_HEADER: str(c.PROTOCOL), c.RELEASE_HEADER: __version__}
        if token:
            headers["authorization"] = f"Bearer {_token(token)}"
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            transport=transport,
            timeout=timeout,
            verify=system_authorities() if verify is True else verify,
            trust_env=False,
            proxy=proxy,
        )

    def use_token(self, token: str) -> None:
        """From the next call on, call with another token.

        >>> operator.use_token(operator.create_user_token(c.PersonalTokenCreate(note="CI")).token)
        >>> operator.whoami().user
        'admin'
        """
        self._http.headers["authorization"] = f"Bearer {_token(token)}"

    def _require_plain_http(self) -> None:
        """Before a secret goes over plain HTTP: the server has to answer that. For clients without a token.

        ``OtherVersion``: it speaks TLS only.
        """
        if self.url.startswith("http://"):
            with self._as_fedops_errors():
                answer = self._http.get("/health", headers={"connection": "close"})
            if answer.status_code == 426:
                raise_for_error(answer)

    def close(self) -> None:
        """Let go of the connections to the server, as ``with`` does at its end; may be repeated.

        >>> from fedops.api_client import OperatorClient
        >>> with OperatorClient(url, token=token) as client:
        ...     sorted(task.name for task in client.tasks())
        ['digits', 'mnist']
        >>> client.close()
        """
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        with self._as_fedops_errors():
            response = self._http.request(method, self._prefix + path, **kwargs)
        raise_for_error(response)
        return response

    @contextmanager
    def _as_fedops_errors(self) -> Iterator[None]:
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as error:
            if why := why_untrusted(self.url, error, self._proxy, pinned=self._pinned):
                raise why from None
            raise Unreachable(
                f"{self._unreachable} {self.url}{self._way}: {error or type(error).__name__}"
            ) from None

    def _call(
        self, reply: type[M], method: str, path: str, body: BaseModel | None = None, **kwargs: Any
    ) -> M:
        if body is not None:
            kwargs["json"] = body.model_dump(mode="json")
        return parse(reply, self._send(method, path, **kwargs))

    def _tell(self, path: str, body: BaseModel, **kwargs: Any) -> None:
        self._send("POST", path, json=body.model_dump(mode="json"), **kwargs)

    def _long_poll(
        self, reply: type[M], path: str, body: BaseModel, *, wait: float, spare: float
    ) -> M:
        """A call that is answered after ``wait`` seconds at the latest, give or take what is to spare."""
        timeout = httpx.Timeout(spare, read=wait + spare)
        return self._call(reply, "POST", path, body, timeout=timeout)

    def _list(self, item: type[M], path: str, **params: Any) -> list[M]:
        return parse_list(item, self._send("GET", path, params=given(params)))

    def _upload(self, path: str, file: Path, **params: Any) -> c.BlobRef:
        sent = self._send(
            "PUT", path, content=blocks_of(file), params=given(params), timeout=FILE_SECONDS
        )
        return parse(c.BlobRef, sent)

    def _download(self, path: str, target: Path) -> Path:
        with (
            self._as_fedops_errors(),
            self._http.stream("GET", PREFIX + path, timeout=FILE_SECONDS) as response,
        ):
            if response.is_error:
                response.read()
                raise_for_error(response)
            _save(response, target)
        return target


def _token(text: str) -> str:
    """A token as a header carries it; often it was copied from somewhere, with a line's end."""
    token = text.strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise Forbidden("this is no token: it holds blanks or letters that no token has")
    return token


def blocks_of(path: Path, start: int = 0) -> Iterator[bytes]:
    """The bytes of a file from ``start`` on."""
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(BLOCK_BYTES):
            yield block


def request_of(kind: type[M], **values: Any) -> M:
    """A request with these values. ``Invalid`` names what it cannot hold."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise Invalid("; ".join(validation_messages(error, kind))) from None


def given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in params.items() if value is not None}


def _save(response: httpx.Response, target: Path) -> None:
    try:
        with atomic_file(target) as file:
            for block in response.iter_bytes(1 << 20):
                file.write(block)
    except OSError as error:
        raise Unavailable(why_not_written(error, target, "this machine")) from None


def parse(reply: type[M], response: httpx.Response) -> M:
    try:
        return reply.model_validate_json(response.content)
    except ValueError:
        raise _no_server_manager(response) from None


def parse_list(item: type[M], response: httpx.Response) -> list[M]:
    try:
        return TypeAdapter(list[item]).validate_json(response.content)  # type: ignore[valid-type]
    except ValueError:
        raise _no_server_manager(response) from None


def _no_server_manager(response: httpx.Response) -> Unavailable:
    url = response.request.url
    return Unavailable(f"{url} did not answer as a Server Manager does; is this its URL?")


def raise_for_error(response: httpx.Response) -> None:
    """Raise what an answer that is an error means, as one of the five kinds."""
    if not response.is_error:
        return
    status = response.status_code
    said = error_of(response)
    if status == 426:
        raise OtherVersion(said.message)
    if status in _LATER:
        raise TryLater(
            said.message if said.kind else f"the Server Manager is not available: {said.message}",
            _seconds(response.headers.get("retry-after")),
        )
    if status == 410:
        raise Conflict(said.message)
    if said.kind:
        raise said.as_error()
    raise FedOpsError(
        f"{response.request.method} {response.request.url} answered {status}: {said.message}"
    )


def error_of(response: httpx.Response) -> c.ErrorReply:
    """What an answer that is an error says. Without a kind, whoever answered is no Server Manager."""
    try:
        return c.ErrorReply.model_validate_json(response.content)
    except ValueError:
        text = response.text[:200].strip() or response.reason_phrase
        return c.ErrorReply(kind="", error="", message=text or f"HTTP {response.status_code}")


def _seconds(header: str | None) -> float | None:
    try:
        return max(float(header), 0.0) if header else None
    except ValueError:  # a date: who says so has another clock
        return None
