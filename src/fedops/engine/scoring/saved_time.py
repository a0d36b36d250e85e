"""The time that scoring may take unless the config limits it: a share of the rounds, kept until used."""

from __future__ import annotations

from fedops.engine.scoring.scoring_plan import SHARE

#: Why a round is not scored: it would cost more than is saved; nobody could begin with it.
TOO_DEAR, NOT_READY = (
    "to stay within a tenth of the rounds' time",
    "while the app was opened for it",
)
#: More than this share of a round is never used at once: the choice of clients would have to wait.
MOST = 0.5


class SavedTime:
    """What the rounds gave, less what their scoring took. Seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._skipped: dict[int, str] = {}

    def add(self, round_seconds: float) -> None:
        """A round took so long."""
        self.seconds = min(
            self.seconds + SHARE * round_seconds, max(self.seconds, MOST * round_seconds)
        )

    def spend(self, seconds: float) -> None:
        """Scoring took so long."""
        self.seconds -= seconds

    def skip(self, round_: int, why: str) -> None:
        """This round is not scored."""
        self._skipped[round_] = why

    def said(self) -> str:
        """Which rounds were not scored since it was asked last, and why; "": all were."""
        skipped, self._skipped = self._skipped, {}
        if not skipped:
            return ""
        first, last = min(skipped), max(skipped)
        which = f"round {first} was" if first == last else f"rounds {first} to {last} were"
        return f"{which} not scored, {' and '.join(dict.fromkeys(skipped.values()))}"
