"""How a device is with the model that it serves, and why, in a sentence that ends with what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from fedops.core.reasons.durations import duration
from fedops.core.reasons.next_steps import sentence, start_device
from fedops.core.states import DeploymentHealth, Enrolment, ServingStatus

H = DeploymentHealth


@dataclass(frozen=True)
class ServingFacts:
    """What is known of one device and one task. Versions by number."""

    task: str
    alias: str
    #: What the alias names. None: there is no such alias.
    desired: int | None
    #: Why that is in quarantine; "": it is not.
    quarantine: str
    enrolment: Enrolment
    online: bool
    #: Since it called last. None: it never did.
    away_seconds: float | None
    #: By the device's word: what it heard of last, and what it serves.
    wanted: int | None
    actual: int | None
    status: ServingStatus
    reason: str
    stalled: bool

    @property
    def synced(self) -> bool:
        return self.desired is not None and self.actual == self.desired


def serving_health(facts: ServingFacts) -> tuple[DeploymentHealth, str]:
    """How it is apart from which version it serves, and why."""
    if facts.enrolment is not Enrolment.APPROVED:
        return H.STALLED, f"the device is {facts.enrolment.value}: no model is delivered to it"
    if facts.desired is None:
        step = f"'fedops model promote {facts.task} VERSION{_alias(facts)}'"
        return H.PROGRESSING, f"no version is called {facts.alias} yet; {step}"
    if facts.quarantine:
        return _of_quarantined(facts)
    if not facts.online:
        return _of_away(facts)
    if facts.wanted != facts.desired:
        return H.PROGRESSING, f"it has not said yet that it heard of V{facts.desired}"
    if facts.stalled:
        return H.STALLED, facts.reason
    if facts.status is ServingStatus.FAILED:
        return H.DEGRADED, facts.reason
    if facts.synced:
        return H.HEALTHY, facts.reason
    return H.PROGRESSING, sentence(facts.status.value, facts.reason)


def _of_quarantined(facts: ServingFacts) -> tuple[DeploymentHealth, str]:
    what = f"V{facts.desired} is quarantined: {facts.quarantine}"
    step = f"'fedops model rollback {facts.task}{_alias(facts)}'"
    if facts.synced:
        stays = f"the device keeps it until {facts.alias} names another version"
        return H.DEGRADED, sentence(what, stays, step)
    return H.STALLED, sentence(what, "it is not delivered", step)


def _of_away(facts: ServingFacts) -> tuple[DeploymentHealth, str]:
    seconds = facts.away_seconds
    away = "it never called" if seconds is None else f"away for {duration(seconds)}"
    if facts.synced:
        return H.HEALTHY, away
    return H.WAITING, sentence(f"{away}: it takes V{facts.desired} when it is back", start_device())


def _alias(facts: ServingFacts) -> str:
    """What a command needs to be told, unless it takes this one by itself."""
    return "" if facts.alias == "serving" else f" --alias {facts.alias}"
