"""The conditions of a device's owner: whether the device may take new work now, and if not, why.

What is not known counts as not met: who asks for an unmetered network is not to pay because nobody could
tell. A device without a battery is on mains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_CLOCK = r"([01]\d|2[0-3]):([0-5]\d)"
_HOURS = re.compile(rf"{_CLOCK}-{_CLOCK}")


def _as_hours(text: str) -> str:
    found = _HOURS.fullmatch(text)
    if text and (found is None or _minutes(text)[0] == _minutes(text)[1]):
        raise ValueError('must be hours of the day, such as "22:00-06:00", or ""')
    return text


class Conditions(BaseModel):
    """``[conditions]`` of ``device.toml``; the defaults ask for nothing."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    charging: bool = False
    battery_percent: Annotated[int, Field(ge=0, le=100)] = 0
    unmetered: bool = False
    memory_mb: Annotated[int, Field(ge=0)] = 0
    #: By the device's own clock and time zone; "" is all day.
    hours: Annotated[str, AfterValidator(_as_hours)] = ""


@dataclass(frozen=True)
class Circumstances:
    """How a device is placed at a moment; None: not known."""

    on_mains: bool | None = None
    #: None also if there is no battery, which ``on_mains`` then tells.
    battery_percent: float | None = None
    metered: bool | None = None
    #: Memory that is free.
    memory_mb: int | None = None
    #: Of the day, from midnight.
    minute: int = 0


def unmet_conditions(wanted: Conditions, now: Circumstances) -> list[str]:
    """What keeps the device from taking new work, one phrase each; no number that changes all the time."""
    found = []
    if wanted.charging and now.on_mains is not True:
        found.append(
            "not charging" if now.on_mains is False else _unknown("whether it is charging")
        )
    if wanted.battery_percent:
        found.append(_battery(wanted.battery_percent, now))
    if wanted.unmetered and now.metered is not False:
        found.append(
            "on a metered network" if now.metered else _unknown("whether its network is metered")
        )
    if wanted.memory_mb:
        found.append(_memory(wanted.memory_mb, now.memory_mb))
    if wanted.hours and not _within(wanted.hours, now.minute):
        found.append(f"outside its hours ({wanted.hours})")
    return [phrase for phrase in found if phrase]


def _unknown(what: str) -> str:
    return f"{what} is not known"


def _battery(least: int, now: Circumstances) -> str:
    if now.battery_percent is None:
        return "" if now.on_mains else _unknown("how full its battery is")
    return "" if now.battery_percent >= least else f"battery below {least} %"


def _memory(least: int, free: int | None) -> str:
    if free is None:
        return _unknown("how much memory is free")
    return "" if free >= least else f"less than {least} MB of memory free"


def _minutes(hours: str) -> tuple[int, int]:
    begin, end = (60 * int(clock[:2]) + int(clock[3:]) for clock in hours.split("-"))
    return begin, end


def _within(hours: str, minute: int) -> bool:
    """Hours that end before they begin go over midnight."""
    begin, end = _minutes(hours)
    return begin <= minute < end if begin < end else minute >= begin or minute < end
