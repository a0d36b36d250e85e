"""``fedops run logs`` and ``fedops device logs``: what the programs said, once or as it comes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from fedops.cli.follow import outlasting
from fedops.cli.output import plain
from fedops.core import contracts as c
from fedops.core.printable import printable

#: Seconds between two looks at the server.
INTERVAL = 1.0
#: Devices deliver what they logged a moment later: the last look comes after that.
SETTLE_SECONDS = 4.0
_PAGE = 500

#: Entries beyond an id; and whether no more will come.
Fetch = Callable[[int, int], c.LogPage]
Over = Callable[[], bool]


def stream(
    fetch: Fetch, over: Over, follow: bool, settle: float = SETTLE_SECONDS
) -> Iterator[c.LogRead]:
    """All entries, oldest first; with ``follow`` until ``over`` and a last look have found no more."""
    after, told = 0, 0
    while True:
        # Asked first: what comes before it is over is still fetched.
        last_look = not follow or outlasting(over)
        if last_look and follow:
            time.sleep(settle)
        while entries := (page := _fetched(fetch, after, follow)).entries:
            told = _tell_dropped(page.dropped, told)
            yield from entries
            after = entries[-1].id
        if last_look:
            return
        time.sleep(INTERVAL)


def _fetched(fetch: Fetch, after: int, follow: bool) -> c.LogPage:
    return outlasting(lambda: fetch(after, _PAGE)) if follow else fetch(after, _PAGE)


def _tell_dropped(dropped: int, told: int) -> int:
    if dropped > told:
        sys.stderr.write(
            f"fedops: {dropped} older entries are gone: the server keeps only so much of a run "
            "(FEDOPS_SERVER_LOG_BYTES)\n"
        )
    return max(dropped, told)


def write(entries: Iterator[c.LogRead], as_json: bool, follow: bool) -> None:
    """Print entries: lines for people; for programs one document, or with ``follow`` one a line."""
    if as_json and not follow:
        sys.stdout.write(json.dumps(plain(list(entries)), indent=2) + "\n")
        return
    for entry in entries:
        if as_json:
            sys.stdout.write(json.dumps(plain(entry)) + "\n")
        else:
            for line in lines_of(entry):
                sys.stdout.write(line + "\n")
        sys.stdout.flush()


def lines_of(entry: c.LogRead) -> list[str]:
    """``12:00:01 pi-1 training_client r2 | loss 0.3``, a line for each of the entry's."""
    when = datetime.fromtimestamp(entry.at, UTC).astimezone().strftime("%H:%M:%S")
    who = f"{entry.device} {entry.source}" if entry.device else entry.source
    where = f" r{entry.round}" if entry.round is not None else ""
    head = printable(f"{when} {who}{where}")
    return [f"{head} | {line}" for line in printable(entry.text).splitlines()]
