"""What the tests of uploads send, and what they ask of the answer and of the store."""

from __future__ import annotations

import os
import socket

import httpx
from blob_world import (
    TUS,
    BlobWorld,
)

from fedops.core.contracts import ErrorReply

DATA = os.urandom(2_500_000)


def said(answer: httpx.Response, status: int, text: str = "") -> None:
    assert answer.status_code == status, answer.text
    assert text in ErrorReply.model_validate_json(answer.content).message


def delivered(world: BlobWorld, data: bytes = DATA) -> None:
    (head,) = world.access.delivered_heads
    assert world.store.path(head.sha256).read_bytes() == data
    assert world.store.unfinished() == []
    assert world.incoming() == {}


def patch(client: httpx.Client, url: str, data: bytes, offset: int) -> httpx.Response:
    headers = {**TUS, "upload-offset": str(offset)}
    return client.patch(url, headers=headers, content=data)


def raw(
    world: BlobWorld, method: str, path: str, headers: dict[str, str], body: bytes
) -> socket.socket:
    """Send a request whose headers promise more than ``body``."""
    sent = {"host": "x", "authorization": "Bearer d1", "fedops-protocol": "1", **headers}
    text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in sent.items())
    connection = socket.create_connection(("127.0.0.1", world.port), timeout=10)
    connection.sendall(text.encode() + b"\r\n" + body)
    return connection


def offset_of(client: httpx.Client, url: str) -> int:
    return int(client.head(url).headers["upload-offset"])
