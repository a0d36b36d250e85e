"""What goes wrong when: the faults of each schedule, drawn from a seed so that all cells get their turn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

#: The transitions of a run, each with the points in the code that it is made of.
TRANSITIONS: dict[str, tuple[str, ...]] = {
    "submit": ("server.attempt.opened", "server.attempt.started", "server.attempt.handed_over"),
    "hello": ("server.hello.committed", "engine.hello"),
    "begin round": ("server.round.begin.inside", "server.round.begun", "engine.round.begun"),
    "ask": ("engine.asked", "manager.work.accepted", "client.received"),
    "train": ("client.trained", "client.state.before", "client.state.written"),
    "checkpoint": ("client.kept", "client.checkpoint.before", "client.checkpoint.written"),
    "finish work": ("client.finished", "manager.work.finished"),
    "deliver": ("manager.upload.begin", "manager.upload.done", "manager.work.delivered"),
    "aggregate": ("engine.update.checked", "engine.replied", "engine.aggregated"),
    "store": (
        "server.artifact.synced",
        "server.artifact.written",
        "server.artifact.recorded",
        "engine.model.stored",
    ),
    "commit": (
        "engine.commit.before",
        "server.commit.before",
        "server.commit.inside",
        "server.commit.after",
        "engine.commit.after",
    ),
    "finish": (
        "engine.finish.before",
        "server.finish.inside",
        "server.finish.after",
        "engine.finish.after",
    ),
    "report": (
        "manager.metric.heard",
        "server.records.inside",
        "server.records.kept",
        "manager.records.sent",
    ),
}
PROCESSES = ("server", "engine", "manager", "client")
#: Points that are reached only while something else recovers: a second fault in the wake of a first.
AFTERSHOCKS = {
    "server": ("server", "server.resume.lost"),
    "engine": ("server", "server.attempt.lose.inside"),
    "client": ("manager", "manager.child.started"),
}
#: Passed once in an undisturbed run, and not once a round or more often.
_ONCE = ("server.attempt", "server.hello", "engine.hello", "engine.finish", "server.finish")
#: Passed at least so often in an undisturbed run of four rounds with two devices.
_OFTEN = ("client.", "manager.work", "engine.update.checked", "server.records")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    process: str
    #: The transition during which it goes wrong, and the very point.
    transition: str
    point: str
    #: At which pass through the point.
    number: int
    #: "kill", "stop" (freeze for a while), "cut" (a device's network), "cut upload" (after some of its
    #: bytes), "damage model" or "damage update" (a byte of its file, on the server).
    how: str
    seconds: float = 0.0  #: of "stop" and "cut"
    share: float = 0.0  #: of an update, that passes before the cut
    #: Die by oneself at the point, rather than be killed while whoever is there is held.
    self_inflicted: bool = False

    @property
    def action(self) -> str:
        return "kill" if self.self_inflicted else "hold"

    def __str__(self) -> str:
        many = f" for {self.seconds:.1f} s" if self.seconds else ""
        many += f" after {self.share:.0%}" if self.share else ""
        return f"{self.how} {self.process}{many} at {self.point}@{self.number}"


def schedules(count: int, seed: int) -> list[list[Fault]]:
    """The faults of ``count`` schedules: every process dies in every transition before any does twice."""
    rng = random.Random(seed)
    cells = _cells(rng)
    return [_schedule(rng, cells) for _ in range(count)]


def _cells(rng: random.Random) -> Iterator[tuple[str, str]]:
    while True:
        cells = list(product(PROCESSES, TRANSITIONS))
        rng.shuffle(cells)
        yield from cells


def _schedule(rng: random.Random, cells: Iterator[tuple[str, str]]) -> list[Fault]:
    faults = [_kill(rng, *next(cells)), _kill(rng, *next(cells)), _disturb(rng)]
    wake = AFTERSHOCKS.get(faults[0].process)
    if wake and rng.random() < 0.3:
        process, point = wake
        faults.append(Fault(process, "recover", point, 1, "kill", self_inflicted=True))
    unique: dict[str, Fault] = {}
    for fault in faults:  # one point, one fault
        unique.setdefault(fault.point, fault)
    return list(unique.values())


def _kill(rng: random.Random, process: str, transition: str) -> Fault:
    point = rng.choice(TRANSITIONS[transition])
    alone = _owner(point) == process and rng.random() < 0.7
    number = _number(rng, point)
    return Fault(process, transition, point, number, "kill", self_inflicted=alone)


def _disturb(rng: random.Random) -> Fault:
    """Something that passes, or can be mended: a process, a network or a file."""
    how = rng.choice(("stop", "cut", "cut upload", "damage"))
    if how == "cut upload":
        share, point = rng.uniform(0.01, 1.0), "manager.upload.begin"
        return Fault("network", "deliver", point, rng.randint(1, 6), how, share=share)
    if how == "damage":
        return _damage(rng)
    process = "network" if how == "cut" else rng.choice(PROCESSES)
    transition = rng.choice(list(TRANSITIONS))
    point = rng.choice(TRANSITIONS[transition])
    seconds = rng.choice((0.5, 2.0, 5.0))
    return Fault(process, transition, point, _number(rng, point), how, seconds)


def _damage(rng: random.Random) -> Fault:
    what = rng.choice(("model", "update"))
    if what == "model":
        point, transition = "engine.commit.after", "commit"
    else:
        point, transition = rng.choice(("engine.update.checked", "engine.replied")), "aggregate"
    return Fault("disk", transition, point, _number(rng, point), f"damage {what}")


def _number(rng: random.Random, point: str) -> int:
    if point.startswith(_ONCE):
        return 1
    return rng.randint(1, 6 if point.startswith(_OFTEN) else 3)


def _owner(point: str) -> str:
    return point.split(".")[0]
