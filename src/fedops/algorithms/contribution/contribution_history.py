"""What clients have contributed over rounds: two numbers each, never one.

    value      sum of phi over the rounds it took part in, with the root of the summed squared errors
    integrity  see ``fedops.algorithms.integrity``

Adding a round makes a new history, and a history is plain values, so that a run which is continued by
another process goes on with the same. Values of one history have one method and one utility: a changed
contract or validation set begins a new one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedops.algorithms.contribution.estimate import Estimate
from fedops.algorithms.integrity.integrity_history import (
    Integrity,
    JudgedRound,
    integrity_of,
    recent,
    remember,
)
from fedops.algorithms.integrity.judging import Judgement
from fedops.core.errors import Invalid


@dataclass(frozen=True)
class ClientContribution:
    """One client, over all rounds of the history."""

    value: float = 0.0
    #: The sum of the squared standard errors.
    variance: float = 0.0
    #: In how many rounds its update was given a value.
    participations: int = 0
    #: The value for each class alone.
    by_class: tuple[float, ...] = ()
    judged: tuple[JudgedRound, ...] = ()

    @property
    def standard_error(self) -> float:
        """Of the value: errors of different rounds are independent."""
        return math.sqrt(self.variance)

    @property
    def mean_value(self) -> float:
        """The value of a round that it took part in; 0 when there is none."""
        return self.value / self.participations if self.participations else 0.0

    @property
    def integrity(self) -> Integrity:
        """What its last rounds say."""
        return integrity_of(self.judged)


@dataclass(frozen=True)
class ContributionHistory:
    """All clients of a task that took part in a scored round."""

    clients: Mapping[str, ClientContribution] = field(default_factory=dict)
    #: The last round that is in it. Rounds are counted over all runs of the history.
    last_round: int = 0

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "last_round": self.last_round,
            "clients": {
                name: {
                    "value": one.value,
                    "variance": one.variance,
                    "participations": one.participations,
                    "by_class": list(one.by_class),
                    "judged": [judged.to_plain() for judged in one.judged],
                }
                for name, one in sorted(self.clients.items())
            },
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ContributionHistory:
        """What ``to_plain`` gave."""
        clients = {
            name: ClientContribution(
                one["value"],
                one["variance"],
                one["participations"],
                tuple(one["by_class"]),
                tuple(JudgedRound.from_plain(judged) for judged in one["judged"]),
            )
            for name, one in plain["clients"].items()
        }
        return cls(clients, plain["last_round"])


def add_round(
    history: ContributionHistory,
    round_: int,
    clients: Sequence[str],
    estimate: Estimate | None,
    judgements: Sequence[Judgement],
) -> ContributionHistory:
    """The history with one more round. ``estimate`` is None where no coalition was evaluated.

    Who did not take part keeps its value, and what is known of it grows older.

    Raises:
        Invalid: the round is not after the last one, or a client is named twice.
    """
    if round_ <= history.last_round:
        raise Invalid(f"round {round_} does not come after round {history.last_round}")
    if len(set(clients)) < len(clients):
        raise Invalid("a client is named twice in one round")
    known = dict(history.clients)
    for i, name in enumerate(clients):
        one = known.get(name, ClientContribution())
        one = replace(one, judged=remember(one.judged, judgements[i], round_))
        known[name] = one if estimate is None else _with_value(one, estimate, i)
    forgotten = {
        name: replace(one, judged=recent(one.judged, round_)) for name, one in known.items()
    }
    return ContributionHistory(forgotten, round_)


def _with_value(one: ClientContribution, estimate: Estimate, i: int) -> ClientContribution:
    added = [float(value) for value in estimate.by_class[i]]
    before = one.by_class or (0.0,) * len(added)
    return replace(
        one,
        value=one.value + float(estimate.values[i]),
        variance=one.variance + float(estimate.standard_errors[i]) ** 2,
        participations=one.participations + 1,
        by_class=tuple(old + new for old, new in zip(before, added, strict=True)),
    )
