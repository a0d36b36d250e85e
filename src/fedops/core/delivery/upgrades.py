"""How a device is with the release of FedOps that it was asked to install: a verdict, as of a commit."""

from __future__ import annotations

from dataclasses import dataclass

from fedops.core.delivery.waves import Placed, Verdict
from fedops.core.states import UpgradeStatus

#: What a device says whose owner has not let the server upgrade it.
OWNERS_TURN = "its owner has to run 'fedops client upgrade'"


@dataclass(frozen=True)
class UpgradeFacts:
    """What is known of a device. Times are POSIX seconds."""

    device: str
    wave: int
    status: UpgradeStatus
    #: Since when that is its status.
    since: float
    #: What it says is in the way.
    reason: str = ""
    online: bool = False
    #: When it called last.
    heard_at: float = 0.0


def upgrade_verdict(facts: UpgradeFacts, judged_seconds: float, now: float) -> Placed:
    """Whether the device is well with the new release, and for how long the verdict has held.

    Only what it says counts: one that says the new release and stays away before it was watched for
    ``judged_seconds`` is away, and so is one that has ended to be started anew.
    """
    verdict, why = _BY_STATUS[facts.status], upgrade_why(facts)
    until = now if facts.online else facts.heard_at
    seconds = max(until - facts.since, 0.0)
    if verdict is Verdict.GOOD and not facts.online and seconds < judged_seconds:
        verdict = Verdict.AWAY
    if verdict in (Verdict.GOING, Verdict.STALLED) and not facts.online:
        verdict = Verdict.AWAY
    return Placed(facts.device, facts.wave, verdict, why, seconds)


_BY_STATUS = {
    UpgradeStatus.WAITING: Verdict.GOING,
    UpgradeStatus.ASKED: Verdict.GOING,
    UpgradeStatus.DONE: Verdict.GOOD,
    UpgradeStatus.FAILED: Verdict.BAD,
    UpgradeStatus.STALLED: Verdict.STALLED,
}


def upgrade_why(facts: UpgradeFacts) -> str:
    """What it does or waits for, in words; "": it is done."""
    match facts.status:
        case UpgradeStatus.DONE:
            return ""
        case UpgradeStatus.WAITING:
            return "waits for its wave" if facts.online else "away; it is asked when it is back"
        case UpgradeStatus.ASKED if facts.online:
            return (
                "has not said that it is done: it is at work, installs it, or is of a release that"
                " cannot ('fedops client upgrade' there)"
            )
        case UpgradeStatus.ASKED:
            return (
                "away: it installs the release when it is back; if it does not come, look whether its"
                " service starts the Client Manager anew"
            )
        case UpgradeStatus.FAILED:
            return facts.reason or "it failed there"
        case UpgradeStatus.STALLED:
            return facts.reason or OWNERS_TURN
