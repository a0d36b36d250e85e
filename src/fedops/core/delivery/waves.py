"""A rollout in waves: whom the next one asks, and how a wave is judged: good, bad, or unclear.

It is judged over time and not at one instant, and who is away is no failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Literal

from fedops.core.reasons.durations import duration, pluralised
from fedops.core.suggestions import comma_list

#: How many devices a sentence names.
_NAMED = 3


@dataclass(frozen=True)
class Share:
    """A number of devices, or a part of them: ``1``, ``10%``."""

    number: int
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Share:
        """``ValueError`` when it is neither."""
        percent = text.endswith("%")
        number = int(text.removesuffix("%"))
        if number < 1 or (percent and number > 100):
            raise ValueError(f"'{text}' is no share of devices: write 2 or 10%")
        return cls(number, percent)

    def of(self, count: int) -> int:
        """How many of ``count`` that are: one at least, where there is one."""
        wanted = ceil(count * self.number / 100) if self.percent else self.number
        return min(max(wanted, 1), count)


@dataclass(frozen=True)
class WaveRules:
    """How a rollout goes on. Seconds."""

    canary: Share = Share(1)
    #: Of those that are left, in each further wave.
    further: Share = Share(100, percent=True)
    #: Before which waves a person is asked.
    approval: Literal["never", "canary", "each"] = "never"
    #: For so long a wave has to have been well.
    judged_seconds: float = 10.0
    #: After so long a wave that is neither well nor failed is unclear.
    wave_seconds: float = 900.0


class Verdict(StrEnum):
    """On one device of a wave."""

    GOOD = "good"
    BAD = "bad"
    GOING = "going"
    STALLED = "stalled"  #: it will not get better by itself
    AWAY = "away"


@dataclass(frozen=True)
class Placed:
    """A device that is asked to run the commit."""

    device: str
    wave: int
    verdict: Verdict
    why: str = ""
    #: For how long the verdict has held. Seconds.
    seconds: float = 0.0


@dataclass(frozen=True)
class Others:
    """The devices that are not asked yet."""

    present: Sequence[str] = ()
    away: Sequence[str] = ()

    @property
    def count(self) -> int:
        return len(self.present) + len(self.away)


class StepKind(StrEnum):
    WAIT = "wait"
    NEXT = "next"  #: ask these devices
    ASK = "ask"  #: a person, before the next wave
    PAUSE = "pause"  #: unclear: for a person to decide
    STOP = "stop"  #: bad
    HOLD = "hold"  #: nobody is left to be asked


@dataclass(frozen=True)
class WaveStep:
    kind: StepKind
    why: str
    devices: tuple[str, ...] = ()


def next_step(
    rules: WaveRules,
    wave: int,
    placed: Sequence[Placed],
    others: Others,
    seconds: float,
    *,
    approved: int = 0,
) -> WaveStep:
    """What follows. ``wave`` 0: nobody is asked yet; the canary is wave 1.

    Args:
        placed: the devices of all waves so far.
        seconds: since the wave began, or since a person let it go on.
        approved: up to which wave a person has allowed it.
    """
    if bad := [one for one in placed if one.verdict is Verdict.BAD]:
        return WaveStep(StepKind.STOP, f"{bad[0].device}: {bad[0].why or 'it failed there'}")
    if wave == 0:
        return _begin(rules, others, approved)
    own = [one for one in placed if one.wave == wave and one.verdict is not Verdict.AWAY]
    good = [one for one in own if one.verdict is Verdict.GOOD]
    if own and len(good) == len(own):
        return _after_good(rules, wave, good, others, approved)
    if seconds >= rules.wave_seconds:
        return WaveStep(StepKind.PAUSE, _unclear(wave, own, rules.wave_seconds))
    stalled = [one for one in own if one.verdict is Verdict.STALLED]
    if stalled and len(good) + len(stalled) == len(own) and _long(stalled, rules):
        return WaveStep(StepKind.PAUSE, _stuck(wave, stalled))
    return WaveStep(StepKind.WAIT, _waiting(wave, own))


def _begin(rules: WaveRules, others: Others, approved: int) -> WaveStep:
    if not others.count:
        return WaveStep(
            StepKind.HOLD, "no device takes part in the task yet; each gets it as it comes"
        )
    if not others.present:
        return WaveStep(
            StepKind.WAIT, "no device of the task is there; the first that comes is the canary"
        )
    if rules.approval == "each" and approved < 1:
        return WaveStep(StepKind.ASK, "the canary waits for approval")
    return WaveStep(StepKind.NEXT, "the canary", _chosen(rules.canary, others))


def _after_good(
    rules: WaveRules, wave: int, good: Sequence[Placed], others: Others, approved: int
) -> WaveStep:
    left = rules.judged_seconds - min(one.seconds for one in good)
    if left > 0:
        why = f"wave {wave} is well, and is watched for {duration(left)} more"
        return WaveStep(StepKind.WAIT, why)
    if not others.count:
        return WaveStep(StepKind.HOLD, "every device has been asked")
    asked = rules.approval == "each" or (rules.approval == "canary" and wave == 1)
    if asked and approved <= wave:
        why = f"wave {wave} is well; {pluralised(others.count, 'device')} left, which wait for approval"
        return WaveStep(StepKind.ASK, why)
    return WaveStep(StepKind.NEXT, f"wave {wave} is well", _chosen(rules.further, others))


def _chosen(share: Share, others: Others) -> tuple[str, ...]:
    """Those who are there come first. The last wave asks everybody, who is away too."""
    count = share.of(others.count)
    return (*others.present, *others.away)[: max(count, 1)]


def _long(stalled: Sequence[Placed], rules: WaveRules) -> bool:
    return min(one.seconds for one in stalled) >= rules.judged_seconds


def _unclear(wave: int, own: Sequence[Placed], limit: float) -> str:
    if not own:
        return f"wave {wave}: no device of it has been there for {duration(limit)}"
    late = [one for one in own if one.verdict is not Verdict.GOOD]
    return f"wave {wave} is neither well nor failed after {duration(limit)}: {_named(late)}"


def _stuck(wave: int, stalled: Sequence[Placed]) -> str:
    return f"wave {wave} will not get on by itself: {_named(stalled)}"


def _waiting(wave: int, own: Sequence[Placed]) -> str:
    if not own:
        return f"wave {wave}: no device of it is there"
    return f"wave {wave}: {_named([one for one in own if one.verdict is not Verdict.GOOD])}"


def _named(devices: Sequence[Placed]) -> str:
    said = [f"{one.device} ({one.why})" if one.why else one.device for one in devices[:_NAMED]]
    more = len(devices) - len(said)
    return comma_list([*said, pluralised(more, "other")] if more > 0 else said)
