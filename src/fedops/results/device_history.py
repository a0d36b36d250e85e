"""What a device has done in the committed rounds of a run, as selectors see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fedops.core.contracts import ParticipationReport, RoundCommit
from fedops.core.states import ParticipationStatus

#: Where a participation's loss may be found, the best first.
LOSSES = ("train_loss", "loss")
#: Of how many rounds, the last ones, the mean of seconds is made, and what the newest counts in it.
ROUNDS_AVERAGED, NEWEST = 10, 0.3


def moving_average(values: Iterable[float]) -> float | None:
    """The mean of values, the first the oldest, in which each newer one counts more. None: of nothing."""
    mean: float | None = None
    for value in values:
        mean = value if mean is None else mean + NEWEST * (value - mean)
    return mean


def loss_of(metrics: Mapping[str, float]) -> float | None:
    """The loss among the metrics of a reply, if there is one."""
    return next((metrics[name] for name in LOSSES if name in metrics), None)


class DeviceHistories:
    """The histories of all devices of a run, for whoever keeps its commits in memory."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Any]] = {}
        self._seconds: dict[str, list[float]] = {}

    def note(self, commit: RoundCommit) -> None:
        """A round is committed."""
        for report in commit.participations:
            known = self._of.setdefault(report.device, {"rounds_invited": 0, "rounds_taken": 0})
            known["rounds_invited"] += 1
            known["last_invited"] = commit.round
            if report.status is ParticipationStatus.REPLIED:
                self._reply(report, commit.round)

    def _reply(self, report: ParticipationReport, round_: int) -> None:
        seconds = self._seconds.setdefault(report.device, [])
        if report.seconds is not None:
            seconds.append(report.seconds)
        del seconds[:-ROUNDS_AVERAGED]
        known = self._of[report.device]
        known["rounds_taken"] += 1
        known |= {
            "last_round": round_,
            "last_seconds": report.seconds,
            "last_loss": loss_of(report.metrics),
            "round_seconds": moving_average(seconds),
        }

    def of(self, device: str) -> dict[str, Any]:
        """The fields of a ``Candidate`` that tell its history."""
        return self._of.get(device, {})
