"""What a task's scored rounds came to, with what makes them comparable: one metric, and the same classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from fedops.algorithms.contribution.contribution_history import ContributionHistory, add_round
from fedops.algorithms.contribution.estimate import Estimate
from fedops.algorithms.contribution.round_scoring import RoundScores as Found
from fedops.flower.scoring.relative_values import RelativeValues


@dataclass
class ScoredHistory:
    """As one round leaves it to the next."""

    clients: ContributionHistory = field(default_factory=ContributionHistory)
    relative: RelativeValues = field(default_factory=lambda: RelativeValues({}))
    #: The metric that the values are made of. None: there are none yet.
    metric: str | None = None
    #: The labels of the classes that values are by; empty: they are not.
    classes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """What ``to_plain`` gave; nothing: it begins."""
        if not plain:
            return cls()
        return cls(
            ContributionHistory.from_plain(plain["clients"]),
            RelativeValues.of(plain.get("relative", {})),
            plain.get("metric"),
            list(plain.get("classes", ())),
        )

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "clients": self.clients.to_plain(),
            "relative": self.relative.sums,
            "metric": self.metric,
            "classes": self.classes,
        }

    def add(
        self, devices: Sequence[str], found: Found, metric: str | None, classes: Sequence[str]
    ) -> str:
        """One more round. Returns why the history began anew; "": it went on."""
        why = "" if found.value is None else self._changed(found.value, metric, classes)
        if why:
            self.clients, self.relative = ContributionHistory(), RelativeValues({})
        if found.value is not None:
            self.metric, self.classes = metric, list(classes)
        number = self.clients.last_round + 1
        self.clients = add_round(self.clients, number, devices, found.value, found.judgements)
        self.relative.add(devices, found.value)
        return why

    def _changed(self, value: Estimate, metric: str | None, classes: Sequence[str]) -> str:
        if self.metric is not None and metric != self.metric:
            return (
                f"the history begins anew: the {metric} is measured now, it was the {self.metric}"
            )
        count = value.by_class.shape[1]
        alike = all(
            len(one.by_class) in (0, count) or not one.participations
            for one in self.clients.clients.values()
        )
        same = not self.classes or not classes or self.classes == list(classes)
        return "" if alike and same else "the history begins anew: the classes changed"
