"""One colour and one icon for each kind of state, everywhere, and never without its word."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """What a state means for who looks at it. Each is a class of the style sheet."""

    WORKING = "working"
    GOOD = "good"
    WAITS = "waits"
    SOON = "soon"  #: needs you soon
    NOW = "now"  #: needs you now
    STALE = "stale"


ICONS = {
    Tone.WORKING: "●",
    Tone.GOOD: "✓",
    Tone.WAITS: "◌",
    Tone.SOON: "▲",
    Tone.NOW: "■",
    Tone.STALE: "◇",
}
_WORKING = (
    "running",
    "training",
    "evaluating",
    "starting",
    "resuming",
    "working",
    "installing",
    "waving",
    "sending",
)
_GOOD = (
    "completed",
    "online",
    "approved",
    "ready",
    "idle",
    "converged",
    "sound",
    "replied",
    "serving",
    "holding",
    "sent",
)
_SOON = ("paused", "pausing", "stopping", "backoff", "late", "refused", "waiting for you")
_NOW = ("failed", "fatal", "lost", "quarantined", "rejected", "revoked", "dropped")
_TONES = {
    **dict.fromkeys(_WORKING, Tone.WORKING),
    **dict.fromkeys(_GOOD, Tone.GOOD),
    **dict.fromkeys(_SOON, Tone.SOON),
    **dict.fromkeys(_NOW, Tone.NOW),
}


@dataclass(frozen=True)
class Look:
    """A state as a chip shows it."""

    tone: Tone
    icon: str
    word: str


def look_of(state: str, word: str = "") -> Look:
    """A state of any of the state machines: what is none of the others waits."""
    tone = _TONES.get(str(state), Tone.WAITS)
    return Look(tone, ICONS[tone], word or str(state))
