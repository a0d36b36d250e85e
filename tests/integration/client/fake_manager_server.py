"""A Server Manager for tests of the device side: in memory, on loopback, obedient to the test.

It speaks version 1 of the protocol between device and server, long poll, blobs and tus included, and cuts
connections where it is told to.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from fake_manager import FakeServer, Refused, Upload, Work

API = "/api/v1"


class _Cut(Exception):
    """The connection is cut."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None: ...

    @property
    def fake(self) -> FakeServer:
        found: FakeServer = self.server.fake
        return found

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _handle(self) -> None:
        path = urlsplit(self.path).path
        assert path.startswith(self.server.prefix), path
        path = path.removeprefix(self.server.prefix)
        assert path.startswith(API) or path in ("/health", "/ca.pem"), path
        route = f"{self.command} {path.removeprefix(API)}"
        try:
            if route in _FOR_EVERYBODY:
                _FOR_EVERYBODY[route](self)
                return
            self._guard(route)
            for pattern, method in _ROUTES:
                if match := re.fullmatch(pattern, route):
                    self.fake.calls[method.__name__] += 1
                    method(self, *match.groups())
                    return
            raise Refused(404, "not_found", f"no route {route}")
        except Refused as refused:
            self._refuse(refused)
        except (_Cut, BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_HEAD = do_PATCH = _handle

    def _guard(self, route: str) -> None:
        fake = self.fake
        if fake.unreachable:
            raise _Cut
        if fake.down:
            raise Refused(503, "unavailable", "away")
        if fake.old and route == "POST /work":
            raise Refused(404, "not_found", "there is nothing at POST /work")
        if fake.other_version:
            raise Refused(426, "invalid", fake.other_version)
        if fake.forbidden and route != "POST /join":
            raise Refused(403, "forbidden", fake.forbidden)
        if route != "POST /join":
            assert self.headers["authorization"] == "Bearer fo_device_x"
        assert self.headers["fedops-protocol"] == "1"

    # --- answers -----------------------------------------------------------------------------------

    def _refuse(self, refused: Refused) -> None:
        body = {"kind": refused.kind, "error": "E", "message": refused.message}
        self.close_connection = True  # what was sent of the body is not read
        headers = {"connection": "close"}
        if self.fake.down and self.fake.down_seconds is not None:
            headers["retry-after"] = str(self.fake.down_seconds)
        self._reply(refused.status, json.dumps(body).encode(), headers)

    def _reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        if self.fake.unreachable:
            raise _Cut
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any) -> None:
        self._reply(200, json.dumps(value).encode(), {"content-type": "application/json"})

    def _body(self) -> Any:
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        return json.loads(data) if data else {}

    # --- before anything secret is sent ------------------------------------------------------------

    def health(self) -> None:
        self._nothing_secret()
        self._json({"status": "ok"})

    def authorities(self) -> None:
        if self.fake.authorities is None:
            raise Refused(404, "not_found", "no authority")
        self._reply(200, self.fake.authorities.encode())

    def tls_upgrade(self) -> None:
        self._nothing_secret()
        body = self._body()
        if self.fake.upgrade is None:
            raise Refused(404, "not_found", "this server speaks no TLS")
        self._json(self.fake.upgrade(body))

    def _nothing_secret(self) -> None:
        assert "authorization" not in self.headers

    # --- work --------------------------------------------------------------------------------------

    def _open_work(self, id_: str) -> Work:
        work = self.fake.work.get(id_)
        if work is None:
            raise Refused(404, "not_found", "there is no such assignment")
        if not work.open:
            raise Refused(410, "conflict", f"the assignment is {work.status}")
        return work

    def work(self) -> None:
        self._json(self.fake.poll(self._body()))

    def instruction(self, id_: str) -> None:
        work = self._open_work(id_)
        work.status = "accepted"
        self._json(work.instruction)

    def told_progress(self, id_: str) -> None:
        self.fake.progress.append({"id": id_, **self._body()})
        self._reply(204)

    def end(self, id_: str) -> None:
        body = self._body()
        work = self._open_work(id_)
        with self.fake.lock:
            work.end, work.status = body, body["outcome"]
            self.fake.lock.notify_all()
        self._reply(204)

    def result(self, id_: str) -> None:
        data = self.rfile.read(int(self.headers["content-length"]))
        work = self.fake.work[id_]
        if work.data != data:
            self.fake.deliver(self._open_work(id_), data)
        self._delivered()
        self._reply(204)

    def _delivered(self) -> None:
        if self.fake.lose_deliveries > 0:
            self.fake.lose_deliveries -= 1
            raise _Cut

    def slot(self, id_: str) -> None:
        self._body()
        self._open_work(id_)
        fake = self.fake
        self._json({"granted": fake.slots, "retry_after": 0 if fake.slots else fake.retry_after})

    # --- blobs -------------------------------------------------------------------------------------

    def blob(self, sha256: str) -> None:
        if sha256 not in self.fake.blobs:
            raise Refused(404, "not_found", "no open work names the blob")
        data = self.fake.blobs[sha256]
        start, status = 0, 200
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", "")):
            start, status = int(match[1]), 206
            if start >= len(data):
                raise Refused(416, "invalid", "no such range")
        if self.fake.spoil_downloads > 0:
            self.fake.spoil_downloads -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.send_response(status)
        self.send_header("content-length", str(len(data) - start))
        self.send_header("etag", f'"{sha256}"')
        if status == 206:
            self.send_header("content-range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        cut = self.fake.cut_downloads.pop(0) if self.fake.cut_downloads else None
        self._send(data[start:] if cut is None else data[start : start + cut])
        if cut is not None:
            raise _Cut

    def _send(self, data: bytes) -> None:
        for i in range(0, len(data), 65_536):
            self.wfile.write(data[i : i + 65_536])
            time.sleep(self.fake.slow * len(data[i : i + 65_536]))

    def create_upload(self) -> None:
        fields = (pair.split(" ") for pair in self.headers["upload-metadata"].split(","))
        head = {key: base64.b64decode(value).decode() for key, value in fields}
        work = self._open_work(head["assignment"])
        if self.fake.busy_uploads > 0:
            self.fake.busy_uploads -= 1
            raise Refused(503, "unavailable", "ask for a slot")
        length = int(self.headers["upload-length"])
        for id_, upload in self.fake.uploads.items():
            if upload.work is work and upload.head["sha256"] == head["sha256"]:
                assert int(self.headers.get("content-length", 0)) == 0
                self._upload_reply(200, id_)
                return
        id_ = f"u{len(self.fake.uploads) + self.fake.calls['create_upload']}"
        self.fake.uploads[id_] = Upload(work, length, head)
        self._receive(id_, 201)

    def offset(self, id_: str) -> None:
        self._upload_reply(200, id_)

    def append(self, id_: str) -> None:
        upload = self._upload(id_)
        assert self.headers["content-type"] == "application/offset+octet-stream"
        if int(self.headers["upload-offset"]) != len(upload.data):
            raise Refused(409, "conflict", "another offset")
        self._receive(id_, 204)

    def _upload(self, id_: str) -> Upload:
        if id_ not in self.fake.uploads:
            raise Refused(404, "not_found", "there is no such upload")
        self._open_work(self.fake.uploads[id_].work.id)
        return self.fake.uploads[id_]

    def _receive(self, id_: str, status: int) -> None:
        upload = self.fake.uploads[id_]
        coming = int(self.headers.get("content-length", 0))
        cut = self.fake.cut_uploads.pop(0) if self.fake.cut_uploads and coming else None
        wanted = coming if cut is None else min(cut, coming)
        while wanted:
            block = self.rfile.read1(min(wanted, 65_536))  # type: ignore[attr-defined]
            if not block:
                raise _Cut
            upload.data += block
            wanted -= len(block)
            time.sleep(self.fake.slow * len(block))
        if cut is not None:
            raise _Cut
        if len(upload.data) == upload.length:
            refused, why = self.fake.finish(id_)
            if refused:
                raise Refused(refused, "invalid", why)
            self._delivered()
        self._upload_reply(status, id_)

    def _upload_reply(self, status: int, id_: str) -> None:
        upload = self.fake.uploads.get(id_)
        if upload is None:
            raise Refused(404, "not_found", "there is no such upload")
        headers = {
            "location": f"{API}/blobs/uploads/{id_}",
            "upload-offset": str(len(upload.data)),
            "upload-length": str(upload.length),
            "tus-resumable": "1.0.0",
        }
        self._reply(status, b"", headers)

    # --- the rest ----------------------------------------------------------------------------------

    def join(self) -> None:
        body = self._body()
        if body["token"] != "good":
            raise Refused(403, "forbidden", "the join token is wrong, expired or used up")
        self.fake.joins.append(body)
        self._json(
            {
                "device_id": "d1",
                "name": body["name"] + ("-2" if body["name"] in self.fake.taken else ""),
                "device_token": "fo_device_x",
                "enrolment": self.fake.wanted["enrolment"],
            }
        )

    def told_records(self) -> None:
        fake, body = self.fake, self._body()
        new = [r for r in body["records"] if r["id"] not in fake.records]
        for record in new:
            fake.records[record["id"]] = record
            fake.order.append(record["name"])
        if fake.lost_answers > 0:
            fake.lost_answers -= 1
            raise Refused(502, "unavailable", "lost")
        self._json({"accepted": len(new), "duplicates": len(body["records"]) - len(new)})

    def packages(self, task: str) -> None:
        self._json(self.fake.packages)

    def tasks(self) -> None:
        fixed = {"status": "ready", "description": "", "bundle": "0", "config": {}, "devices": []}
        times = {"active_run": None, "latest_version": None, "created_at": 0, "updated_at": 0}
        self._json([{"name": name, **fixed, **times} for name in self.fake.ready_tasks])


_ROUTES: list[tuple[str, Callable[..., None]]] = [
    (r"POST /join", Handler.join),
    (r"POST /work", Handler.work),
    (r"GET /work/(\w+)/instruction", Handler.instruction),
    (r"POST /work/(\w+)/progress", Handler.told_progress),
    (r"POST /work/(\w+)/end", Handler.end),
    (r"POST /work/(\w+)/result", Handler.result),
    (r"POST /work/(\w+)/slot", Handler.slot),
    (r"GET /blobs/(\w+)", Handler.blob),
    (r"POST /blobs", Handler.create_upload),
    (r"HEAD /blobs/uploads/(\w+)", Handler.offset),
    (r"PATCH /blobs/uploads/(\w+)", Handler.append),
    (r"POST /devices/me/records", Handler.told_records),
    (r"GET /devices/me/tasks", Handler.tasks),
    (r"GET /devices/me/tasks/(\w+)/packages", Handler.packages),
]


_FOR_EVERYBODY: dict[str, Callable[[Handler], None]] = {
    "GET /health": Handler.health,
    "GET /ca.pem": Handler.authorities,
    "POST /tls-upgrade": Handler.tls_upgrade,
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    fake: FakeServer
    prefix = ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | BrokenPipeError):
            super().handle_error(request, client_address)


@contextmanager
def fake_server(
    prefix: str = "", host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[tuple[FakeServer, str]]:
    """A server and its URL. ``prefix``: of its paths, as behind a proxy that others share."""
    kind = (
        type("Server6", (_Server,), {"address_family": socket.AF_INET6}) if ":" in host else _Server
    )
    with kind((host, 0), Handler) as server:
        server.fake, server.prefix = FakeServer(), prefix
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        name = f"[{host}]" if ":" in host else host
        try:
            scheme = "https" if tls else "http"
            yield server.fake, f"{scheme}://{name}:{server.server_address[1]}{prefix}"
        finally:
            server.fake.down = True
            with server.fake.lock:
                server.fake.lock.notify_all()
            server.shutdown()
            thread.join()
