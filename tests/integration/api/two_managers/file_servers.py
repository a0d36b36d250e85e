"""A file server beside Server Managers, in this process, and uploads by hand."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from manager_pair import home_of, upload_headers
from managing import Device
from serving import serving

from fedops.server.assembly import Member
from fedops.server.file_server import file_app, open_file_server
from fedops.settings import ServerSettings

BODY = {"content-type": "application/offset+octet-stream"}


@dataclass
class FileServer:
    """Where it is, and what it is made of."""

    port: int
    member: Member

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, device: Device | None = None) -> httpx.Response:
        headers = {"fedops-protocol": "1"}
        if device:
            headers["authorization"] = f"Bearer {device.token}"
        return httpx.get(self.url + path, headers=headers, timeout=20.0)


@contextmanager
def file_server(
    folder: Path, name: str, database_url: str, files: Path, **more: Any
) -> Iterator[FileServer]:
    settings = ServerSettings(home=home_of(folder, name, files), database_url=database_url, **more)
    member = open_file_server(settings)
    with serving(file_app(member)) as port:
        yield FileServer(port, member)


@dataclass
class Sending:
    """An upload by hand."""

    device: Device
    assignment: str
    data: bytes

    @property
    def headers(self) -> dict[str, str]:
        return upload_headers(self.assignment, self.data, self.device.token)

    def whole(self, url: str) -> httpx.Response:
        """All of it in one call."""
        return httpx.post(
            f"{url}/api/v1/blobs", content=self.data, headers={**self.headers, **BODY}, timeout=30.0
        )

    def begin(self, port: int, size: int) -> socket.socket:
        """Promise all of it, and send so many bytes. The connection stays open."""
        sent = {
            **self.headers,
            **BODY,
            "host": f"127.0.0.1:{port}",
            "content-length": str(len(self.data)),
        }
        head = "POST /api/v1/blobs HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in sent.items())
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        connection.sendall(head.encode() + b"\r\n" + self.data[:size])
        return connection

    def announce(self, url: str) -> tuple[str, int]:
        """Its place there, and how many bytes of it are there."""
        made = httpx.post(f"{url}/api/v1/blobs", headers=self.headers, timeout=30.0)
        assert made.status_code == 201, made.text
        return made.headers["location"], int(made.headers["upload-offset"])

    def go_on(self, url: str, place: str, offset: int, size: int | None = None) -> httpx.Response:
        """Send so many of the bytes from ``offset`` on."""
        rest = self.data[offset : None if size is None else offset + size]
        headers = {**self.headers, **BODY, "upload-offset": str(offset)}
        return httpx.patch(url + place, content=rest, headers=headers, timeout=30.0)

    def offset(self, url: str, place: str) -> int:
        asked = httpx.head(url + place, headers=self.headers, timeout=30.0)
        assert asked.status_code == 200
        return int(asked.headers["upload-offset"])
