"""Flower's ``Grid`` whose nodes are functions of this process, asked one after another.

One at a time, because training draws from the process's random generators: so the same seed gives the same
model, however busy the machine is.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

from flwr.app import Error, Message

from fedops.core.errors import FedOpsError, Invalid
from fedops.flower.codec.compat import (
    APP_RAISED,
)
from fedops.flower.grid.run_grid import RunGrid
from fedops.waiting import Timeout

#: Answers a message. What it raises becomes an error reply.
Node = Callable[[Message], Message]
_LOOK_SECONDS = 0.02
#: A ServerApp that has looked so often for nodes, and for so long, without asking one, waits for more.
_LOOKS, _QUIET_SECONDS = 5, 5.0
#: Of an error, for the reply. Characters.
_REASON = 1_000


class TooFewNodes(Invalid):
    """The ServerApp waits for more nodes than there are."""


class NodesInProcess(RunGrid):
    """Nodes ``client-0``, ``client-1`` ... in the order given, with ids from 1.

    ``close`` lets go of the thread that asks them.
    """

    def __init__(self, nodes: Sequence[Node], run_id: int = 1) -> None:
        super().__init__(run_id)
        self._nodes = dict(enumerate(nodes, start=1))
        self._replies: dict[str, Message] = {}
        #: How many messages were answered, and why others were not.
        self.answered = 0
        self.failures: list[str] = []
        self._pushed = 0
        self._goes_on()
        self._asked: SimpleQueue[Message | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="nodes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask no node any more, once the one that is asked now has answered."""
        self._asked.put(None)
        self._thread.join()

    # --- who -------------------------------------------------------------------------------------

    def get_node_ids(self) -> list[int]:
        """All nodes. ``TooFewNodes``: a ServerApp asks for them again and again, and asks them nothing."""
        self._looked += 1
        if self._looked > _LOOKS and not self._unanswered and self._since.seconds_left == 0:
            raise TooFewNodes(
                f"the app's ServerApp waits for more clients than the {len(self._nodes)} of this trial: take "
                "--clients with as many as its strategy needs"
            )
        return list(self._nodes)

    def _goes_on(self) -> None:
        self._looked, self._since = 0, Timeout(_QUIET_SECONDS)

    @property
    def _unanswered(self) -> bool:
        return self._pushed > self.answered + len(self.failures)

    def get_nodes(self) -> list[Any]:
        return [SimpleNamespace(node_id=id_, registered_at=f"{id_:05}") for id_ in self._nodes]

    # --- messages --------------------------------------------------------------------------------

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._replies.pop(id_) for id_ in list(message_ids) if id_ in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and wait for all replies, or until ``timeout`` seconds have passed."""
        ids, limit = self.push_messages(messages), Timeout(timeout)
        while any(id_ not in self._replies for id_ in ids) and not limit.is_over:
            time.sleep(_LOOK_SECONDS)
        return self.pull_messages(ids)

    def _push(self, message: Message) -> str:
        sent = self.as_sent(message, message.content)
        self._pushed += 1
        self._goes_on()
        self._asked.put(sent)
        return str(sent.metadata.message_id)

    def _work(self) -> None:
        while (sent := self._asked.get()) is not None:
            self._replies[sent.metadata.message_id] = self._answer(sent)
            self._goes_on()

    def _answer(self, sent: Message) -> Message:
        node = sent.metadata.dst_node_id
        try:
            reply = self._nodes[node](sent)
            self.answered += 1
            return reply
        except FedOpsError as error:
            why = error.message
        except (Exception, SystemExit) as error:  # an app may raise anything, or end the process
            traceback.print_exception(error)
            why = f"{type(error).__name__}: {error}"
        self.failures.append(f"client-{node - 1}: {why[:_REASON]}")
        return Message(Error(APP_RAISED, why[:_REASON]), reply_to=sent)
