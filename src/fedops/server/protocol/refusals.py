"""Refusals that every way into the server shares, whatever serves it."""

from __future__ import annotations

from fedops.core.errors import Conflict, Invalid


class Gone(Conflict):
    """It was, and is over: what was kept for it may go."""

    http_status = 410


class TooLarge(Invalid):
    """More bytes than were announced, or than are taken at once."""

    http_status = 413
