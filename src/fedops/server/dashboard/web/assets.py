"""Scripts, styles and pictures of the pages: named by their content, so that a browser keeps them."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

FOLDER = Path(__file__).parent.parent / "assets"
PREFIX = "/assets"
_FOREVER = "public, max-age=31536000, immutable"
#: Below this a file is sent as it is. Bytes.
_WORTH_PACKING = 1_000


@dataclass(frozen=True)
class Asset:
    """A file as it is served."""

    url: str
    content: bytes
    #: None: it is too small, or does not get smaller.
    packed: bytes | None
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """All assets by their names, such as ``live.js``."""
    return {
        str(file.relative_to(FOLDER).as_posix()): _asset(file)
        for file in sorted(FOLDER.rglob("*"))
        if file.is_file() and file.suffix in (".js", ".css", ".svg")
    }


def url_of(name: str) -> str:
    """Where an asset is, by its name. ``KeyError``: there is none."""
    return assets()[name].url


@cache
def build() -> str:
    """Another text whenever one of the assets is another."""
    return hashlib.sha256("".join(one.url for one in assets().values()).encode()).hexdigest()[:12]


async def serve_asset(request: Request) -> Response:
    """One file. Needs no session: there is nothing in it but the program."""
    found = _by_url().get(request.url.path)
    if found is None:
        return PlainTextResponse("there is no such file\n", status_code=404)
    headers = {"cache-control": _FOREVER, "vary": "accept-encoding"}
    if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(found.packed, media_type=found.media_type, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)


@cache
def _by_url() -> dict[str, Asset]:
    return {one.url: one for one in assets().values()}


def _asset(file: Path) -> Asset:
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    packed = gzip.compress(content, 6, mtime=0) if len(content) >= _WORTH_PACKING else content
    return Asset(
        url=f"{PREFIX}/{file.stem}.{digest}{file.suffix}",
        content=content,
        packed=packed if len(packed) < len(content) else None,
        media_type=mimetypes.guess_type(file.name)[0] or "application/octet-stream",
    )
