"""Collecting the updates of a round: who was asked, what came back, and what became of the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedops.core.contracts import (
    CancelRequest,
    Collected,
    Delivery,
    DevicePresence,
    OpenAssignment,
    ParticipationReport,
)
from fedops.core.contracts.training import TRAIN, TrainingOrder
from fedops.core.errors import Invalid
from fedops.core.states import ASSIGNMENT_OPEN, AssignmentStatus
from fedops.engine.global_model import StoredUpdate
from fedops.engine.instructions import Instructions, Invitation
from fedops.engine.link.blob_files import BlobFiles
from fedops.engine.link.deliveries import DeliveryStream
from fedops.engine.link.server_link import ServerLink
from fedops.engine.participations import LATE, Answers, participation_of
from fedops.engine.update_checks import ClientRefused, ExpectedUpdate, accept_update
from fedops.failpoints import reached
from fedops.storage.tensors import TensorFile

logger = logging.getLogger("fedops.engine")

#: A device that went offline is waited for so long once it is the only one missing. Seconds.
GONE_GRACE_SECONDS = 10.0
_LONGEST_WAIT = 8.0
#: Between two calls, for each device that is missing, and at most. Seconds.
_PAUSE_EACH, _LONGEST_PAUSE = 0.0005, 0.05
#: What a delivery has an update in.
_DELIVERED = (AssignmentStatus.UPLOADED, AssignmentStatus.CHECKED)


@dataclass(frozen=True)
class Place:
    """Where a collection works: its line, its stream, its files and its folder."""

    link: ServerLink
    stream: DeliveryStream
    files: BlobFiles
    folder: Path


@dataclass(frozen=True)
class EndCondition:
    """When a collection is over before everybody has answered."""

    deadline: float  #: on the monotonic clock; the server tells of those whose time is over
    enough: int | None = None  #: so many updates are all that is wanted
    #: Who is uploading at the deadline is waited for so long. Seconds.
    upload_grace: float = 0.0


@dataclass
class _Client:
    invitation: Invitation
    asked_at: float
    assignment: str  #: its id
    holds: bool  #: whether it is open
    gone: tuple[float, str] | None = None
    again: bool = False  #: whether its update was refused once
    notes: list[str] = field(default_factory=list)

    @property
    def retry(self) -> int:
        return self.invitation.order.retry


class Collection:
    """The assignments of one round and kind."""

    def __init__(
        self,
        place: Place,
        instructions: Instructions,
        round_: int | None,
        *,
        before: TensorFile | None = None,
        asks_again: bool = True,
        on_change: Callable[[Collection], None] = lambda _: None,
    ) -> None:
        """``asks_again``: whether who sent a wrong update may make another one."""
        self.answers = Answers()
        self.instructions = instructions
        self._place = place
        self._stream = place.stream
        self._round = round_
        self._before = before
        self._asks_again = asks_again
        self._on_change = on_change
        self._clients: dict[str, _Client] = {}
        self._to_ask_again: list[str] = []
        self._ended_why = ""

    def __contains__(self, device: object) -> bool:
        """Whether it was asked."""
        return device in self._clients

    # --- who -------------------------------------------------------------------------------------

    @property
    def devices(self) -> list[str]:
        """All who were asked."""
        return sorted(self._clients)

    @property
    def outstanding(self) -> list[str]:
        """Those who hold an open assignment: being away does not end it."""
        return [device for device, client in self._clients.items() if client.holds]

    @property
    def held(self) -> dict[str, Invitation]:
        """What the outstanding ones were asked."""
        return {device: self._clients[device].invitation for device in self.outstanding}

    @property
    def present(self) -> list[str]:
        """The outstanding ones that are not offline."""
        return [device for device in self.outstanding if self._clients[device].gone is None]

    @property
    def reasons(self) -> dict[str, str]:
        """Why each of them was chosen."""
        return {device: client.invitation.reason for device, client in self._clients.items()}

    @property
    def evaluators(self) -> int:
        """How many of them evaluate the model they receive."""
        return sum(client.invitation.order.evaluate for client in self._clients.values())

    def order_of(self, device: str) -> TrainingOrder:
        """What a client was asked."""
        return self._clients[device].invitation.order

    def next_retry(self, device: str) -> int:
        """Which try of this device the next one would be, from 0."""
        return self._clients[device].retry + 1 if device in self._clients else 0

    # --- asking ----------------------------------------------------------------------------------

    def note(self, invitations: Mapping[str, Invitation], made: Mapping[str, str]) -> None:
        """These were asked, anew or for the first time. ``made``: by device, their assignments."""
        now = time.monotonic()
        self._to_ask_again = [d for d in self._to_ask_again if d not in invitations]
        for device, invitation in invitations.items():
            self.answers.reconsider(device)
            known = self._clients.get(device)
            fresh = _Client(invitation, now, made.get(device, ""), device in made)
            if known:
                fresh = replace(fresh, again=known.again, notes=known.notes)
            self._clients[device] = fresh
            if device not in made:
                self.answers.ended[device] = "it cannot be asked any more"

    def remark(self, device: str, text: str) -> None:
        """Something to say of its part in the round."""
        self._clients[device].notes.append(text)

    def leave_out(self, device: str, invitation: Invitation, why: str) -> None:
        """It was chosen, and cannot be asked now: its owner's conditions are not met, or it is away."""
        self.note({device: invitation}, {})
        self.answers.ended[device] = why

    def adopt(self, device: str, invitation: Invitation, open_: OpenAssignment) -> None:
        """An earlier attempt asked this. What was delivered since comes with the stream."""
        self.note({device: invitation}, {device: open_.id})
        if open_.status in ASSIGNMENT_OPEN or open_.status in _DELIVERED:
            return
        self._clients[device].holds = False
        self.answers.end(device, open_.status, "")
        if open_.status is AssignmentStatus.REJECTED and open_.retry == 0:
            self._to_ask_again.append(device)

    def offer(self, invitations: Mapping[str, Invitation], seconds: float) -> None:
        """Ask these, beside what the round began with."""
        if not invitations:
            return
        batch = self.instructions.batch(invitations, seconds, self._round)
        made = self._place.link.ask(lambda api: api.offer(batch)).assignments
        self.note(invitations, made)

    # --- waiting ---------------------------------------------------------------------------------

    def collect(self, end: EndCondition) -> None:
        """Take updates until all who can have answered, or the end is reached. Then nobody is waited for."""
        while not self._is_over(end):
            if self._to_ask_again and not self._stream.has_verdicts:
                self._ask_again(end)
            else:
                self._take(self._stream.next(self._wait(end)))
        while self._stream.has_verdicts:
            self.handle(self._stream.next(0.0))

    def _take(self, collected: Collected) -> None:
        self.handle(collected)
        if collected.deliveries:  # let more come: of many, each call is to bring some
            time.sleep(min(_LONGEST_PAUSE, _PAUSE_EACH * len(self.outstanding)))

    def look(self, seconds: float) -> None:
        """Wait so long for whatever comes."""
        self.handle(self._stream.next(seconds))

    def close(self) -> None:
        """End what is still open: the round goes on without it."""
        if not self.outstanding:
            return
        ids = [self._clients[device].assignment for device in self.outstanding]
        why = self._ended_why or "the round went on without it"
        self._place.link.ask(lambda api: api.cancel(CancelRequest(ids=ids, reason=why)))

    def _wait(self, end: EndCondition) -> float:
        if self._to_ask_again:
            return 0.0
        now = time.monotonic()
        until = end.deadline + end.upload_grace
        if not self.present:
            gone = [client.gone[0] for client in self._clients.values() if client.gone]
            until = min(until, max(gone, default=until) + GONE_GRACE_SECONDS)
        return min(_LONGEST_WAIT, max(0.02, until - now))

    def _is_over(self, end: EndCondition) -> bool:
        if self._to_ask_again:
            return False
        if not self.outstanding:
            self._ended_why = ""
        elif end.enough is not None and len(self.answers.updates) >= end.enough:
            self._ended_why = f"the round was complete with {end.enough} replies"
        elif time.monotonic() >= end.deadline + end.upload_grace:
            self._ended_why = LATE
        elif not all(self._is_long_gone(device) for device in self.outstanding):
            return False
        return True

    def _is_long_gone(self, device: str) -> bool:
        gone = self._clients[device].gone
        return gone is not None and time.monotonic() > gone[0] + GONE_GRACE_SECONDS

    def _ask_again(self, end: EndCondition) -> None:
        """Those whose update was refused, if there is time to make another one."""
        now = time.monotonic()
        invitations = {}
        for device in self._to_ask_again:
            client = self._clients[device]
            if client.again or 2 * now - client.asked_at > end.deadline:
                continue
            client.again = True
            client.notes.append(f"asked again, because {self.answers.rejected[device]}")
            order = replace(client.invitation.order, retry=client.retry + 1)
            invitations[device] = replace(client.invitation, order=order)
        self._to_ask_again = []
        self.offer(invitations, max(end.deadline - now, 0.001))

    # --- what comes in ---------------------------------------------------------------------------

    def handle(self, collected: Collected) -> None:
        """Deal with whatever came in; what is not of this collection is left aside."""
        for presence in collected.presence:
            self._on_presence(presence)
        for delivery in collected.deliveries:
            self._on_delivery(delivery)
        if collected.deliveries:
            self._on_change(self)

    def _on_presence(self, presence: DevicePresence) -> None:
        client = self._clients.get(presence.device)
        if client is not None and client.holds:
            client.gone = (time.monotonic(), presence.gone) if presence.gone else None

    def _on_delivery(self, delivery: Delivery) -> None:
        client = self._clients.get(delivery.device)
        if client is None or delivery.id != client.assignment:
            return
        if client.holds:
            client.holds, client.gone = False, None
            if delivery.status in _DELIVERED:
                self._check(delivery, client)
            else:
                self.answers.end(delivery.device, delivery.status, delivery.reason)
        elif delivery.status is AssignmentStatus.UPLOADED:
            self._repeat_verdict(delivery)
        elif (
            delivery.status is AssignmentStatus.REJECTED and delivery.device in self.answers.replied
        ):
            self._drop(delivery)

    def _drop(self, delivery: Delivery) -> None:
        """The server takes back an update that was good: its device is out, and is not asked again."""
        self.answers.forget(delivery.device)
        self.answers.end(delivery.device, delivery.status, delivery.reason)

    def _repeat_verdict(self, delivery: Delivery) -> None:
        """The server has not noted it, or has forgotten it."""
        if delivery.device in self.answers.replied:
            self._stream.accept(delivery.id)
        elif delivery.device in self.answers.rejected:
            self._stream.reject(delivery.id, self.answers.rejected[delivery.device])

    def _check(self, delivery: Delivery, client: _Client) -> None:
        device = delivery.device
        try:
            self.answers.keep(self._take_in(delivery, client), client.invitation.kind)
            reached("engine.update.checked")
        except ClientRefused as why:
            self.answers.refused[device] = str(why)
        except Invalid as error:
            self._on_wrong(delivery, str(error))
            return
        if delivery.status is AssignmentStatus.UPLOADED:
            self._stream.accept(delivery.id)

    def _on_wrong(self, delivery: Delivery, why: str) -> None:
        logger.warning("%s", why)
        self.answers.rejected[delivery.device] = why
        if self._asks_again:
            self._to_ask_again.append(delivery.device)
        if delivery.status is AssignmentStatus.UPLOADED:  # else it was taken, and damaged since
            self._stream.reject(delivery.id, why)

    def _take_in(self, delivery: Delivery, client: _Client) -> StoredUpdate:
        order = client.invitation.order
        trains = client.invitation.kind == TRAIN
        path = self._place.folder / f"{delivery.device}.safetensors"
        try:
            path = self._place.files.update(delivery, path, self.instructions.max_bytes)
        except Invalid as error:
            raise Invalid(f"the reply of device '{delivery.device}' is refused: {error}") from None
        size = delivery.blob.size if delivery.blob else path.stat().st_size
        expected = ExpectedUpdate(
            delivery.device, order.run_id, order.round, order.contract, trains, self._before
        )
        return StoredUpdate(accept_update(path, expected, size), client.invitation.node_id, path)

    # --- afterwards ------------------------------------------------------------------------------

    def unanswered(self) -> dict[str, str]:
        """Device -> why its update is missing, rejected ones included."""
        lost = {device: self._why_lost(device) for device in self.outstanding}
        return {**lost, **self.answers.missing}

    def _why_lost(self, device: str) -> str:
        gone = self._clients[device].gone
        return gone[1] if gone else self._ended_why or "no reply"

    def reports(self) -> list[ParticipationReport]:
        """What became of everybody who was asked."""
        missing, replies = (
            self.unanswered(),
            {reply.device: reply for reply in self.answers.checked},
        )
        return [
            participation_of(
                device,
                replies.get(device),
                [missing.get(device, ""), *client.notes],
                was_wrong=device in self.answers.wrong,
            )
            for device, client in sorted(self._clients.items())
        ]
