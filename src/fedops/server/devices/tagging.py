"""Tags of devices: what operators call them beside their names."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from fedops.server.database.lookup import require_device
from fedops.server.events import event_log


def tag_device(session: Session, device: str, tags: Sequence[str], now: float) -> None:
    """A device has these tags from now on, and no other. Repeating is harmless."""
    row = require_device(session, device)
    wanted = sorted(set(tags))
    if wanted == row.tags:
        return
    row.tags = wanted
    said = ", ".join(wanted) or "none"
    subject = f"device {row.name}"
    event_log.append_event(session, now, event_log.OPERATOR, subject, "device.tagged", said)
