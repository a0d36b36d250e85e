"""Forms: on a page of their own, or by a script in a dialog. What was typed is kept until it is right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import UploadFile
from starlette.requests import Request

from fedops.core.errors import Invalid
from fedops.server.access.principal import Principal
from fedops.server.dashboard.web.view import View
from fedops.server.protocol.refusals import TooLarge
from fedops.server.services.services import Services

#: The largest form in bytes, which the gate lets in by a cookie, and the largest of who is not signed in; how
#: many fields it may have. Many signs are sent as three bytes: no field of a page takes more than a third.
LARGEST, LARGEST_OF_STRANGERS, MOST_FIELDS = 64_000, 16_000, 200


@dataclass(frozen=True)
class Submission:
    """A form as it was sent."""

    services: Services
    who: Principal
    #: What the path names.
    path: Mapping[str, str]
    #: All that was typed, by field; of several of one name, all.
    fields: Mapping[str, Sequence[str]]
    #: Of a form that takes one. None: none was chosen.
    file: UploadFile | None = None

    def text(self, name: str) -> str:
        """A field without what stands around it; "" when it was left empty."""
        return self.fields.get(name, [""])[-1].strip()

    def lines(self, name: str) -> list[str]:
        """The lines of a field, without empty ones."""
        return [line.strip() for line in self.text(name).splitlines() if line.strip()]

    def words(self, name: str) -> list[str]:
        """What stands in a field with spaces or commas between."""
        return self.text(name).replace(",", " ").split()

    def whole(self, name: str, low: int, high: int) -> int:
        """A field that is a whole number in these limits. ``Invalid`` otherwise."""
        text = self.text(name)
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
        if number is None or not low <= number <= high:
            shown = name.replace("_", " ")
            raise Invalid(f"{shown}: '{text[:40]}' is no whole number from {low:,} to {high:,}")
        return number


@dataclass(frozen=True)
class Done:
    """What was asked for is done: on to ``where``, where ``said`` is told."""

    where: str
    said: str = ""


@dataclass(frozen=True)
class Shown:
    """What was asked for is done, and is shown now and never again, such as a new token."""

    template: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    """A form with an address of its own: ``GET`` shows it, ``POST`` does it, as ``permissions`` allows."""

    path: str
    template: str
    section: str
    title: Callable[[View], str]
    submit: Callable[[Submission], Awaitable[Done | Shown]]
    #: What its template is told beside ``view`` and ``typed``.
    show: Callable[[View], Mapping[str, Any]] = field(default=lambda view: {})
    #: It has a file: an app, as large as apps may be.
    takes_file: bool = False


async def fields_of(request: Request, largest: int = LARGEST) -> dict[str, list[str]]:
    """What a form sent. ``TooLarge`` or ``Invalid`` for what is none."""
    data = b""
    async for block in request.stream():
        data += block
        if len(data) > largest:
            raise TooLarge(
                f"this is more than the form takes: at most {largest:,} bytes as they are sent"
            )
    try:
        text = data.decode("ascii")
        return parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Invalid("this is no form") from None
