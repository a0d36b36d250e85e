"""What open pages are sent: put together once, and packed once for all who are sent the same."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import cached_property

from fedops.server.dashboard.live.page import Drawn

#: What is shorter is not worth packing. Bytes.
_SHORT = 500


class Message:
    """JSON, as text, or packed (zlib, RFC 1950) as bytes."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def packed(self) -> bytes | None:
        """None: it is too short for that."""
        raw = self.text.encode()
        return zlib.compress(raw) if len(raw) >= _SHORT else None


#: A sign of life, and that a page be loaded again.
BEAT, RELOAD = Message("{}"), Message(json.dumps({"reload": True}))


def news_of(seq: int, events: list[int], panels: Mapping[str, Drawn], now: float) -> Message:
    """``seq``: all events up to this one are in what was drawn."""
    told = {name: {"html": one.html, "digest": one.digest} for name, one in panels.items()}
    return Message(json.dumps({"seq": seq, "events": events, "panels": told, "now": now}))
