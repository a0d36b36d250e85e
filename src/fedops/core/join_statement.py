"""What a device signs when it joins."""

from __future__ import annotations

import hashlib


def join_statement(token: str, public_key: str) -> bytes:
    """What a device that joins signs with its device key."""
    return b"fedops join " + hashlib.sha256(f"{token}\n{public_key}".encode()).digest()
