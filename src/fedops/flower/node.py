"""A warm Flower node: one message at a time, handled in this process, whose model and data stay loaded.

It is told by a bell when there is a message, and by ``assign`` which node id it has and for which runs it
may work. It outlives restarts of the server and of the SuperLink.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.common.constant import ErrorCode

from fedops.api_client import NodeClient
from fedops.core.contracts import NodeBell, NodeHello, NodeUploaded
from fedops.core.errors import FedOpsError, Unavailable
from fedops.failpoints import reached
from fedops.flower.device import Device
from fedops.flower.fleet import (
    Away,
    Fleet,
    FleetError,
    NotAllowed,
    Pulled,
    Reply,
    RunOver,
    prepare_reply,
)
from fedops.scalize.base import Cancelled

logger = logging.getLogger("fedops.node")

Handler = Callable[[Message, Context], Message]
#: What the device's owner makes of the config of a message.
Adjust = Callable[[dict[str, Any]], dict[str, Any]]
T = TypeVar("T")

#: Look for messages at least this often, should a ring have been missed. Seconds.
POLL_SECONDS = 15.0
#: How long Flower counts the node as online after each of its heartbeats. Seconds.
ONLINE_SECONDS = 30.0
#: How long a message may wait for word that its run is one we may work for. Seconds.
ADMISSION_SECONDS = 10.0
#: Clocks and the way there are not exact: what was sent this shortly after our reply may have crossed it.
_CROSSING_SECONDS = 1.0
_CONTEXTS_KEPT = 8
_STOPPED = "its run was stopped"


@dataclass(frozen=True)
class Asked:
    """Which piece of work a message asks for."""

    run_id: int | None
    attempt: int
    round: int
    type: str
    retry: int = 0

    @classmethod
    def of(cls, message: Message) -> Asked:
        config = _config(message)
        run_id = config.get("run-id")
        return cls(
            int(str(run_id)) if run_id is not None else None,
            int(str(config.get("attempt", 0))),
            int(str(config.get("server-round", 0))),
            message.metadata.message_type,
            int(str(config.get("retry", 0))),
        )

    @property
    def labels(self) -> dict[str, Any]:
        return {} if self.run_id is None else {"run_id": self.run_id, "round": self.round}


class WarmNode:
    """Serves one node's messages until it is stopped."""

    def __init__(
        self,
        fleet: Fleet,
        api: NodeClient,
        handler: Handler,
        device: Device,
        *,
        server_time: Callable[[], float] = time.time,
        adjust: Adjust | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._fleet = fleet
        self._api = api
        self._handler = handler
        self._device = device
        self._server_time = server_time
        self._adjust = adjust
        self._poll_seconds = poll_seconds
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._node_id: int | None = None
        self._online: int | None = None
        self._runs: frozenset[int] | None = None
        self._rung = True
        self._lost = True  # what an earlier process of this device had in hand
        self._in_hand: Asked | None = None
        #: The node id that the message in hand was sent to, and why it was abandoned.
        self._in_hand_of = 0
        self._why_over = ""
        self._answered: tuple[Asked, float] | None = None
        self._contexts: dict[int, Context] = {}
        self._away = ""

    # --- what the Client Manager tells -----------------------------------------------------------

    def assign(self, node_id: str | None, runs: Iterable[int] | None) -> None:
        """The node's id, and the runs it may work for (None: any). Work for another is abandoned."""
        with self._changed:
            new = int(node_id) if node_id else None
            if new != self._node_id:
                self._node_id = new
                self._rung = True
                if new is not None:
                    self._abandon_of_another_life(new)
                    threading.Thread(target=self._listen, args=(new,), daemon=True).start()
                    threading.Thread(target=self._beat, args=(new,), daemon=True).start()
            before, self._runs = self._runs, None if runs is None else frozenset(runs)
            working = self._in_hand.run_id if self._in_hand else None
            # Work that waits for leave still (it was not allowed before either) goes on waiting.
            if (
                working is not None
                and _allows(before, working)
                and not _allows(self._runs, working)
            ):
                self._cancel(_STOPPED)
            self._changed.notify_all()

    def _abandon_of_another_life(self, node_id: int) -> None:
        """A reply to a message for an earlier id of this node reaches nobody: that SuperLink is gone."""
        if self._in_hand is not None and self._in_hand_of != node_id:
            self._cancel("the SuperLink that sent it was restarted")

    def _cancel(self, why: str) -> None:
        self._why_over = why
        self._device.cancelled.set()

    def abandon(self, run_id: int | None = None) -> None:
        """Drop the message in hand, if it is of this run (None: of any)."""
        with self._changed:
            if self._in_hand is not None and run_id in (None, self._in_hand.run_id):
                self._cancel(_STOPPED)

    def stop(self) -> None:
        """Make ``run`` return soon."""
        self._stopped.set()
        with self._changed:
            self._device.cancelled.set()
            self._changed.notify_all()

    # --- the loop ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve messages until ``stop``."""
        pauses = _backoff()
        while not self._stopped.is_set():
            try:
                self._serve_ring()
                self._say_reached()
                pauses = _backoff()
            except (FleetError, FedOpsError) as error:
                self._say_away(error)
                self._rung = True
                self._pause(next(pauses))

    def _pause(self, seconds: float) -> None:
        """Wait before trying again, but not once there is another node id to try with."""
        with self._changed:
            tried = self._node_id
            self._changed.wait_for(
                lambda: self._node_id != tried or self._stopped.is_set(), timeout=seconds
            )

    def _serve_ring(self) -> None:
        """Wait for the bell, then work until there is nothing left."""
        with self._changed:
            if not self._rung:
                self._changed.wait_for(self._has_news, timeout=self._poll_seconds)
            self._rung = False
            node_id = self._node_id
            if node_id is None:
                self._changed.wait_for(self._has_news, timeout=self._poll_seconds)
                return
        if self._online != node_id:  # before anything is expected of the node
            self._fleet.heartbeat(node_id, ONLINE_SECONDS)
            self._online = node_id
            self._lost = True  # what was sent to this id before now, the SuperLink did not take
        if self._lost:
            self._api.hello(NodeHello(node_id=str(node_id)))
            self._lost = False
        while not self._stopped.is_set() and (pulled := self._pull(node_id)) is not None:
            self._serve(node_id, pulled)

    def _has_news(self) -> bool:
        return self._rung or self._stopped.is_set()

    def _pull(self, node_id: int) -> Pulled | None:
        try:
            return self._fleet.pull(node_id)
        except Away:
            self._lost = True  # the answer may have carried a message
            raise

    def _listen(self, node_id: int) -> None:
        """Wake the loop whenever the bell of this node id rings."""
        heard = NodeBell(epoch="", count=0)
        pauses = _backoff(cap=2.0)
        while self._is_current(node_id):
            try:
                bell = self._api.bell(heard.epoch, heard.count)
                pauses = _backoff(cap=2.0)
            except FedOpsError:
                self._stopped.wait(next(pauses))
                continue
            if bell != heard:
                heard = bell
                with self._changed:
                    self._rung = True
                    self._changed.notify_all()

    def _beat(self, node_id: int) -> None:
        """Keep the node online in Flower's eyes."""
        pause = ONLINE_SECONDS / 3
        while not self._stopped.wait(pause) and self._is_current(node_id):
            try:
                self._fleet.heartbeat(node_id, ONLINE_SECONDS)
                pause = ONLINE_SECONDS / 3
            except FleetError:
                pause = 2.0

    def _is_current(self, node_id: int) -> bool:
        return self._node_id == node_id and not self._stopped.is_set()

    # --- one message ---------------------------------------------------------------------------------

    def _serve(self, node_id: int, pulled: Pulled) -> None:
        """Handle one message from its objects to its delivered reply."""
        self._take(node_id, Asked(None, 0, 0, pulled.message.metadata.message_type))
        try:
            self._handle(node_id, pulled)
        except RunOver as over:
            self._drop(str(over), "run_over")
        except (FleetError, FedOpsError) as error:
            self._lost = True  # so that the engine sends it again, should it still want it
            self._drop(str(error), "reply_dropped")
        except Exception as error:
            logger.exception("a message could not be handled")
            self._lost = True
            self._drop(f"{type(error).__name__}: {error}", "reply_dropped")
        with self._changed:
            self._in_hand = None
        self._device.report.idle()  # not when the process is being ended: that is no idleness
        self._device.explanations.idle()

    def _handle(self, node_id: int, pulled: Pulled) -> None:
        cancelled = self._device.cancelled
        message = self._insist(lambda: self._fleet.fetch(node_id, pulled, cancelled))
        asked = Asked.of(message)
        reached("client.received")
        with self._changed:
            self._in_hand = asked
        if not self._is_repetition(asked, message) and self._is_admitted(asked):
            self._work(node_id, message, asked)

    def _take(self, node_id: int, asked: Asked) -> None:
        with self._changed:
            self._device.cancelled = threading.Event()
            self._in_hand, self._in_hand_of, self._why_over = asked, node_id, _STOPPED
            if self._node_id is not None:  # it may have changed since we asked for messages
                self._abandon_of_another_life(self._node_id)
            if self._stopped.is_set():
                self._cancel(_STOPPED)

    def _is_repetition(self, asked: Asked, message: Message) -> bool:
        """Whether the same was asked twice before our answer could be known there."""
        if self._answered is None or asked.run_id is None:
            return False
        answered, at = self._answered
        return answered == asked and message.metadata.created_at < at + _CROSSING_SECONDS

    def _is_admitted(self, asked: Asked) -> bool:
        """Whether we may work for the run; the word on it may come a moment after its message."""

        run_id = asked.run_id
        if run_id is None:
            return True
        with self._changed:
            if self._changed.wait_for(
                lambda: _allows(self._runs, run_id) or self._stopped.is_set(), ADMISSION_SECONDS
            ):
                return not self._stopped.is_set()
        self._drop(f"this device may not train for run {asked.run_id} now", "run_over")
        return False

    def _work(self, node_id: int, message: Message, asked: Asked) -> None:
        begin = time.monotonic()
        answer = self._answer(message, self._context(message, node_id))
        seconds = time.monotonic() - begin
        if self._device.cancelled.is_set():
            raise RunOver(self._why_over)
        self._deliver(node_id, prepare_reply(answer, message, self._server_time()), seconds)
        self._answered = (asked, self._server_time())

    def _answer(self, message: Message, context: Context) -> Message:
        """The handler's reply; what it raises becomes a reply too, so that the server learns why."""
        try:
            self._apply_owner_limits(message)
            return self._handler(message, context)
        except Cancelled:
            raise RunOver(self._why_over) from None
        except (Exception, SystemExit) as error:
            if self._device.cancelled.is_set():
                raise RunOver(self._why_over) from None
            if not isinstance(error, FedOpsError):
                traceback.print_exc()
            reason = str(error) if isinstance(error, FedOpsError) else _in_one_line(error)
            asked = Asked.of(message)
            self._device.report.event("training_failed", reason, **asked.labels)
            code = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
            return Message(Error(code=code, reason=reason), reply_to=message)

    def _apply_owner_limits(self, message: Message) -> None:
        config = _config(message)
        if self._adjust is not None and "config-json" in config:
            wanted = json.loads(str(config["config-json"]))
            config["config-json"] = json.dumps(self._adjust(wanted))

    def _context(self, message: Message, node_id: int) -> Context:
        run_id = message.metadata.run_id
        if run_id not in self._contexts:
            config: dict[str, Any] = {"device": self._device.name}
            self._contexts[run_id] = Context(run_id, node_id, config, RecordDict(), {})
            for old in list(self._contexts)[:-_CONTEXTS_KEPT]:
                del self._contexts[old]
        return self._contexts[run_id]

    # --- the reply -----------------------------------------------------------------------------------

    def _deliver(self, node_id: int, reply: Reply, seconds: float) -> None:
        """Upload the reply when it is our turn, and say that it is there."""
        metadata, cancelled = reply.message.metadata, self._device.cancelled
        run_id = str(metadata.run_id)
        while not self._insist(lambda: self._api.upload_slot(run_id)).granted:
            self._check_cancelled()
        reached("client.reply.before")
        self._insist(lambda: self._fleet.push(node_id, reply, seconds, cancelled))
        reached("client.reply.pushed")
        uploaded = NodeUploaded(
            node_id=str(node_id),
            flower_run_id=run_id,
            message_id=metadata.message_id,
            reply_to=metadata.reply_to_message_id,
        )
        self._insist(lambda: self._api.uploaded(uploaded))
        reached("client.reply.announced")

    def _insist(self, call: Callable[[], T]) -> T:
        """Try until it works, the message is abandoned, or the failure is of the lasting kind."""
        for pause in _backoff():
            self._check_cancelled()
            try:
                result = call()
                self._say_reached()
                return result
            except (Away, NotAllowed, Unavailable) as error:
                self._say_away(error)
                self._device.cancelled.wait(pause)
        raise AssertionError("the pauses never end")

    def _check_cancelled(self) -> None:
        if self._device.cancelled.is_set():
            raise RunOver(self._why_over)

    def _drop(self, why: str, name: str) -> None:
        asked = self._in_hand
        if asked is not None and not self._stopped.is_set():
            text = f"dropped a message of round {asked.round}: {why}"
            self._device.report.event(name, text, **asked.labels)

    # --- saying so, once per change ------------------------------------------------------------------

    def _say_away(self, error: Exception) -> None:
        kind = type(error).__name__
        if kind != self._away:
            self._away = kind
            logger.warning("cannot fetch or deliver messages, trying again: %s", error)

    def _say_reached(self) -> None:
        if self._away:
            self._away = ""
            logger.info("messages come and go again")


def _allows(runs: frozenset[int] | None, run_id: int) -> bool:
    return runs is None or run_id in runs


def _config(message: Message) -> ConfigRecord:
    if not message.has_content():
        return ConfigRecord()
    return message.content.config_records.get("config", ConfigRecord())


def _in_one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:1_000] if text else type(error).__name__


def _backoff(first: float = 0.2, cap: float = 5.0) -> Iterator[float]:
    pause = first
    while True:
        yield pause
        pause = min(pause * 2, cap)
