"""JSON documents over a pipe between a process and its child: one a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import IO, Any

#: A longer line is no document of ours. Bytes.
MOST_BYTES = 1 << 20


def write_line(descriptor: int, document: Any) -> None:
    """Write all of a document, however the pipe takes it. ``OSError``: nobody reads."""
    line = json.dumps(document, default=str).encode() + b"\n"
    while line:
        line = line[os.write(descriptor, line) :]


def read_objects(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The objects that come down a pipe, until it ends. A line that is none is passed over."""
    while line := stream.readline(MOST_BYTES):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            yield document


def read_first_line(descriptor: int) -> bytes:
    """The first line and no byte more: what follows is for somebody else."""
    line = bytearray()
    while len(line) < MOST_BYTES and (byte := os.read(descriptor, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)
