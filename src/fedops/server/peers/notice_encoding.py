"""Notices as short texts for PostgreSQL's NOTIFY: ids, not contents; who hears them reads the rows.

A text is a JSON list: who sends, what kind, and the items of that kind. Whatever fits into none says "read
everything anew".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fedops.server.events.notifications import (
    AttemptHello,
    AttemptOver,
    AttemptSignal,
    DeviceBack,
    DeviceChanged,
    DeviceGone,
    DeviceLife,
    Notice,
    TokensChanged,
    WorkForEngine,
    WorkForRollouts,
    WorkForScheduler,
    WorkOffered,
    WorkOver,
    WorkReleased,
)

CHANNEL = "fedops"
#: PostgreSQL takes less than 8,000.
MOST_BYTES = 7_900
#: Who would need more texts for one transaction says "read everything anew" instead.
MOST_TEXTS = 200

CHANGED, GONE, BACK, LIFE = "changed", "gone", "back", "life"
OFFERED, OVER, OVER_SAVED, RELEASED = "offered", "over", "over_saved", "released"
ENGINE, NUDGE, ATTEMPT_OVER = "engine", "nudge", "attempt_over"
TOKENS, SCHEDULER, ALL, LEAD = "tokens", "scheduler", "all", "lead"
ROLLOUTS = "rollouts"
#: An upload slot is free again. Like ``LEAD``, it stands for no notice.
SLOTS = "slots"
_Item = list[Any] | str | int


@dataclass(frozen=True)
class Heard:
    """What another Server Manager said."""

    kind: str
    items: list[Any]


def pack(origin: str, notices: Sequence[Notice]) -> list[str]:
    """What the others must hear of a transaction. What concerns this process alone is left out."""
    by_kind: dict[str, list[_Item]] = {}
    for notice in notices:
        for kind, item in _of(notice):
            by_kind.setdefault(kind, []).append(item)
    texts = [text for kind, items in by_kind.items() for text in _texts(origin, kind, items)]
    fits = len(texts) <= MOST_TEXTS and all(len(text) <= MOST_BYTES for text in texts)
    return texts if fits else [say(origin, ALL)]


def say(origin: str, kind: str) -> str:
    """A text without items."""
    return _dump([origin, kind, []])


def unpack(origin: str, text: str) -> Heard | None:
    """What a text says; None when we said it ourselves. What is no text of ours means everything."""
    try:
        sender, kind, items = json.loads(text)
    except (ValueError, TypeError):
        return Heard(ALL, [])
    return None if sender == origin else Heard(str(kind), list(items))


def _texts(origin: str, kind: str, items: list[_Item]) -> Iterator[str]:
    """As few as possible. Items are ASCII as JSON writes them, so that characters are bytes."""
    room = MOST_BYTES - len(say(origin, kind))
    part: list[_Item] = []
    size = 0
    for item in items:
        length = len(_dump(item)) + 1
        if part and size + length > room:
            yield _dump([origin, kind, part])
            part, size = [], 0
        part.append(item)
        size += length
    yield _dump([origin, kind, part])


def _of(notice: Notice) -> Iterator[tuple[str, _Item]]:
    match notice:
        case WorkOffered(works):
            yield from ((OFFERED, work.id) for work in works)
        case WorkOver(id_, _, _, checkpoint):
            yield OVER_SAVED if checkpoint else OVER, id_
        case WorkReleased(ids):
            yield from ((RELEASED, id_) for id_ in ids)
        case WorkForEngine(run_id, delivery):
            yield ENGINE, [run_id, delivery.id]
        case AttemptSignal(attempt_id):
            yield NUDGE, attempt_id
        case AttemptOver(attempt_id, run_id):
            yield ATTEMPT_OVER, [attempt_id, run_id]
        case TokensChanged() | WorkForScheduler() | WorkForRollouts():
            yield _PLAIN[type(notice)], 0
        case AttemptHello():
            return  # an engine calls the Server Manager that started it
        case _:
            yield _of_device(notice)


_PLAIN: dict[type, str] = {
    TokensChanged: TOKENS,
    WorkForScheduler: SCHEDULER,
    WorkForRollouts: ROLLOUTS,
}


def _of_device(notice: DeviceChanged | DeviceGone | DeviceBack | DeviceLife) -> tuple[str, _Item]:
    match notice:
        case DeviceChanged(device_id):
            return CHANGED, device_id
        case DeviceGone(device_id, name, attempts, why):
            return GONE, [device_id, name, list(attempts), why]
        case DeviceBack(device_id, name, attempts):
            return BACK, [device_id, name, list(attempts)]
        case DeviceLife(device_id, life, at):
            return LIFE, [device_id, life, at]


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
