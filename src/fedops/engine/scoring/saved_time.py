"""The time that scoring may take unless the config limits it: a share of the rounds, kept until used."""

from __future__ import annotations

from fedops.engine.scoring.scoring_plan import SHARE

#: More than this share of a round is never used at once: the choice of clients would have to wait.
MOST = 0.5


class SavedTime:
    """What the rounds gave, less what their scoring took. Seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._skipped: list[int] = []

    def add(self, round_seconds: float) -> None:
        """A round took so long."""
        self.seconds = min(
            self.seconds + SHARE * round_seconds, max(self.seconds, MOST * round_seconds)
        )

    def spend(self, seconds: float) -> None:
        """Scoring took so long."""
        self.seconds -= seconds

    def skip(self, round_: int) -> None:
        """This round is not scored, because nothing would be left."""
        self._skipped.append(round_)

    def said(self) -> str:
        """Which rounds were not scored since it was asked last; "": all were."""
        skipped, self._skipped = self._skipped, []
        if not skipped:
            return ""
        first, last = skipped[0], skipped[-1]
        which = f"round {first} was" if first == last else f"rounds {first} to {last} were"
        return f"{which} not scored, to stay within a tenth of the rounds' time"
