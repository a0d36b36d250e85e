"""What makes a schedule fire, and when its model is promoted, as it is typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from fedops.core.errors import Invalid

Every = Annotated[
    str | None, typer.Option("--every", metavar="TIME", help="Such as 30m, 6h, 1h30m, 1d.")
]
Cron = Annotated[
    str | None,
    typer.Option("--cron", metavar="EXPR", help="Such as '0 2 * * *': every day at 2."),
]
Zone = Annotated[
    str | None,
    typer.Option("--zone", metavar="ZONE", help="Of --cron: Europe/Berlin. Default: UTC."),
]
OnCommit = Annotated[bool, typer.Option("--on-commit", help="When the task has other code.")]
OnNewData = Annotated[
    str | None,
    typer.Option(
        "--on-new-data",
        metavar="N|any",
        help="When the devices have N examples more, or any other data.",
    ),
]
OnDrift = Annotated[
    str | None,
    typer.Option(
        "--on-drift",
        metavar="METRIC=X|psi=X",
        help="When the metric of what serves is worse by X, or the inputs have moved.",
    ),
]
OnDemand = Annotated[bool, typer.Option("--on-demand", help="Only by 'fedops schedule fire'.")]
LookEvery = Annotated[
    str | None,
    typer.Option(
        "--look-every",
        metavar="TIME",
        help="How often devices look at their data. Default: 5m.",
    ),
]
Promote = Annotated[
    str,
    typer.Option(
        "--promote",
        metavar="RULE",
        help="accuracy+0.01 (better by so much), better, always or never.",
    ),
]
Missed = Annotated[
    Literal["once", "skip"],
    typer.Option("--missed", help="Ticks that come while the server is down or a run goes on."),
]

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(min|[smhdw])")


@dataclass(frozen=True)
class TypedTrigger:
    """What was given of a trigger, as typed."""

    every: str | None = None
    cron: str | None = None
    zone: str | None = None
    on_commit: bool = False
    on_new_data: str | None = None
    on_drift: str | None = None
    on_demand: bool = False
    look_every: str | None = None

    def request(self) -> dict[str, Any]:
        """As the server takes it. ``Invalid``: there is none, or several, or one makes no sense."""
        trigger = _one_trigger(self._given())
        if self.zone is not None and self.cron is None:
            raise Invalid("--zone belongs to --cron")
        if self.look_every is not None:
            trigger["look_seconds"] = _look_seconds(trigger, self.look_every)
        return trigger

    def _given(self) -> dict[str, Any]:
        cron = {"kind": "cron", "expression": self.cron, "zone": self.zone or "UTC"}
        return {
            "--every": self.every and _every(self.every),
            "--cron": self.cron and cron,
            "--on-commit": self.on_commit and {"kind": "on_commit"},
            "--on-new-data": self.on_new_data and _new_data(self.on_new_data),
            "--on-drift": self.on_drift and _drift(self.on_drift),
            "--on-demand": self.on_demand and {"kind": "on_demand"},
        }


def _one_trigger(given: dict[str, Any]) -> dict[str, Any]:
    chosen = {option: value for option, value in given.items() if value}
    if len(chosen) == 1:
        found: dict[str, Any] = dict(next(iter(chosen.values())))
        return found
    which = f"not {' and '.join(chosen)}" if chosen else "none was given"
    raise Invalid(f"a schedule has one trigger of {', '.join(given)}; {which}")


def _every(text: str) -> dict[str, Any]:
    return {"kind": "every", "seconds": seconds_of(text, "--every")}


def _new_data(text: str) -> dict[str, Any]:
    if text == "any":
        return {"kind": "on_new_data"}
    if not re.fullmatch(r"[1-9]\d{0,15}", text):
        raise Invalid(f"--on-new-data {text}: give a number of examples (500), or 'any'")
    return {"kind": "on_new_data", "examples": int(text)}


def _drift(text: str) -> dict[str, Any]:
    name, found, number = text.rpartition("=")
    if not (name and found and re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?", number)):
        raise Invalid(f"--on-drift {text}: write accuracy=0.05 or psi=0.2")
    if name == "psi":
        return {"kind": "on_drift", "psi": float(number)}
    return {"kind": "on_drift", "metric": name, "worse_by": float(number)}


def _look_seconds(trigger: dict[str, Any], text: str) -> float:
    if trigger["kind"] not in ("on_new_data", "on_drift"):
        raise Invalid("--look-every belongs to --on-new-data and --on-drift")
    return seconds_of(text, "--look-every")


def seconds_of(text: str, option: str) -> float:
    """A duration as people type it: ``90s``, ``30m``, ``1h30m``. ``Invalid`` when it is none."""
    if not text or _DURATION.sub("", text):
        raise Invalid(f"{option} {text}: write a time such as 30m, 6h, 1h30m or 1d")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def promotion_rule(text: str) -> dict[str, Any]:
    """``accuracy+0.01``, ``loss-0.02``, ``accuracy``, ``better``, ``always``, ``never``."""
    if text in ("better", "always", "never"):
        return {"rule": text}
    found = re.fullmatch(r"([^\s+=]+?)(?:[+-](\d+(?:\.\d+)?))?", text)
    if found is None:
        raise Invalid(f"--promote {text}: write accuracy+0.01, better, always or never")
    return {"metric": found[1], "margin": float(found[2] or 0.0)}
