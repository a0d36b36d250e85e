"""What a device has done in the committed rounds of a run, as selectors see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fedops.core.contracts import ParticipationReport, RoundCommit
from fedops.core.states import ParticipationStatus

#: Where a participation's loss may be found, the best first.
LOSSES = ("train_loss", "loss")
#: Of how many rounds, the last ones, the usual seconds are made, and what the newest counts in them.
ROUNDS_AVERAGED, NEWEST = 10, 0.3


def usual_seconds(rounds: Iterable[tuple[float, bool]]) -> float | None:
    """How long a round takes a device, by its rounds, the first the oldest; each newer one counts more.

    Each round: how long it took, and whether the device replied. Without a reply it would have taken longer
    than it was waited for: such a round never makes the mean shorter. None: of no round.
    """
    mean: float | None = None
    for seconds, replied in rounds:
        if mean is None:
            mean = seconds
        elif replied or seconds > mean:
            mean += NEWEST * (seconds - mean)
    return mean


def loss_of(metrics: Mapping[str, float]) -> float | None:
    """The loss among the metrics of a reply, if there is one."""
    return next((metrics[name] for name in LOSSES if name in metrics), None)


class DeviceHistories:
    """The histories of all devices of a run, for whoever keeps its commits in memory."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Any]] = {}
        self._seconds: dict[str, list[tuple[float, bool]]] = {}

    def note(self, commit: RoundCommit) -> None:
        """A round is committed."""
        lasted = commit.seconds - commit.timing.get("waiting", 0.0)
        for report in commit.participations:
            known = self._of.setdefault(report.device, {"rounds_invited": 0, "rounds_taken": 0})
            known["rounds_invited"] += 1
            known["last_invited"] = commit.round
            replied = report.status is ParticipationStatus.REPLIED
            self._time(report.device, report.seconds if replied else lasted, replied)
            if replied:
                self._reply(report, commit.round)

    def _time(self, device: str, took: float | None, replied: bool) -> None:
        """Who did not reply needs at least as long as the others were given."""
        seconds = self._seconds.setdefault(device, [])
        if took is not None:
            seconds.append((took, replied))
        del seconds[:-ROUNDS_AVERAGED]
        self._of[device]["round_seconds"] = usual_seconds(seconds)

    def _reply(self, report: ParticipationReport, round_: int) -> None:
        known = self._of[report.device]
        known["rounds_taken"] += 1
        known |= {
            "last_round": round_,
            "last_seconds": report.seconds,
            "last_loss": loss_of(report.metrics),
        }

    def of(self, device: str) -> dict[str, Any]:
        """The fields of a ``Candidate`` that tell its history."""
        return self._of.get(device, {})
