"""The local ports: loopback only, next free port if taken, and nobody without the local token gets in.

A web page in a browser on this machine must not reach them either: the Host header must name loopback
(against DNS rebinding), and the token is in a file that only this user may read.
"""

from __future__ import annotations

import errno
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from fedops.api_client.transport import Client
from fedops.core.contracts import ErrorReply
from fedops.core.errors import FedOpsError, Forbidden, Invalid, Unavailable

_PORTS_TRIED = 1_000
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
M = TypeVar("M", bound=BaseModel)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on the port, or on the next one that is free. 0: any.

    Raises:
        Invalid: ``host`` is not loopback.
        Unavailable: none of a thousand ports is free.
    """
    if host not in _LOOPBACK:
        raise Invalid(f"the local ports of a device are on loopback only, not on '{host}'")
    last = min(port + _PORTS_TRIED, 65_536) - 1
    for candidate in range(port, last + 1) if port else (0,):
        found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host.strip("[]"), candidate))
            found.listen(64)
            return found
        except OSError as error:
            found.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    raise Unavailable(f"no free port between {port} and {last} on {host}")


def make_app(title: str, token: str) -> FastAPI:
    """An application that answers only to loopback and to who knows the token."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Any]) -> Any:
        problem = _refused(request, token)
        return _as_response(problem) if problem else await call_next(request)

    @app.exception_handler(FedOpsError)
    def known(_: Request, error: FedOpsError) -> JSONResponse:
        return _as_response(error)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _as_response(Invalid(str(error)))

    return app


def _refused(request: Request, token: str) -> FedOpsError | None:
    host = request.headers.get("host", "")
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    if name not in _LOOPBACK:
        return Forbidden(f"this port answers to loopback names only, not to '{host}'")
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not secrets.compare_digest(given.encode(), token.encode()):
        return Forbidden("the local token is missing or wrong; it lies in the data dir")
    return None


def _as_response(error: FedOpsError) -> JSONResponse:
    return JSONResponse(ErrorReply.of(error).model_dump(), status_code=error.http_status)


class LocalServer:
    """Serves an application on a bound socket, in a thread."""

    def __init__(self, app: FastAPI, listening: socket.socket) -> None:
        host, port = listening.getsockname()[:2]
        self.port = int(port)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._socket = listening
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), name="local-api", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(3.0)
        self._socket.close()


class LocalClient(Client):
    """Calls a local port. A port that does not answer is ``Unavailable``."""

    _prefix, _unreachable = "", "nothing answers at"

    def __init__(self, url: str, token: str, timeout: float = 3.0) -> None:
        super().__init__(url, token=token, timeout=timeout)

    def get(self, path: str, reply: type[M]) -> M:
        response = self._send("GET", path)
        try:
            return reply.model_validate_json(response.content)
        except ValueError:
            raise Unavailable(f"{self.url} is another program's port") from None

    def post(self, path: str, body: BaseModel | None = None) -> None:
        self._send("POST", path, json=body.model_dump(mode="json") if body else None)
