"""The round engine: select, train, aggregate, evaluate, commit; again until the last round.

A round counts when the Server Manager has taken its commit. Whatever dies before, the next attempt begins
that round anew from the model and the strategy's state that were committed last.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path
from shutil import rmtree
from typing import Literal

from fedops.algorithms.selection import Selector, UniformSelector
from fedops.core.contracts import Candidate, EngineProgress
from fedops.core.errors import Invalid
from fedops.core.states import FailureReason
from fedops.failpoints import reached
from fedops.flower.committer import Committer, Finished, Timing, client_metrics
from fedops.flower.endings import Leave, RunFailed
from fedops.flower.exchange import Asked, Exchange, Terms
from fedops.flower.fetcher import LARGE
from fedops.flower.inbox import OUTCOMES
from fedops.flower.lines import Lines
from fedops.flower.messages import EVALUATE
from fedops.flower.recruiter import Recruiter
from fedops.flower.run_setup import Setup

logger = logging.getLogger("fedops.engine")

#: How long clients may evaluate the final model, at most. Seconds.
FINAL_SECONDS = 120.0
#: How long clients that are away just then are waited for, to evaluate it. Seconds.
FINAL_WAIT_SECONDS = 20.0
_SAY_AGAIN_SECONDS = 5.0
Phase = Literal["waiting", "initialising", "training", "aggregating", "evaluating", "committing"]


class RoundEngine:
    """Executes the rounds of one attempt."""

    def __init__(self, setup: Setup, lines: Lines, selector: Selector | None = None) -> None:
        self._setup = setup
        self._spec = setup.spec
        self._rules = setup.rules
        self._lines = lines
        self._model = setup.model
        self._dataset = setup.dataset
        self._recruiter = Recruiter(setup, lines, selector or UniformSelector())
        self._committer = Committer(lines, setup.strategy, setup.spool)
        self._said: tuple[EngineProgress, float] | None = None
        lines.fetcher.at_once = 1 if setup.model.size >= LARGE else 2

    def run(self) -> dict[str, float]:
        """Play all rounds. Returns the final model's metrics on the clients.

        Raises:
            Leave, RunFailed, Superseded, Lost: see ``endings``.
        """
        last: Exchange | None = None
        try:
            for round_ in range(self._spec.next_round, self._spec.rounds + 1):
                last = self._play(round_)
                self._forget_before(round_)
            return self._evaluate_final(last)
        except OSError as error:
            text = f"the server cannot write to {self._setup.spool}: {error.strerror or error}"
            raise RunFailed(FailureReason.ENGINE_ERROR, text) from error

    # --- one round -------------------------------------------------------------------------------

    def _play(self, round_: int) -> Exchange:
        timing = Timing()
        exchange = self._train(round_, timing)
        reached("engine.replied")
        self._aggregate(round_, exchange, timing)
        reached("engine.aggregated")
        self._say("evaluating", round_)
        with timing.measure("evaluation"):
            metrics = self._evaluate_here(round_)
        self._say("committing", round_)
        command = self._committer.commit(
            Finished(
                round_,
                self._model,
                exchange,
                timing,
                metrics,
                self._dataset,
                self._recruiter.refused,
            )
        )
        logger.info("round %d of %d is committed: %s", round_, self._spec.rounds, metrics)
        if command in OUTCOMES:
            raise Leave(OUTCOMES[command])
        return exchange

    def _aggregate(self, round_: int, exchange: Exchange, timing: Timing) -> None:
        self._say("aggregating", round_, f"{len(exchange.replies)} replies")
        path = self._setup.spool / f"model-{round_:05}.safetensors"
        replies = list(exchange.replies.values())
        try:
            with timing.measure("aggregation"):
                self._model = self._model.next(path, round_, self._setup.strategy, replies)
        except Invalid as error:
            text = f"round {round_}: {error}"
            raise RunFailed(FailureReason.AGGREGATION_ERROR, text) from None

    def _evaluate_here(self, round_: int) -> dict[str, float]:
        try:
            return self._setup.evaluate(self._model, round_)
        except Invalid as error:
            text = f"evaluating on the server's validation data: {error}"
            raise RunFailed(FailureReason.APP_ERROR, text) from None

    def _train(self, round_: int, timing: Timing) -> Exchange:
        """Have clients train until there are enough good replies."""
        exchange = Exchange(
            self._lines,
            self._setup.spool / f"round-{round_:05}",
            self._model.record,
            on_change=lambda now: self._say_training(round_, now),
        )
        for retry in range(self._rules.policy.max_retries + 1):
            with timing.measure("waiting"):
                ready = self._recruiter.gather(
                    exchange, lambda why, needed: self._say("waiting", round_, why, needed=needed)
                )
            with timing.measure("exchange"):
                available = self._try(round_, retry, ready, exchange)
            if len(exchange.replies) >= self._rules.quorum(available):
                return exchange
            logger.warning("round %d, try %d: %s", round_, retry + 1, exchange.unanswered())
        raise self._failure(round_, exchange, self._rules.quorum(available))

    def _try(self, round_: int, retry: int, ready: dict[str, Candidate], exchange: Exchange) -> int:
        try:
            called = self._recruiter.call(
                round_, retry, ready, exchange, self._model, self._dataset
            )
        except Invalid as error:
            raise RunFailed(FailureReason.APP_ERROR, str(error)) from None
        policy = self._rules.policy
        reached("engine.round.begun")
        exchange.ask(called.asked, ttl=max(3_600.0, 2 * policy.deadline_seconds))
        reached("engine.asked")
        self._say_training(round_, exchange)
        deadline = time.monotonic() + policy.deadline_seconds
        exchange.collect(Terms(deadline, self._rules.enough(called.available)))
        self._agree_on_dataset(exchange)
        self._recruiter.refused |= exchange.refused
        return called.available

    def _agree_on_dataset(self, exchange: Exchange) -> None:
        """All clients of a run train on the same data set; the first replies say which."""
        named = {
            reply.device: reply.head.dataset for reply in exchange.checked if reply.head.dataset
        }
        if named and not self._dataset:
            self._dataset = Counter(named.values()).most_common(1)[0][0]
        for device, name in named.items():
            if name != self._dataset:
                why = f"its data set is '{name}', and the run's is '{self._dataset}'"
                exchange.refuse(device, why)

    def _failure(self, round_: int, exchange: Exchange, quorum: int) -> RunFailed:
        of_app = exchange.failed or exchange.rejected or exchange.refused
        reason = FailureReason.APP_ERROR if of_app else FailureReason.TOO_FEW_CLIENTS
        causes = "; ".join(f"{name}: {why}" for name, why in sorted(exchange.unanswered().items()))
        tries = self._rules.policy.max_retries + 1
        got = f"{len(exchange.replies)} of the {quorum} replies it needs"
        return RunFailed(reason, f"round {round_} got {got} in {tries} tries: {causes}"[:4_000])

    def _forget_before(self, round_: int) -> None:
        """Keep the files of the last round only: with its updates contributions are worked out."""
        for path in self._setup.spool.iterdir():
            if path.name.startswith(("model-", "round-")) and _round_of(path) < round_:
                rmtree(path) if path.is_dir() else path.unlink()

    # --- after the last round --------------------------------------------------------------------

    def _evaluate_final(self, last: Exchange | None) -> dict[str, float]:
        """The final model's metrics on clients, preferably of the last round."""
        numbers = self._setup.strategy.numbers
        if numbers.fraction_evaluate == 0.0:
            return {}
        exchange = Exchange(
            self._lines,
            self._setup.spool / "final",
            self._model.record,
            kind=EVALUATE,
        )
        ready = self._recruiter.gather_in(FINAL_WAIT_SECONDS, exchange)
        recent = [name for name in (last.replies if last else {}) if name in ready]
        pool = sorted(recent or ready)
        round_ = self._spec.rounds
        order = self._recruiter.order(round_, self._model, self._dataset, True, {})
        asked = {
            name: Asked(int(ready[name].node_id), order, "")
            for name in pool[: numbers.evaluators(len(ready), len(pool))]
        }
        self._say("evaluating", round_, f"the final model on {len(asked)} clients")
        exchange.ask(asked, ttl=3_600.0)
        seconds = min(FINAL_SECONDS, self._rules.policy.deadline_seconds)
        exchange.collect(Terms(time.monotonic() + seconds))
        return client_metrics(exchange.checked)

    # --- saying what it does ---------------------------------------------------------------------

    def _say_training(self, round_: int, exchange: Exchange) -> None:
        missing = len(exchange.outstanding)
        detail = f"{len(exchange.replies)} of {len(exchange.devices)} clients replied"
        self._say("training", round_, f"{detail}, {missing} at it", exchange)

    def _say(
        self,
        phase: Phase,
        round_: int,
        detail: str = "",
        exchange: Exchange | None = None,
        needed: int | None = None,
    ) -> None:
        progress = EngineProgress(
            phase=phase,
            round=round_,
            detail=detail[:500],
            needed=needed,
            selected=exchange.devices if exchange else [],
            replied=sorted(exchange.replies) if exchange else [],
        )
        said, at = self._said or (None, 0.0)
        if progress != said or time.monotonic() > at + _SAY_AGAIN_SECONDS:
            self._said = (progress, time.monotonic())
            self._lines.tell(progress)


def _round_of(path: Path) -> int:
    return int(path.stem.split("-")[1])
