"""Threads that nobody waits for at the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable


def in_thread(
    target: Callable[..., object], *args: object, name: str | None = None
) -> threading.Thread:
    """Begin to call ``target`` in a thread of its own."""
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread
