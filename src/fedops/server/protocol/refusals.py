"""Refusals that every way into the server shares, whatever serves it."""

from __future__ import annotations

from fedops.core.errors import Conflict, Invalid, Unavailable


class Gone(Conflict):
    """It was, and is over: what was kept for it may go."""

    http_status = 410


class TooLarge(Invalid):
    """More bytes than were announced, or than are taken at once."""

    http_status = 413


class Misdirected(Unavailable):
    """It came under a name that is not this server's. What is set here may be put right."""

    http_status = 421


class TooMany(Unavailable):
    """More than one device or address may ask for. ``retry_after``: when it may go on, in seconds."""

    http_status = 429

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
