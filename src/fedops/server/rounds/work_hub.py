"""Work on its way to devices: what is open, what each device holds, and who waits for news.

All of it lives in memory and is built anew from the rows at a start. It is level-triggered: what is open and
not held is given again, what is held and over is taken back, in every answer. Nothing can be missed for good.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence

from fedops.core.contracts import HeldAssignment, Progress, Stage
from fedops.core.states import AssignmentStatus
from fedops.server.assignments.assignments import SENDING, Seen
from fedops.server.events.notifications import OpenWork, WorkOver
from fedops.server.rounds.held_work import (
    DeviceWork,
    Listener,
    News,
    Piece,
    cancellation_of,
    offer_of,
    progress_of,
    seen_of,
)
from fedops.server.rounds.wake_ups import WakeUps

#: What was given is not given at once again to who polls on without taking it. Seconds.
REPEAT_SECONDS = 1.0
#: How many assignments that are over are remembered, to answer who comes too late.
_REMEMBERED = 20_000


class WorkHub:
    """Thread-safe; everything but ``wait`` may be called anywhere."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        shared: bool = False,
    ) -> None:
        #: Whether devices may have heard of their work from another Server Manager.
        self._shared = shared
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.RLock()
        self._wake_ups = WakeUps(monotonic)
        # Revisions go on rising over a restart, so that a device never meets an old one again.
        first = time.time_ns() // 1_000_000
        self._devices: dict[str, DeviceWork] = defaultdict(lambda: DeviceWork(first))
        self._places: dict[str, str] = {}
        self._over: OrderedDict[str, WorkOver] = OrderedDict()
        self._dirty: set[str] = set()
        self._released: set[str] = set()

    # --- what the database says ----------------------------------------------------------------

    def load(
        self,
        open_: Iterable[tuple[OpenWork, Seen]],
        ended: Iterable[tuple[OpenWork, WorkOver]],
    ) -> None:
        """What is open, and what was ended and may still be held. What is known stays as it is."""
        with self._lock:
            for work, seen in open_:
                if work.id in self._places:
                    continue
                at = seen.accepted_at, seen.sending_at
                piece = Piece(work, seen.status, *at, maybe_held=True)
                piece.progress = Progress(
                    stage=Stage(seen.stage), done=seen.done, total=seen.total, text=seen.text
                )
                self._put(piece)
            for work, over in ended:
                self._remember(over)
                if work.id in self._places:
                    continue
                piece = Piece(work, maybe_held=True, cancelled=cancellation_of(over))
                self._put(piece)

    def offered(self, works: Sequence[OpenWork]) -> None:
        """There is new work."""
        with self._lock:
            for work in works:
                if work.id not in self._places:
                    self._put(Piece(work, maybe_held=self._shared))
        self._wake_ups.wake([work.device_id for work in works])

    def _put(self, piece: Piece) -> None:
        self._devices[piece.work.device_id].pieces[piece.work.id] = piece
        self._places[piece.work.id] = piece.work.device_id

    def over(self, notice: WorkOver) -> None:
        """An assignment is over."""
        with self._lock:
            self._remember(notice)
            device = self._devices[notice.device_id]
            piece = device.pieces.get(notice.assignment_id)
            if piece is not None and notice.cancelled is not None and piece.maybe_held:
                piece.cancelled = cancellation_of(notice)
                piece.at_poll = device.polls
            elif piece is not None:
                if notice.cancelled is not None:
                    self._released.add(notice.assignment_id)
                self._drop(device, notice.assignment_id)
            if notice.cancelled is None:
                device.given.clear()  # it has room for what it could not take before
            news = notice.cancelled is not None or bool(device.pieces)
        if news:  # else the device knows: it was its own call
            self._wake_ups.wake([notice.device_id])

    def _remember(self, notice: WorkOver) -> None:
        self._over[notice.assignment_id] = notice
        while len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)

    def _drop(self, device: DeviceWork, id_: str) -> None:
        device.pieces.pop(id_, None)
        self._places.pop(id_, None)
        self._dirty.discard(id_)

    def released(self, ids: Iterable[str]) -> None:
        """Devices are not at these any more, as another Server Manager heard."""
        with self._lock:
            for id_ in ids:
                piece = self._piece(id_)
                if piece is not None and piece.cancelled:
                    self._drop(self._devices[piece.work.device_id], id_)

    def changed(self, device_id: str) -> None:
        """What the server wants of a device may have changed."""
        with self._lock:
            self._devices[device_id].revision += 1
        self._wake_ups.wake([device_id])

    def all_changed(self) -> None:
        """What the server wants of any device may have changed."""
        with self._lock:
            for device in self._devices.values():
                device.revision += 1
            known = list(self._devices)
        self._wake_ups.wake(known)

    @property
    def known(self) -> tuple[set[str], set[str]]:
        """The assignments that are open, and those that were ended and may be held, as far as known."""
        with self._lock:
            pieces = [p for d in self._devices.values() for p in d.pieces.values()]
        open_ = {piece.work.id for piece in pieces if piece.cancelled is None}
        return open_, {piece.work.id for piece in pieces} - open_

    def unknown(self, device_id: str, ids: Iterable[str]) -> list[str]:
        """Those of these assignments of a device of which nothing is known."""
        with self._lock:
            pieces = self._devices[device_id].pieces
            return [id_ for id_ in ids if id_ not in pieces and id_ not in self._over]

    def revision(self, device_id: str) -> int:
        """The current revision of what the server wants of a device."""
        with self._lock:
            return self._devices[device_id].revision

    # --- what devices say ----------------------------------------------------------------------

    def polled(self, device_id: str, held: Sequence[HeldAssignment]) -> int:
        """A device says what it holds. Returns the number of this poll."""
        with self._lock:
            device = self._devices[device_id]
            device.polls += 1
            for said in held:
                self._note(device, said.id, progress_of(said))
            self._let_go(device, {said.id for said in held})
            return device.polls

    def _let_go(self, device: DeviceWork, held: set[str]) -> None:
        """What was cancelled before this poll and is not in it is not being worked on."""
        for id_, piece in list(device.pieces.items()):
            if id_ not in held and piece.cancelled and piece.at_poll < device.polls:
                self._released.add(id_)
                self._drop(device, id_)

    def _note(self, device: DeviceWork, id_: str, progress: Progress) -> None:
        piece = device.pieces.get(id_)
        if piece is None or piece.cancelled:
            return
        self._accept(device, piece)
        if progress.stage is not Stage.WAITING and piece.status is AssignmentStatus.ACCEPTED:
            piece.status = AssignmentStatus.WORKING
            self._dirty.add(id_)
        if progress.stage is Stage.UPLOADING and piece.arrived is not None:
            progress = progress.model_copy(update={"done": piece.arrived})
        if progress.stage not in SENDING:
            piece.sending_at = None
        elif piece.sending_at is None:
            piece.sending_at = self._clock()
        if progress != piece.progress:
            piece.progress = progress
            self._dirty.add(id_)

    def _accept(self, device: DeviceWork, piece: Piece) -> None:
        piece.maybe_held = True
        if piece.status is AssignmentStatus.OFFERED:
            piece.status, piece.accepted_at = AssignmentStatus.ACCEPTED, self._clock()
            piece.at_poll = device.polls
            self._dirty.add(piece.work.id)

    def accept(self, device_id: str, id_: str) -> OpenWork | WorkOver | None:
        """A device fetches the instruction. What is known of the assignment, if it is this device's."""
        with self._lock:
            device = self._devices[device_id]
            piece = device.pieces.get(id_)
            if piece is None or piece.cancelled:
                return self.ended(device_id, id_)
            self._accept(device, piece)
            return piece.work

    def progress(self, device_id: str, id_: str, body: Progress) -> bool:
        """Where a device is with an assignment. Whether that is open."""
        with self._lock:
            device = self._devices[device_id]
            piece = device.pieces.get(id_)
            if piece is None or piece.cancelled:
                return False
            self._note(device, id_, body)
            return True

    def open_assignment(self, device_id: str, id_: str) -> OpenWork | None:
        """An open assignment of this device."""
        with self._lock:
            piece = self._devices[device_id].pieces.get(id_)
            return None if piece is None or piece.cancelled else piece.work

    def sending_since(self, device_id: str, id_: str) -> float | None:
        """Since when a device has had the result and sends it, or waits to (POSIX seconds)."""
        with self._lock:
            piece = self._devices[device_id].pieces.get(id_)
            return piece.sending_at if piece is not None else None

    def ended(self, device_id: str, id_: str) -> WorkOver | None:
        """How an assignment of this device ended, if that was not long ago."""
        with self._lock:
            over = self._over.get(id_)
            return over if over is not None and over.device_id == device_id else None

    def wants_to_send(self, device_id: str, id_: str, size: int) -> None:
        """The device asks to upload a result of ``size`` bytes, or does so."""
        with self._lock:
            device = self._devices[device_id]
            piece = device.pieces.get(id_)
            if piece is not None and piece.progress.stage not in SENDING:
                stage = Stage.WAITING_TO_UPLOAD
                self._note(device, id_, Progress(stage=stage, done=0, total=size))

    def arrived(self, device_id: str, id_: str, size: int, length: int) -> None:
        """So many bytes of a result are here. The device only knows how many it has sent."""
        with self._lock:
            device = self._devices[device_id]
            piece = device.pieces.get(id_)
            if piece is not None:
                piece.arrived = size
                self._note(device, id_, Progress(stage=Stage.UPLOADING, done=size, total=length))

    def open_of_device(self, device_id: str) -> list[OpenWork]:
        """The device's open assignments."""
        with self._lock:
            pieces = self._devices[device_id].pieces.values()
            return [piece.work for piece in pieces if piece.cancelled is None]

    # --- what devices are told -----------------------------------------------------------------

    async def wait(self, listener: Listener, after: int, wait: float) -> News:
        """What a device must hear, as soon as there is news or the time is up."""

        def look(time_is_over: bool) -> News | float:
            news = self._news(listener)
            pause = self._pause(listener, news)
            if news.revision != after or pause <= 0 or time_is_over:
                return self._give(listener, news)
            return pause

        return await self._wake_ups.poll(listener.device_id, self._lock, look, wait)

    def _news(self, listener: Listener) -> News:
        device, now, held = self._devices[listener.device_id], self._clock(), listener.held
        offers, cancel = [], []
        for id_, piece in device.pieces.items():
            if piece.cancelled:
                if id_ in held or piece.at_poll >= listener.poll:
                    cancel.append(piece.cancelled)
            elif id_ not in held and listener.takes_offers:
                offers.append(offer_of(piece.work, now))
        offers.sort(
            key=lambda offer: offer.run_id is None
        )  # a round waits for a device, nobody else
        unknown = [id_ for id_ in sorted(held) if id_ not in device.pieces]
        ended = {id_: over for id_ in unknown if (over := self._over.get(id_)) and over.cancelled}
        cancel += [cancellation_of(over) for over in ended.values()]
        forget = [id_ for id_ in unknown if id_ not in ended]
        return News(device.revision, offers, cancel, forget)

    def _pause(self, listener: Listener, news: News) -> float:
        """How long until some of the news must be given (again); infinite when there is none."""
        given, now = self._devices[listener.device_id].given, self._monotonic()
        never = float("-inf")
        life = listener.life
        due = (given.get((life, item), never) + REPEAT_SECONDS - now for item in news.items)
        return min(due, default=float("inf"))

    def _give(self, listener: Listener, news: News) -> News:
        now = self._monotonic()
        device = self._devices[listener.device_id]
        recent = {key: at for key, at in device.given.items() if now - at < REPEAT_SECONDS}
        device.given = recent | {(listener.life, item): now for item in news.items}
        return news

    def close(self) -> None:
        """Let every waiter go, now and from now on: the server is ending."""
        self._wake_ups.close()

    # --- what time and the database must hear ----------------------------------------------------

    def late(self, now: float) -> dict[str, str]:
        """The open assignments whose time is up, with the reason: who uploads has a little longer."""
        with self._lock:
            pieces = [p for d in self._devices.values() for p in d.pieces.values()]
        found = {}
        for piece in pieces:
            work, sends = piece.work, piece.progress.stage in SENDING
            if piece.cancelled is None and now >= work.deadline_at + sends * work.upload_grace:
                found[work.id] = "its deadline passed" + (" before its upload ended" * sends)
        return found

    @property
    def dirty(self) -> bool:
        """Whether there is anything that the database does not know yet."""
        return bool(self._dirty or self._released)

    def take_seen(self) -> list[Seen]:
        """How far devices are, where that is news for the database."""
        with self._lock:
            dirty, self._dirty = self._dirty, set()
            return [seen_of(piece) for id_ in sorted(dirty) if (piece := self._piece(id_))]

    def _piece(self, id_: str) -> Piece | None:
        place = self._places.get(id_)
        return None if place is None else self._devices[place].pieces.get(id_)

    def take_released(self) -> set[str]:
        """What the server had ended and devices are not at any more."""
        with self._lock:
            released, self._released = self._released, set()
            return released

    def give_back(self, released: set[str], seen: Sequence[Seen] = ()) -> None:
        """They could not be written."""
        with self._lock:
            self._released |= released
            self._dirty |= {one.id for one in seen if one.id in self._places}
