"""One exchange with the clients of a round: who was asked, what came back, and what became of the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from flwr.app import ArrayRecord, Message

from fedops.core.contracts import ParticipationReport, Signal
from fedops.core.errors import Invalid
from fedops.core.states import ParticipationStatus
from fedops.failpoints import reached
from fedops.flower.global_model import Spooled
from fedops.flower.inbox import Fetched
from fedops.flower.lines import Lines
from fedops.flower.messages import TRAIN, Order, encode_order
from fedops.flower.replies import Breakdown, Checked, Expected, Refusal, take_in

logger = logging.getLogger("fedops.engine")

#: A device that went offline is waited for so long once it is the only one missing. Seconds.
GONE_GRACE_SECONDS = 10.0
_LONGEST_WAIT = 0.5
_UNKNOWN = "its node has not come to the SuperLink yet"


@dataclass(frozen=True)
class Asked:
    """What one client is asked."""

    node_id: int
    order: Order
    reason: str  #: why this client was chosen


@dataclass(frozen=True)
class Terms:
    """When an exchange is over before everybody has answered."""

    deadline: float  #: on the monotonic clock
    enough: int | None = None  #: so many replies are all that is wanted


@dataclass
class _Client:
    asked: Asked
    messages: set[str] = field(default_factory=set)
    fetching: set[str] = field(default_factory=set)
    gone: tuple[float, str] | None = None
    notes: list[str] = field(default_factory=list)


class Exchange:
    """Used by the engine's thread; replies are checked and spooled in the fetching threads."""

    def __init__(
        self,
        lines: Lines,
        spool: Path,
        arrays: Callable[[], ArrayRecord],
        *,
        kind: str = TRAIN,
        on_change: Callable[[Exchange], None] = lambda _: None,
    ) -> None:
        self.replies: dict[str, Spooled] = {}
        #: Device -> why its reply was not taken.
        self.rejected: dict[str, str] = {}
        #: Device -> why it cannot take part in the run at all.
        self.refused: dict[str, str] = {}
        #: Device -> why it failed.
        self.failed: dict[str, str] = {}
        self._lines = lines
        self._spool = spool
        self._arrays = arrays
        self._kind = kind
        self._on_change = on_change
        self._clients: dict[str, _Client] = {}
        self._device_of: dict[str, str] = {}
        self._ended_why = ""
        self._ttl = 0.0

    # --- who -------------------------------------------------------------------------------------

    @property
    def devices(self) -> list[str]:
        """All who were asked."""
        return sorted(self._clients)

    @property
    def outstanding(self) -> list[str]:
        """Those who were asked and have not answered in any way."""
        return [device for device in self._clients if not self._has_answered(device)]

    @property
    def present(self) -> list[str]:
        """The outstanding ones that are not offline."""
        return [device for device in self.outstanding if self._clients[device].gone is None]

    @property
    def reasons(self) -> dict[str, str]:
        """Why each of them was chosen."""
        return {device: client.asked.reason for device, client in self._clients.items()}

    @property
    def evaluators(self) -> int:
        """How many of them evaluate the model they receive."""
        return sum(client.asked.order.evaluate for client in self._clients.values())

    def _has_answered(self, device: str) -> bool:
        return any(device in x for x in (self.replies, self.rejected, self.refused, self.failed))

    # --- asking ----------------------------------------------------------------------------------

    def ask(self, asked: Mapping[str, Asked], ttl: float) -> None:
        """Send the model to more clients, or once more to those who failed."""
        for device, what in asked.items():
            self.failed.pop(device, None)
            self.rejected.pop(device, None)
            known = self._clients.get(device)
            self._clients[device] = (
                replace(known, asked=what, gone=None) if known else _Client(what)
            )
        self._ttl = ttl
        self._send(list(asked))

    def _send(self, devices: list[str]) -> None:
        if not devices:
            return
        arrays = self._arrays()
        ids = self._lines.push([self._message(device, arrays) for device in devices])
        for device, id_ in zip(devices, ids, strict=True):
            if id_ is None:
                # It says hello when it is there; should it stay away, the others go on without it.
                self._clients[device].gone = (time.monotonic(), _UNKNOWN)
            else:
                self._clients[device].messages.add(id_)
                self._device_of[id_] = device

    def _message(self, device: str, arrays: ArrayRecord) -> Message:
        asked = self._clients[device].asked
        return encode_order(asked.order, arrays, self._kind, asked.node_id, self._ttl)

    # --- waiting ---------------------------------------------------------------------------------

    def collect(self, terms: Terms) -> None:
        """Take replies until all who can have answered, or the terms are met."""
        while not self._is_over(terms):
            left = terms.deadline - time.monotonic()
            self.handle(self._lines.inbox.take(max(0.01, min(left, _LONGEST_WAIT))))

    def _is_over(self, terms: Terms) -> bool:
        fetching = any(client.fetching for client in self._clients.values())
        if not self.outstanding:
            self._ended_why = ""
        elif fetching:  # What was announced in time is still taken.
            return False
        elif terms.enough is not None and len(self.replies) >= terms.enough:
            self._ended_why = f"the round was complete with {terms.enough} replies"
        elif time.monotonic() >= terms.deadline:
            self._ended_why = "no reply before the deadline of the round"
        elif not all(self._is_long_gone(device) for device in self.outstanding):
            return False
        return not fetching

    def _is_long_gone(self, device: str) -> bool:
        gone = self._clients[device].gone
        return gone is not None and time.monotonic() > gone[0] + GONE_GRACE_SECONDS

    def handle(self, item: Signal | Fetched | None) -> None:
        """Deal with whatever came in; what belongs to others is put away."""
        for slow in self._lines.fetcher.give_up_slow():
            self._on_fetched(slow)
        if isinstance(item, Fetched):
            self._on_fetched(item)
        elif isinstance(item, Signal) and item.kind == "uploaded" and item.reply_to:
            self._on_uploaded(item.reply_to)
        elif isinstance(item, Signal) and item.device in self.outstanding:
            if item.kind == "hello":
                self._on_hello(item.device)
            elif item.kind == "gone":
                why = item.text or "it went offline"
                self._clients[item.device].gone = (time.monotonic(), why)

    def _on_hello(self, device: str) -> None:
        """The device has lost what it had in hand."""
        client = self._clients[device]
        client.gone = None
        if not client.fetching:
            client.notes.append("its training client started anew and was asked again")
            self._send([device])

    def _on_uploaded(self, reply_to: str) -> None:
        device = self._device_of.get(reply_to)
        client = self._clients.get(device or "")
        if client is None or device is None or self._has_answered(device):
            self._lines.fetcher.fetch(reply_to, None)
        elif reply_to not in client.fetching:
            client.gone = None
            client.fetching.add(reply_to)
            expected = self._expected(device, client.asked.order)
            node_id = client.asked.node_id
            self._lines.fetcher.fetch(reply_to, lambda m: self._take_in(m, expected, node_id))

    def _expected(self, device: str, order: Order) -> Expected:
        trains = self._kind == TRAIN
        return Expected(device, order.run_id, order.attempt, order.round, order.contract, trains)

    def _take_in(self, message: Message, expected: Expected, node_id: int) -> Spooled:
        path = self._spool / f"{expected.device}.safetensors"
        spooled = Spooled(take_in(message, expected, path), node_id, path)
        reached("engine.reply.spooled")
        return spooled

    def _on_fetched(self, fetched: Fetched) -> None:
        current = self._lines.fetcher.settle(fetched)
        device = self._device_of.get(fetched.reply_to)
        if device is None or not current:
            return
        self._clients[device].fetching.discard(fetched.reply_to)
        if not self._has_answered(device):
            self._sort(device, fetched)
            self._on_change(self)

    def _sort(self, device: str, fetched: Fetched) -> None:
        error = fetched.error
        if error is None:
            self.replies[device] = fetched.result
            return
        logger.warning("device '%s': %s", device, error)
        if isinstance(error, Refusal):
            self.refused[device] = str(error)
        elif isinstance(error, Invalid):
            self.rejected[device] = str(error)
        elif isinstance(error, Breakdown):
            self.failed[device] = str(error)
        else:
            self.failed[device] = f"its reply could not be taken in: {error}"

    def refuse(self, device: str, why: str) -> None:
        """Take back a reply: the device cannot take part in the run."""
        del self.replies[device]
        self.refused[device] = why

    # --- afterwards ------------------------------------------------------------------------------

    @property
    def checked(self) -> list[Checked]:
        """The replies without their tensors, in the order of their devices' names."""
        return [self.replies[device].checked for device in sorted(self.replies)]

    def unanswered(self) -> dict[str, str]:
        """Device -> why its reply is missing, rejected ones included."""
        lost = {device: self._why_lost(device) for device in self.outstanding}
        return {**lost, **self.failed, **self.rejected, **self.refused}

    def _why_lost(self, device: str) -> str:
        gone = self._clients[device].gone
        return gone[1] if gone else self._ended_why or "no reply"

    def reports(self) -> list[ParticipationReport]:
        """What became of everybody who was asked."""
        return [self._report(device) for device in self.devices]

    def _report(self, device: str) -> ParticipationReport:
        why = self.unanswered().get(device)
        reason = "; ".join([*([why] if why else []), *self._clients[device].notes])[:2_000] or None
        if device not in self.replies:
            was_wrong = device in self.rejected or device in self.refused
            status = ParticipationStatus.REJECTED if was_wrong else ParticipationStatus.DROPPED
            return ParticipationReport(device=device, status=status, reason=reason)
        checked = self.replies[device].checked
        return ParticipationReport(
            device=device,
            status=ParticipationStatus.REPLIED,
            reason=reason,
            examples=checked.examples,
            seconds=checked.seconds,
            bytes_up=checked.bytes_up,
            metrics=checked.metrics,
        )
