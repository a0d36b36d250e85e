"""Packages are prepared: chosen by uv, fetched, stored as blobs. No transaction is open meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedops.core import contracts as c
from fedops.core.backoff import pause_after
from fedops.core.errors import Conflict, FedOpsError, Invalid, NotFound, Unavailable
from fedops.environments.installed_wheels import installed_versions
from fedops.environments.lock_file import Lock, LockedWheel
from fedops.environments.locking import lock
from fedops.environments.own_wheel import own_wheel
from fedops.failpoints import reached
from fedops.server.database import blob_rows
from fedops.server.database.database import Database
from fedops.server.delivery.packages import commit_packages
from fedops.server.delivery.packages.commit_packages import Key, ToPrepare
from fedops.server.delivery.packages.fetching import WheelFetcher, keep_wheel
from fedops.storage.blobs import BlobStore

#: After an index could not be reached. Seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
#: An app with more is none that devices can take. Bytes.
MAX_BYTES = 20 << 30


@dataclass
class _Delay:
    failures: int
    #: When it is tried again, by ``monotonic``.
    until: float


class PackagePreparation:
    """Prepares what devices asked for, one after the other. Any thread may use it."""

    def __init__(
        self,
        db: Database,
        store: BlobStore,
        home: Path,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        own: Callable[[Path], Path] = own_wheel,
    ) -> None:
        self._db = db
        self._store = store
        self._made = home / "packages"
        self._clock = clock
        self._monotonic = monotonic
        self._own = own
        self._delays: dict[Key, _Delay] = {}
        self._one = threading.Lock()
        self._looked = False
        #: Called when there is something new to prepare. Set by who runs ``step``.
        self.asked: Callable[[], None] = lambda: None
        #: Whether this program ends.
        self.ending: Callable[[], bool] = lambda: False

    def step(self) -> None:
        """Prepare all that is asked for and not waited with."""
        with self._one:
            self._forget_others()
        while not self.ending():
            with self._db.read() as session:
                waiting = commit_packages.next_to_prepare(session)
            wanted = next((one for one in waiting if not self._is_delayed(one.key)), None)
            if wanted is None:
                return
            with self._one:
                self._prepare(wanted)

    def ensure(self, task: str, commit: str, platform: str) -> c.Packages:
        """Have the packages of a sound commit now, in this thread. For the server's own platform.

        Raises:
            NotFound: there is no such commit, or it is not sound.
            Unavailable: they cannot be had at the moment.
        """
        with self._one:
            self._forget_others()
            found = self._ask(task, commit, platform)
            if found.status == "preparing":
                with self._db.read() as session:
                    waiting = commit_packages.next_to_prepare(session)
                key = Key(task, commit, platform)
                self._prepare(next(one for one in waiting if one.key == key))
                found = self._ask(task, commit, platform)
        if found.status == "preparing":
            raise Unavailable(found.reason)
        return found

    def _forget_others(self) -> None:
        """Once in the life of this process: the FedOps that it runs stays the same."""
        if self._looked:
            return
        with self._db.read() as session:
            if not commit_packages.is_any(session):
                return
        own = self._own(self._made).name
        with self._db.write() as session:
            commit_packages.forget_others(session, own)
        self._looked = True

    def _ask(self, task: str, commit: str, platform: str) -> c.Packages:
        with self._db.write() as session:
            return commit_packages.packages_of(session, task, commit, platform, self._clock())

    def _is_delayed(self, key: Key) -> bool:
        return key in self._delays and self._monotonic() < self._delays[key].until

    def _prepare(self, wanted: ToPrepare) -> None:
        key = wanted.key
        try:
            chosen = self._lock(wanted)
            reached("server.packages.locked")
            wheels = self._fetch(chosen)
        except (Invalid, NotFound, Conflict) as error:
            with self._db.write() as session:
                commit_packages.record_refused(session, key, error.message, self._clock())
        except FedOpsError as error:
            self._delay(key, error.message)
        except Exception:  # raised again: but for the pause, the next step would meet it at once
            self._delay(key, "the server met an error of its own; its log has the details")
            raise
        else:
            with self._db.write() as session:
                commit_packages.record_prepared(session, key, wheels, chosen.named, self._clock())
            self._delays.pop(key, None)
            reached("server.packages.ready")

    def _lock(self, wanted: ToPrepare) -> Lock:
        return lock(
            wanted.requirements,
            wanted.key.platform,
            own_wheel=self._own(self._made),
            prefer=installed_versions(),
        )

    def _delay(self, key: Key, reason: str) -> None:
        before = self._delays.get(key)
        failures = before.failures + 1 if before else 1
        pause = pause_after(failures, _FIRST_PAUSE, _LONGEST_PAUSE)
        self._delays[key] = _Delay(failures, self._monotonic() + pause)
        with self._db.write() as session:
            said = f"{reason}; it is tried again in {pause:.0f} s"
            commit_packages.record_delayed(session, key, said)

    def _fetch(self, chosen: Lock) -> list[c.WheelRef]:
        found, left = [], MAX_BYTES
        with WheelFetcher(self.ending).session() as blocks:
            for wheel in chosen.wheels:
                self._renew(wheel)
                size = keep_wheel(self._store, wheel, blocks)
                left -= size
                if left < 0:
                    raise Invalid(
                        f"the app's packages have more than {MAX_BYTES >> 30} GiB together"
                    )
                found.append(c.WheelRef(name=wheel.file, sha256=wheel.sha256, size=size))
                with self._db.write(durable=False) as session:
                    ref = c.BlobRef(sha256=wheel.sha256, size=size)
                    blob_rows.record_blob(session, ref, self._clock())
        return found

    def _renew(self, wheel: LockedWheel) -> None:
        """One that is there and about to be removed stays."""
        if self._store.exists(wheel.sha256):
            with self._db.write(durable=False) as session:
                ref = c.BlobRef(sha256=wheel.sha256, size=self._store.size(wheel.sha256))
                blob_rows.record_blob(session, ref, self._clock())
