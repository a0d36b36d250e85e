"""The index from which new devices install FedOps: its own wheel, and what it needs on a platform.

It is prepared for a platform when somebody first asks, and kept in the home folder:
``index/<platform>.json`` and ``index/wheels``.
"""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fedops.core import contracts as c
from fedops.core.errors import Conflict, FedOpsError, NotFound, Unavailable
from fedops.environments.installed_wheels import installed_versions
from fedops.environments.lock_file import LockedWheel
from fedops.environments.locking import lock
from fedops.environments.own_wheel import own_wheel
from fedops.environments.platform_names import uv_arguments
from fedops.environments.wheel_store import WheelStore
from fedops.processes.threads import in_thread
from fedops.server.delivery.packages.fetching import WheelFetcher
from fedops.storage.atomic_files import write_atomic
from fedops.storage.disk import disk_errors

logger = logging.getLogger("fedops.server.delivery")

#: Whoever reaches the server may ask: for no more platforms than this.
MAX_PLATFORMS = 8
#: So many may wait until a platform is prepared; others are asked to come again.
MAX_WAITING = 8
#: What went wrong is said again for so long before it is tried again. Seconds.
FAILED_SECONDS = 30.0


@dataclass(frozen=True)
class IndexedWheel:
    """``project``: the normalized name of the distribution; ``size`` in bytes."""

    project: str
    name: str
    sha256: str
    size: int


class _Preparation:
    """One that goes on, or failed not long ago."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.error: FedOpsError | None = None
        self.failed_at = 0.0


class WheelIndex:
    """Any thread may use it."""

    def __init__(
        self,
        home: Path,
        ending: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
        own: Callable[[Path], Path] = own_wheel,
    ) -> None:
        self._folder = home / "index"
        self._store = WheelStore(self._folder / "wheels")
        self._made = home / "packages"
        self._ending = ending
        self._monotonic = monotonic
        self._own = own
        self._guard = threading.Lock()
        self._one = threading.Lock()
        self._waiting = threading.Semaphore(MAX_WAITING)
        self._known: dict[str, list[IndexedWheel]] = {}
        self._going: dict[str, _Preparation] = {}

    def wheels(self, platform: str, wait: float) -> list[IndexedWheel]:
        """All wheels for a platform. They are prepared if need be, and waited for so many seconds.

        Raises:
            Invalid: there is no such platform, or FedOps is not to be had for it.
            Unavailable: they are not there yet, or an index cannot be reached.
            Conflict: too many other platforms were asked for.
        """
        uv_arguments(platform)
        with self._guard:
            found = self._ready(platform)
            if found:
                return found
            going = self._begin(platform)
        if not self._wait(going, wait):
            raise Unavailable(
                f"the packages for {platform} are being prepared: ask again in a moment"
            )
        if going.error is not None:
            raise going.error
        return self._known[platform]

    def prepared(self, platform: str) -> list[IndexedWheel]:
        """Those that are there already. Nothing is prepared because of this."""
        with self._guard:
            return self._ready(platform)

    def _ready(self, platform: str) -> list[IndexedWheel]:
        found = self._known.get(platform) or self._read(platform)
        if found:
            self._known[platform] = found
        return found

    def file(self, sha256: str, name: str) -> Path:
        """A wheel that the index names. ``NotFound``: it names no such."""
        found = self._store.find(sha256, name)
        if found is None:
            raise NotFound(f"there is no file {name} with this sha256 in the index")
        return found

    def _wait(self, going: _Preparation, seconds: float) -> bool:
        """Whether it is over. Who waits holds a thread of the server, so only a few may."""
        if going.over.is_set() or not self._waiting.acquire(blocking=False):
            return going.over.is_set()
        try:
            return going.over.wait(seconds)
        finally:
            self._waiting.release()

    # --- preparing -----------------------------------------------------------------------------

    def _begin(self, platform: str) -> _Preparation:
        self._forget_over()
        going = self._going.get(platform)
        if going is not None:
            return going
        files = {file.stem for file in self._folder.glob("*.json")} | {*map(_stem, self._going)}
        if len(files - {_stem(platform)}) >= MAX_PLATFORMS:
            raise Conflict(
                f"this server has FedOps for {MAX_PLATFORMS} platforms already: an operator may remove files "
                f"from {self._folder}"
            )
        going = self._going[platform] = _Preparation()
        in_thread(self._run, platform, going, name="index")
        return going

    def _forget_over(self) -> None:
        """What failed a while ago is tried again, and takes the place of no other platform meanwhile."""
        for platform, one in list(self._going.items()):
            lately = self._monotonic() - one.failed_at < FAILED_SECONDS
            if one.over.is_set() and (one.error is None or not lately):
                del self._going[platform]

    def _run(self, platform: str, going: _Preparation) -> None:
        error: FedOpsError | None = None
        try:
            with self._one:
                found = self._prepare(platform)
            with self._guard:
                self._known[platform] = found
        except FedOpsError as raised:
            error = raised
        except Exception as raised:  # nobody sees how a thread ends: those who wait are told
            logger.exception("the packages for %s cannot be prepared", platform)
            error = Unavailable(f"the packages for {platform} cannot be prepared: {raised}")
        going.error, going.failed_at = error, self._monotonic() if error else 0.0
        going.over.set()

    def _prepare(self, platform: str) -> list[IndexedWheel]:
        own = self._own(self._made)
        chosen = lock([], platform, own_wheel=own, prefer=installed_versions())
        with WheelFetcher(self._ending).session() as blocks, disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = [self._keep(wheel, blocks) for wheel in chosen.wheels]
            said = {"own": own.name, "wheels": [asdict(wheel) for wheel in found]}
            write_atomic(self._folder / f"{_stem(platform)}.json", json.dumps(said).encode())
        return found

    def _keep(
        self, wheel: LockedWheel, blocks: Callable[[LockedWheel], Iterator[bytes]]
    ) -> IndexedWheel:
        known = self._store.find(wheel.sha256, wheel.file)
        if known is None:
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".coming-") as file:
                for block in blocks(wheel):
                    file.write(block)
                file.flush()
                ref = c.WheelRef(name=wheel.file, sha256=wheel.sha256, size=file.tell())
                known = self._store.add(Path(file.name), ref)
        return IndexedWheel(wheel.name, wheel.file, wheel.sha256, known.stat().st_size)

    # --- what is there -------------------------------------------------------------------------

    def _read(self, platform: str) -> list[IndexedWheel]:
        """What was prepared before, if it is of this FedOps and all of it is there."""
        file = self._folder / f"{_stem(platform)}.json"
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            found = [IndexedWheel(**one) for one in said["wheels"]]
            current = said["own"] == self._own(self._made).name
        except (OSError, ValueError, KeyError, TypeError):
            return []
        there = all(self._store.find(one.sha256, one.name) for one in found)
        return found if current and there else []


def _stem(platform: str) -> str:
    """``3.11/x86_64-manylinux_2_36`` as a file's name."""
    return platform.replace("/", "-")
