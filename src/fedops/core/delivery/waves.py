"""A rollout in waves: whom the next one asks, and how a wave is judged: good, bad, or unclear.

It is judged over time and not at one instant, and who is away is no failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Literal

from fedops.core.delivery.groups import TAG
from fedops.core.reasons.durations import duration, first_few, pluralised


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
class Tagged:
    """The devices that operators gave this tag."""

    tag: str


def first_wave(text: str) -> Share | Tagged:
    """Who is asked first: so many (``1``, ``10%``), or those with a tag (``tag:ward``).

    >>> first_wave("10%"), first_wave("tag:ward")
    (Share(number=10, percent=True), Tagged(tag='ward'))
    """
    return Tagged(text.removeprefix(TAG)) if text.startswith(TAG) else Share.parse(text)


@dataclass(frozen=True)
class WaveRules:
    """How a rollout goes on. Seconds."""

    canary: Share | Tagged = Share(1)
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
    #: Those of them with the tag of the first wave, if that goes by one.
    tagged: frozenset[str] = frozenset()

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

    A wave asks devices that are there. Who is away gets the commit when it is back: with a later wave, or
    once all are asked. A few that are stalled or late say nothing of the commit, as long as more are well.

    Args:
        placed: the devices of all waves so far.
        seconds: since the wave began, or since a person let it go on.
        approved: up to which wave a person has allowed it. The wave before may be unclear, not failed.
    """
    if bad := [one for one in placed if one.verdict is Verdict.BAD]:
        return WaveStep(StepKind.STOP, f"{bad[0].device}: {bad[0].why or 'it failed there'}")
    if wave == 0:
        return _begin(rules, others, approved)
    own = [one for one in placed if one.wave == wave and one.verdict is not Verdict.AWAY]
    if approved > wave:
        return _go_on(rules, wave, f"a person let wave {wave} pass", others)
    good, stalled = (_those(own, verdict) for verdict in (Verdict.GOOD, Verdict.STALLED))
    is_late = seconds >= rules.wave_seconds
    is_settled = is_late or len(good) + len(stalled) == len(own)
    if is_settled and 2 * len(good) > len(own):
        return _after_good(rules, wave, own, others)
    if is_late:
        return WaveStep(StepKind.PAUSE, _unclear(wave, own, rules.wave_seconds))
    if own and is_settled and min(seconds, _shortest(stalled)) >= rules.judged_seconds:
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
    if isinstance(rules.canary, Tagged):
        return _begin_with(rules.canary.tag, others)
    return WaveStep(StepKind.NEXT, "the canary", _chosen(rules.canary, others))


def _begin_with(tag: str, others: Others) -> WaveStep:
    """All that are there and have the tag; who has it and is away comes with a later wave."""
    chosen = tuple(one for one in others.present if one in others.tagged)
    if chosen:
        return WaveStep(StepKind.NEXT, f"the canary: those with tag '{tag}'", chosen)
    has = (
        "is there" if others.tagged else f"takes part; 'fedops device tag NAME {tag}' gives it one"
    )
    return WaveStep(StepKind.WAIT, f"no device with tag '{tag}', which is to be first, {has}")


def _after_good(rules: WaveRules, wave: int, own: Sequence[Placed], others: Others) -> WaveStep:
    good = _those(own, Verdict.GOOD)
    left = rules.judged_seconds - _shortest(good)
    if left > 0:
        why = f"wave {wave} is well, and is watched for {duration(left)} more"
        return WaveStep(StepKind.WAIT, why)
    rest = [one for one in own if one.verdict is not Verdict.GOOD]
    well = f"wave {wave} is well" + (f", but for {_named(rest)}" if rest else "")
    asked = rules.approval == "each" or (rules.approval == "canary" and wave == 1)
    if asked and others.count:
        why = f"{well}; {pluralised(others.count, 'device')} left, which wait for approval"
        return WaveStep(StepKind.ASK, why)
    return _go_on(rules, wave, well, others)


def _go_on(rules: WaveRules, wave: int, well: str, others: Others) -> WaveStep:
    """The next wave; or none, when all that were there have been asked: whoever comes gets it then."""
    everybody = rules.further == Share(100, percent=True)
    if not others.present or (wave > 1 and everybody):
        gone = "; who is away gets it when it is back" if others.count else ""
        return WaveStep(StepKind.HOLD, f"{well}, and every device there has been asked{gone}")
    return WaveStep(StepKind.NEXT, well, _chosen(rules.further, others))


def _chosen(share: Share, others: Others) -> tuple[str, ...]:
    """Of all that are left so many, of those that are there."""
    return tuple(others.present[: share.of(others.count)])


def _those(own: Sequence[Placed], verdict: Verdict) -> list[Placed]:
    return [one for one in own if one.verdict is verdict]


def _shortest(devices: Sequence[Placed]) -> float:
    """For how long the verdict has held on all of them."""
    return min((one.seconds for one in devices), default=0.0)


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
    said = [f"{one.device} ({one.why})" if one.why else one.device for one in devices]
    return first_few(said)
