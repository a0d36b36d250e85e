"""Who takes part in a round: waiting for enough clients, choosing among them, and what each is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecordValues

from fedops.algorithms.selection import Selector
from fedops.config import RoundPolicy
from fedops.core.contracts import Candidate, RoundBegin
from fedops.core.policies import draw_seed
from fedops.core.states import FailureReason
from fedops.flower.endings import Leave, RunFailed
from fedops.flower.exchange import Asked, Exchange
from fedops.flower.global_model import GlobalModel
from fedops.flower.inbox import OUTCOMES
from fedops.flower.lines import Lines
from fedops.flower.messages import Order
from fedops.flower.round_rules import draw, why_waiting
from fedops.flower.run_setup import Setup

_LOOK_SECONDS = 1.0
#: A device that was asked, did not answer before the deadline, and has had nothing in hand for so long, has
#: lost the message: it is asked once more. Seconds.
LOST_SECONDS = 5.0


@dataclass(frozen=True)
class Called:
    """The clients that a try of a round calls on."""

    asked: dict[str, Asked]
    available: int  #: how many could have been called, those that replied before included


class _Waiting:
    """How long clients are waited for: longer for those that other runs have."""

    def __init__(self, policy: RoundPolicy) -> None:
        self._policy = policy
        self._began = self._since = time.monotonic()

    def check(self, queues: bool, why: str) -> None:
        """Wait on, or ``RunFailed``. ``queues``: with the devices of other runs there are enough."""
        now, policy = time.monotonic(), self._policy
        if queues:
            self._since = now
            if now > self._began + policy.queue_seconds:
                text = f"gave up after {policy.queue_seconds:.0f} s in the queue: {why}"
                raise RunFailed(FailureReason.TIMEOUT, text)
        elif now > self._since + policy.wait_seconds:
            text = f"gave up after {policy.wait_seconds:.0f} s: {why}"
            raise RunFailed(FailureReason.TOO_FEW_CLIENTS, text)


class Recruiter:
    """Finds the clients of each round of an attempt."""

    def __init__(self, setup: Setup, lines: Lines, selector: Selector) -> None:
        self._setup = setup
        self._rules = setup.rules
        self._lines = lines
        self._selector = selector
        self._candidates: list[Candidate] = []
        #: Device -> why it cannot take part in this run.
        self.refused: dict[str, str] = dict(setup.spec.refused)

    def gather(self, exchange: Exchange, say: Callable[[str, int], None]) -> dict[str, Candidate]:
        """Wait until there are enough clients. Returns those available, by name.

        ``say`` is told why it waits, and for how many clients in all.

        Raises:
            RunFailed: there were too few for too long.
        """
        waiting = _Waiting(self._rules.policy)
        while True:
            ready = self.available()
            present = ready.keys() | exchange.replies.keys()
            needed = self._needed()
            if len(present) >= needed:
                return ready
            why = why_waiting(needed, present, self._candidates, self.refused)
            say(why, needed)
            queueing = {c.device for c in self._candidates if c.held_by is not None}
            waiting.check(len(present | queueing) >= needed, why)
            exchange.handle(self._lines.inbox.take(_LOOK_SECONDS))

    def _needed(self) -> int:
        """How many clients there must be. A device that refuses will not come: nobody waits for it.

        Raises:
            RunFailed: without those that refuse there are too few for any round.
        """
        needed = self._rules.needed
        enrolled = {candidate.device for candidate in self._candidates}
        willing = enrolled - self.refused.keys()
        if len(enrolled) < needed or len(willing) >= needed:
            return needed
        least = self._rules.least(len(willing))
        if len(willing) < least:
            who = "; ".join(f"{n}: {self.refused[n]}" for n in sorted(enrolled - willing))
            text = (
                f"{len(willing)} of {len(enrolled)} devices take part, a round needs {least}: {who}"
            )
            raise RunFailed(FailureReason.APP_ERROR, text[:4_000])
        return len(willing)

    def gather_in(self, seconds: float, exchange: Exchange) -> dict[str, Candidate]:
        """Those available once there are enough for a round, or after so long however few."""
        deadline = time.monotonic() + seconds
        while True:
            ready = self.available()
            willing = [c for c in self._candidates if c.device not in self.refused]
            if len(ready) >= min(self._rules.needed, len(willing)) or time.monotonic() > deadline:
                return ready
            exchange.handle(self._lines.inbox.take(_LOOK_SECONDS))

    def available(self) -> dict[str, Candidate]:
        """The devices that can be asked now."""
        reply = self._lines.ask(lambda api: api.candidates())
        if reply.command in OUTCOMES:
            raise Leave(OUTCOMES[reply.command])
        self._candidates = reply.candidates
        return {
            candidate.device: candidate
            for candidate in reply.candidates
            if candidate.unavailable is None and candidate.device not in self.refused
        }

    def call(
        self,
        round_: int,
        retry: int,
        ready: Mapping[str, Candidate],
        exchange: Exchange,
        model: GlobalModel,
        dataset: str,
    ) -> Called:
        """Choose as many clients as it takes, besides those that replied or are at it, and announce them."""
        rng = np.random.default_rng(draw_seed(self._setup.spec.seed, round_, retry))
        available = len(ready.keys() | exchange.replies.keys())
        chosen = self._choose(ready, exchange, self._rules.invited(available), rng)
        told = self._setup.strategy.configure(
            round_, model.averaged, [int(ready[name].node_id) for name in chosen]
        )
        names = [name for name in chosen if int(ready[name].node_id) in told]
        evaluators = self._evaluators(names, available, exchange, rng)
        asked = {
            name: Asked(
                int(ready[name].node_id),
                self.order(
                    round_,
                    model,
                    dataset,
                    name in evaluators,
                    told[int(ready[name].node_id)],
                    retry,
                ),
                chosen[name],
            )
            for name in names
        }
        selected = {**exchange.reasons, **{name: a.reason for name, a in asked.items()}}
        begin = RoundBegin(selected=selected, upload_slots=self._lines.fetcher.at_once)
        self._lines.ask(lambda api: api.begin_round(round_, begin))
        return Called(asked, available)

    def _choose(
        self,
        ready: Mapping[str, Candidate],
        exchange: Exchange,
        invited: int,
        rng: np.random.Generator,
    ) -> dict[str, str]:
        at_it = [
            device
            for device in exchange.present
            if device in ready and ready[device].idle_seconds < LOST_SECONDS
        ]
        settled = {*exchange.replies, *at_it}
        tried = set(exchange.devices)
        pool = [candidate for name, candidate in ready.items() if name not in settled]
        fresh = [candidate for candidate in pool if candidate.device not in tried]
        again = [candidate for candidate in pool if candidate.device in tried]
        chosen = draw(self._selector, [fresh, again], invited - len(settled), rng)
        return dict(sorted(chosen.items()))

    def _evaluators(
        self, names: Sequence[str], available: int, exchange: Exchange, rng: np.random.Generator
    ) -> set[str]:
        """Those who evaluate the model before they train on it."""
        everyone = len(names) + len(exchange.devices)
        count = self._setup.strategy.numbers.evaluators(available, everyone)
        order = rng.permutation(len(names))
        return {names[i] for i in order[: max(0, count - exchange.evaluators)]}

    def order(
        self,
        round_: int,
        model: GlobalModel,
        dataset: str,
        evaluate: bool,
        told: Mapping[str, ConfigRecordValues],
        retry: int = 0,
    ) -> Order:
        """What a client is asked to do in a round."""
        spec = self._setup.spec
        return Order(
            round=round_,
            run_id=spec.run_id,
            attempt=spec.attempt,
            task=spec.task,
            run_seed=spec.seed,
            config=self._setup.plain_config,
            contract=model.contract,
            dataset=dataset,
            evaluate=evaluate,
            strategy=told,
            retry=retry,
        )
