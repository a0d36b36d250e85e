"""Whether this device could do a round: tried at the start, and when what it depends on changes.

All is tried in the training client's main thread, while it has no work in hand: nothing is tried beside a
training. Between the trials it looks every second at what costs nothing: is the data folder there still, is
there room on the disk. While something is refused it is tried again, after longer and longer pauses.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fedops.client.local.report_pipe import ReportPipe
from fedops.core.backoff import pause_after
from fedops.core.contracts import ParameterContract
from fedops.core.states import ReadinessStatus
from fedops.trainer.readiness import lacking_disk, lacking_memory

if TYPE_CHECKING:
    from fedops.flower.client_app import Trial

#: How often it looks at what costs nothing, and how long it waits for the tasks' configs at first. Seconds.
LOOK_SECONDS = 1.0
CONFIG_SECONDS = 2.0
_SOON = 0.05
#: From trial to trial while something is refused. Seconds.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
#: Of more files than this it is not noticed that one has changed.
_MOST_FILES = 5_000
_SOURCES = frozenset({".py", ".toml"})
#: What of a config changes neither the model, nor the data, nor what is explained.
_ELSEWHERE = ("clients_per_round", "num_rounds", "server", "task_id", "wandb")

Config = Mapping[str, Any] | None
#: A file or folder: which one it is; None: it is not there.
Stamp = tuple[int, ...] | None


@runtime_checkable
class TriesOut(Protocol):
    """An app that can be tried: ``flower.client_app.DeviceApp``."""

    def try_out(self, config: Config) -> Trial: ...

    def places(self, config: Config) -> list[Path]: ...

    def forget_data(self) -> None: ...


@dataclass(frozen=True)
class _Seen:
    """What a trial depends on, as it was last looked at."""

    configs: str
    places: tuple[Stamp, ...]
    #: Whether the disk has room for the models of all tasks.
    room: bool


class ReadinessWatch:
    """``look`` and ``after`` are called by the thread that works, ``hear`` by any."""

    def __init__(
        self,
        app: TriesOut,
        home: Path,
        app_dir: Path,
        overrides: Sequence[str],
        report: ReportPipe,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._home, self._app_dir = app, home, app_dir
        self._overrides = list(overrides)
        self._report, self._clock = report, clock
        self._lock = threading.Lock()
        self._begun = clock()
        #: By task; None: the server has not said anything, and the app's own config counts.
        self._configs: dict[str | None, Config] | None = None
        self._seen: _Seen | None = None
        self._sources: tuple[Stamp, ...] = ()
        self._reasons: dict[str | None, str] = {}
        self._contracts: dict[str | None, ParameterContract | None] = {}
        self._failures = 0
        self._again_at = 0.0

    @property
    def pause(self) -> float:
        """How long to wait until the next look."""
        return LOOK_SECONDS if self._seen else _SOON

    def begin(self) -> None:
        """It is not known yet: say so before anybody takes an idle training client for a ready one."""
        self._report.readiness([{"task": None, "status": ReadinessStatus.CHECKING}], "")

    def hear(self, configs: Mapping[str, Config]) -> None:
        """What the device is to be ready for, by task."""
        with self._lock:
            self._configs = {task: config for task, config in configs.items()}

    def after(self, outcome: str) -> None:
        """Work ended. Where it could not be done, all is tried anew: the data, too, is loaded again."""
        if outcome in ("refused", "failed"):
            self._app.forget_data()
            self._seen = None

    def data_changed(self) -> None:
        """The data is not what it was when it was loaded: it is loaded anew, and all is tried anew."""
        self._app.forget_data()
        self._seen = None

    def look(self) -> None:
        """Try what has changed, or was refused a while ago, and say how it went."""
        configs = self._wanted()
        if configs is None:
            return
        before, now = self._seen, self._see(configs)
        if before is not None and now.places != before.places:
            self._app.forget_data()
        if now != before:
            self._try(configs)
        elif any(self._reasons.values()):
            self._try_refused(configs)

    def _see(self, configs: Mapping[str | None, Config]) -> _Seen:
        paths = [path for config in configs.values() for path in self._app.places(config)]
        known = [contract for task in configs if (contract := self._contracts.get(task))]
        room = not any(lacking_disk(contract, self._home) for contract in known)
        return _Seen(_named(configs), tuple(_stamp(path) for path in paths), room)

    def _wanted(self) -> dict[str | None, Config] | None:
        """The configs to be tried. None: the server may still name them, which takes a moment at first."""
        with self._lock:
            if self._configs:
                return dict(self._configs)
            waited = self._clock() - self._begun >= CONFIG_SECONDS
            return {None: None} if waited or self._configs is not None else None

    def _try_refused(self, configs: Mapping[str | None, Config]) -> None:
        if self._sources != (now := self._source_stamps()):
            self._sources = now
            self._report.renew("the app's files have changed while it was not ready")
        elif self._clock() >= self._again_at:
            self._try(configs)

    def _try(self, configs: Mapping[str | None, Config]) -> None:
        self._reasons = {task: self._tried(task, config) for task, config in configs.items()}
        self._seen = self._see(configs)  # a trial may have fetched the data
        refused = any(self._reasons.values())
        if refused:
            self._sources = self._source_stamps()
            pause = pause_after(self._failures, FIRST_PAUSE, LONGEST_PAUSE)
            self._again_at = self._clock() + pause
        self._failures = self._failures + 1 if refused else 0
        said = [{"task": task, **_said(why)} for task, why in self._reasons.items()]
        self._report.readiness(said, self._basis(), self._fingerprint())

    def _fingerprint(self) -> str:
        """Of the model's contract, where all tasks have the same."""
        found = {one.fingerprint for one in self._contracts.values() if one is not None}
        return found.pop() if len(found) == 1 else ""

    def _tried(self, task: str | None, config: Config) -> str:
        trial = self._app.try_out(config)
        self._contracts[task] = trial.contract
        if trial.reason or trial.contract is None:
            return trial.reason
        return lacking_disk(trial.contract, self._home) or lacking_memory(trial.contract)

    def _source_stamps(self) -> tuple[Stamp, ...]:
        return tuple(_changed(path) for path in _sources(self._app_dir))

    def _basis(self) -> str:
        """What somebody must change before work that failed may be thought to be done the next time."""
        places = self._seen.places if self._seen else ()
        found = json.dumps([places, self._source_stamps(), self._overrides])
        return hashlib.sha256(found.encode()).hexdigest()[:16]


def _said(why: str) -> dict[str, Any]:
    status = ReadinessStatus.REFUSED if why else ReadinessStatus.READY
    return {"status": status, "reason": why}


def _named(configs: Mapping[str | None, Config]) -> str:
    known = {
        str(task): {k: v for k, v in (config or {}).items() if k not in _ELSEWHERE}
        for task, config in configs.items()
    }
    return json.dumps(known, sort_keys=True)


def _stamp(path: Path) -> Stamp:
    """Which folder or file it is, whatever is written into it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _changed(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size)


def _sources(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__")))
        found += _of_app(Path(place), names)
        if len(found) > _MOST_FILES:
            return []
    return found


def _of_app(place: Path, names: Iterable[str]) -> list[Path]:
    return [place / name for name in sorted(names) if Path(name).suffix in _SOURCES]
