"""An in-memory server that is called over HTTP, as the FL server of an attempt calls the Server Manager."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fedops.core import contracts as c
from fedops.core.errors import FedOpsError
from fedops.testing.in_memory_server import InMemoryServer


def _routes(server: InMemoryServer) -> dict[str, tuple[Any, Callable[..., Any]]]:
    return {
        "hello": (c.EngineHello, server.hello),
        "initial-model": (c.ModelInit, server.initial_model),
        "blobs": (c.BlobHandover, server.hand_over),
        "candidates": (None, server.candidates),
        "progress": (c.EngineProgress, server.progress),
        "offers": (c.OfferBatch, server.offer),
        "collect": (c.CollectRequest, server.collect),
        "cancel": (c.CancelRequest, server.cancel),
        "logs": (c.EngineLogs, server.logs),
        "finish": (c.EngineFinish, server.finish),
    }


def _answer(server: InMemoryServer, path: str, data: bytes) -> Any:
    name = path.removeprefix("/api/v1/engine/")
    if name.startswith("rounds/"):
        _, number, action = name.split("/")
        if action == "commit":
            return server.commit(c.RoundCommit.model_validate_json(data))
        return server.begin_round(int(number), c.RoundBegin.model_validate_json(data))
    body, call = _routes(server)[name]
    return call() if body is None else call(body.model_validate_json(data))


@contextmanager
def listening(server: InMemoryServer) -> Iterator[str]:
    """Answers on a port of its own; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            data = self.rfile.read(int(self.headers.get("content-length", 0)))
            assert self.headers["authorization"] == "Bearer fo_attempt_test"
            assert self.headers[c.PROTOCOL_HEADER] == str(c.PROTOCOL)
            status, text = 200, ""
            try:
                result = _answer(server, self.path, data)
                text = result.model_dump_json() if result is not None else ""
            except FedOpsError as error:
                status = error.http_status
                text = c.ErrorReply.of(error).model_dump_json()
            self.send_response(status)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = _serve

        def log_message(self, *_: object) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join(5)
