"""A form with a file, taken in block by block: what is too large is refused before it is all read."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from fedops.core.errors import Invalid
from fedops.server.dashboard.web.forms import LARGEST, MOST_FIELDS
from fedops.server.protocol.refusals import TooLarge

_KIND = "multipart/form-data"


class _Beyond(MultiPartException):
    """There is more than is taken. The parser closes its file for this kind of error."""


def _too_large(limit: int) -> str:
    return f"the file has more than {limit:,} bytes, the most that is taken"


async def form_with_file(
    request: Request, limit: int
) -> tuple[dict[str, list[str]], UploadFile | None]:
    """The fields of a form, and its file, which whoever asked for it closes. None: no file was chosen.

    Raises:
        TooLarge: there is more than ``limit`` bytes of a file and the fields of a form.
        Invalid: this is no such form, or it has several files.
    """
    if not request.headers.get("content-type", "").startswith(_KIND):
        raise Invalid("this is no form with a file")
    most = limit + LARGEST
    if (announced := request.headers.get("content-length", "")).isdecimal() and (
        len(announced) > 18 or int(announced) > most
    ):
        raise TooLarge(_too_large(limit))
    bounds = {"max_files": 1, "max_fields": MOST_FIELDS, "max_part_size": LARGEST}
    parser = MultiPartParser(request.headers, _bounded(request, most), **bounds)
    try:
        found = await parser.parse()
    except _Beyond:
        raise TooLarge(_too_large(limit)) from None
    except (MultiPartException, ValueError) as error:
        for begun in parser._files_to_close_on_error:  # of a ValueError, it closes none itself
            begun.close()
        said = error.message if isinstance(error, MultiPartException) else str(error)
        raise Invalid(f"this is no form with one file: {said[:200]}") from None
    fields: dict[str, list[str]] = {}
    file = None
    for name, value in found.multi_items():
        if isinstance(value, str):
            fields.setdefault(name, []).append(value)
        elif value.filename:
            file = value
    return fields, file


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    taken = 0
    async for block in request.stream():
        taken += len(block)
        if taken > most:
            raise _Beyond("too large")
        yield block
