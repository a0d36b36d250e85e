"""Who is signed in to the dashboard: a random cookie for each sign-in, kept in memory."""

from __future__ import annotations

import hashlib
import secrets
import threading

COOKIE = "fedops_session"
LIFETIME_SECONDS = 12 * 3600.0


class Sessions:
    """Signed-in browsers. They end with the process, with time, or by signing out."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()

    def open(self, now: float) -> str:
        """A new session; its secret belongs in the cookie."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._ends = {key: end for key, end in self._ends.items() if end > now}
            self._ends[_key(secret)] = now + LIFETIME_SECONDS
        return secret

    def valid(self, secret: str | None, now: float) -> bool:
        """Whether the cookie's secret is that of a living session."""
        with self._lock:
            return secret is not None and self._ends.get(_key(secret), 0.0) > now

    def close(self, secret: str | None) -> None:
        """Sign out."""
        with self._lock:
            self._ends.pop(_key(secret or ""), None)


def _key(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
