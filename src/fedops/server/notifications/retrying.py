"""What became of a try to send, and when the next one is."""

from __future__ import annotations

from dataclasses import dataclass

from fedops.core.backoff import pause_after

#: The pause after the first failure, and the longest. Seconds.
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 6 * 3_600.0
#: A message that is older is given up. Seconds.
GIVE_UP_SECONDS = 24 * 3_600.0
#: A pause is longer or shorter by this share, so that many messages do not come back at once.
_JITTER = 0.2
#: A receiver's own words are not longer than this in a message.
_LONGEST_PROBLEM = 300


@dataclass(frozen=True)
class Outcome:
    """How a try ended. ``problem``: why it failed, or what was wrong although it was sent."""

    sent: bool
    problem: str = ""
    #: It would fail the next time too.
    final: bool = False
    #: So long the receiver asks to be left alone. Seconds.
    retry_after: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "problem", self.problem[:_LONGEST_PROBLEM])


SENT = Outcome(sent=True)


def pause(attempts: int, retry_after: float | None, randomness: float) -> float:
    """Seconds until the next try. ``attempts``: so far, at least one. ``randomness``: from 0 to 1."""
    usual = pause_after(attempts, FIRST_PAUSE, LONGEST_PAUSE)
    usual *= 1.0 + _JITTER * (2.0 * randomness - 1.0)
    return min(max(usual, retry_after or 0.0), LONGEST_PAUSE)


def outcome_of_answer(status: int, text: str, retry_after: str) -> Outcome:
    """What an HTTP answer means. ``text``: the first of what it says, printable."""
    if 200 <= status < 300:
        return SENT
    said = f"it answered {status}" + (f": {text}" if text else "")
    if 300 <= status < 400:
        return Outcome(False, f"{said}; redirects are not followed: give its final address", True)
    if status in (408, 429) or status >= 500:
        return Outcome(False, said, retry_after=_seconds(retry_after))
    return Outcome(False, said, final=True)


def _seconds(retry_after: str) -> float | None:
    """What ``Retry-After`` says. A date is not taken: it would depend on the clocks of both."""
    text = retry_after.strip()
    return min(float(text), LONGEST_PAUSE) if text.isascii() and text.isdigit() else None
