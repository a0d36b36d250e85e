"""A form with a file: what is too large is refused before it is all taken in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from starlette.requests import Request

from fedops.core.errors import Invalid
from fedops.server.dashboard.web.forms import LARGEST
from fedops.server.dashboard.web.uploads import form_with_file
from fedops.server.protocol.refusals import TooLarge

LIMIT = 100_000
HEAD = b'--x\r\ncontent-disposition: form-data; name="app"; filename="a.zip"\r\n\r\n'
FIELD = b'--x\r\ncontent-disposition: form-data; name="name"\r\n\r\nmnist\r\n'
END = b"\r\n--x--\r\n"


def _request(blocks: list[bytes], taken: list[int], length: int | None = None) -> Request:
    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    left: Iterator[bytes] = iter(blocks)

    async def receive() -> dict[str, object]:
        block = next(left, None)
        taken.append(len(block or b""))
        return {"type": "http.request", "body": block or b"", "more_body": block is not None}

    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def test_fields_and_file_come_in() -> None:
    async def check() -> None:
        request = _request([FIELD, HEAD, b"zip" * 1_000, END], [])
        fields, file = await form_with_file(request, LIMIT)
        assert fields == {"name": ["mnist"]}
        assert file is not None
        assert await file.read() == b"zip" * 1_000
        await file.close()

    asyncio.run(check())


def test_more_than_the_limit_is_not_read_on() -> None:
    taken: list[int] = []
    blocks = [HEAD, *[b"0" * 50_000] * 100]
    with pytest.raises(TooLarge, match="the most that is taken"):
        asyncio.run(form_with_file(_request(blocks, taken), LIMIT))
    assert sum(taken) <= LIMIT + LARGEST + 50_000


def test_what_is_announced_as_too_large_is_not_read_at_all() -> None:
    taken: list[int] = []
    with pytest.raises(TooLarge):
        asyncio.run(form_with_file(_request([HEAD], taken, 10**12), LIMIT))
    assert taken == []


@pytest.mark.parametrize(
    "body", [b"no boundary", HEAD + b"a\r\n" + HEAD + b"b" + END, b"--x\r\nnothing\r\n\r\n" + END]
)
def test_what_is_no_form_with_one_file_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="no form with one file"):
        asyncio.run(form_with_file(_request([body], []), LIMIT))
