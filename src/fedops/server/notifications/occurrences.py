"""Something that happened, as it is told; and many of a kind told as one."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from fedops.core.reasons.durations import first_few
from fedops.core.states import NotificationRule

#: More of one rule within one look are told as one.
MOST_APART = 20


@dataclass(frozen=True)
class Occurrence:
    """One thing that somebody may want to hear of."""

    rule: NotificationRule
    #: Of what lasts, the same as long as it lasts; of an event, its own.
    key: str
    #: What it is about: ``run 7``; and how a list of many names it: ``7``.
    subject: str
    name: str
    #: A whole sentence, without its end.
    sentence: str
    page: str
    command: str
    #: When it happened or, of what lasts, began. POSIX seconds.
    since: float
    #: What its message gives as its time: when it happened, was too long, or was over.
    at: float
    task: str | None = None
    run_id: int | None = None
    device: str | None = None
    event_id: int | None = None
    #: It is over.
    over: bool = False
    #: Of many told as one: all that was told.
    count: int = 1

    @property
    def once(self) -> str:
        """What keeps this very occurrence from being told twice."""
        if self.event_id is not None or self.count > 1:
            return self.key
        return f"{self.key} since {self.since:.0f}{' over' if self.over else ''}"


_MANY = {
    (NotificationRule.RUN_FAILED, False): "{} runs failed",
    (NotificationRule.RUN_WAITING, False): "{} runs wait",
    (NotificationRule.RUN_WAITING, True): "{} runs do not wait any more",
    (NotificationRule.DEVICE_LOST, False): "{} devices are lost",
    (NotificationRule.DEVICE_LOST, True): "{} devices are online again",
    (NotificationRule.DRIFT, False): "The data of {} schedules drift",
    (NotificationRule.DRIFT, True): "{} drift alarms are over",
    (NotificationRule.VERSION_QUARANTINED, False): "{} versions are quarantined",
    (NotificationRule.ROLLOUT_STOPPED, False): "{} rollouts were stopped",
}
_WHERE = {
    NotificationRule.RUN_FAILED: ("/runs", "fedops run list"),
    NotificationRule.RUN_WAITING: ("/runs", "fedops run list"),
    NotificationRule.DEVICE_LOST: ("/devices", "fedops device list"),
    NotificationRule.DRIFT: ("/tasks", "fedops task list"),
    NotificationRule.VERSION_QUARANTINED: ("/models", "fedops task list"),
    NotificationRule.ROLLOUT_STOPPED: ("/delivery", "fedops task list"),
}


def merged(found: Iterable[Occurrence]) -> list[Occurrence]:
    """These, in their order of time; of those of a rule of which there are too many, one for all."""
    groups: dict[tuple[NotificationRule, bool], list[Occurrence]] = defaultdict(list)
    for one in sorted(found, key=lambda one: (one.at, one.subject, one.key)):
        groups[one.rule, one.over].append(one)
    told = []
    for some in groups.values():
        told += some if len(some) <= MOST_APART else [_as_one(some)]
    return sorted(told, key=lambda one: (one.at, one.subject, one.key))


def _as_one(some: list[Occurrence]) -> Occurrence:
    first = some[0]
    names = sorted(one.name for one in some)
    words = _MANY.get((first.rule, first.over), "{} things happened")
    digest = hashlib.sha256("\n".join(one.once for one in some).encode()).hexdigest()[:32]
    page, command = _WHERE[first.rule]
    tasks = {one.task for one in some}
    return Occurrence(
        rule=first.rule,
        key=f"{first.rule.value} {'over ' if first.over else ''}{digest}",
        subject=f"{len(some)} things",
        name="",
        sentence=f"{words.format(f'{len(some):,}')}: {first_few(names)}",
        page=page,
        command=command,
        since=first.since,
        at=max(one.at for one in some),
        task=tasks.pop() if len(tasks) == 1 else None,
        over=first.over,
        count=len(some),
    )
