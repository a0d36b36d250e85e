"""The scores of an attempt's rounds: planned, made beside the next rounds, told to the server, waited for.

Scores of round t are first used in choosing the clients of round t + 2, which waits for them: then a run that
is continued chooses as it would have without the interruption, and scoring costs the rounds no time.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedops.config.schema import Contribution
from fedops.core.contracts import AttemptSpec, ClientStanding, Delivery, RoundScores, ScoringPlan
from fedops.core.errors import AttemptSuperseded, FedOpsError
from fedops.core.seeds import client_seed
from fedops.engine.link.deliveries import DeliveryStream
from fedops.engine.link.server_link import ServerLink
from fedops.engine.scoring.saved_time import NOT_READY, TOO_DEAR, SavedTime
from fedops.engine.scoring.scorer import (
    ClientEvaluator,
    Evaluations,
    Scorer,
    ScoringFailed,
    ScoringJob,
    UpdateFile,
)
from fedops.engine.scoring.scoring_plan import (
    CLIENTS,
    Cost,
    cost_after,
    is_scored,
    limits_time_only,
    plan_on_clients,
    plan_scoring,
)

logger = logging.getLogger("fedops.engine")

#: The scores of a round are first used so many rounds later.
LATER = 2
#: A round's scoring is given up after so long, whatever its budget was. Seconds.
GIVE_UP_SECONDS = 600.0
_LONGEST = 200
#: How long the rounds look for what clients measured before they look what else there is. Seconds.
_LOOK_SECONDS = 0.25
Standings = Mapping[str, ClientStanding]


class RoundScoring:
    """Beside the rounds of one attempt."""

    def __init__(
        self,
        rules: Contribution,
        spec: AttemptSpec,
        contract: str,
        examples: int,
        link: ServerLink,
        scorer: Scorer | None,
        evaluator: ClientEvaluator | None = None,
    ) -> None:
        """``contract``: the fingerprint of the model's. ``examples``: how many there are to evaluate on.

        ``scorer`` None: nothing is scored. ``evaluator``: who asks clients; None: nobody does.
        """
        self._rules = rules
        self._spec = spec
        self._contract = contract
        self._link = link
        self._scorer = scorer
        self._evaluator = evaluator if scorer is not None else None
        state = spec.contribution
        self._basis, self._history = dict(state.basis), dict(state.history)
        same = state.basis.get("contract", contract) == contract
        #: Round -> what was known after it. Nothing is, of another model.
        self._known: dict[int, Standings] = {
            known.round: {one.device: one for one in known.standings}
            for known in (state.known if same else ())
        }
        self._cost = Cost(examples, 0.0)
        self._saved = SavedTime()
        #: What a model of a coalition took slow clients, as far as known.
        self._each = 0.0
        self._jobs: queue.SimpleQueue[ScoringJob | None] = queue.SimpleQueue()
        self._open: set[int] = set()
        self._changed = threading.Condition()
        self._failure: FedOpsError | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    # --- planning and beginning ------------------------------------------------------------------

    def plan(
        self, round_: int, clients: int, seconds: float, evaluating: float, elsewhere: float = 0.0
    ) -> ScoringPlan | None:
        """How the round that is about to be committed is scored; None: it is not.

        ``seconds``: what the round took; ``evaluating``: what evaluating its model here did;
        ``elsewhere``: what evaluating a model took its slow clients, 0 if none did.
        """
        with self._changed:
            self._saved.add(seconds)
            if self._scorer is None or clients == 0 or not is_scored(self._rules, round_):
                return None
            known, budget = self._cost, self._saved.seconds
            if self._evaluator is not None:
                self._each = max(elsewhere, self._each)
                return plan_on_clients(self._rules, clients, budget, self._each)
            if limits_time_only(self._rules) and (why := self._why_not(budget)):
                self._saved.skip(round_, why)
                return None
            skipped = self._saved.said()
        measured = evaluating / known.examples if known.examples else 0.0
        cost = replace(known, seconds=known.seconds or measured)
        plan = plan_scoring(self._rules, clients, budget, cost)
        return plan.model_copy(update={"note": _joined(skipped, plan.note)[:1_000]})

    def _why_not(self, budget: float) -> str:
        """Why a round is not scored with what is saved; "": it is."""
        if self._scorer is not None and not self._scorer.is_ready:
            return NOT_READY
        return TOO_DEAR if budget < self._cost.least else ""

    def begin(
        self,
        round_: int,
        plan: ScoringPlan,
        files: Sequence[UpdateFile],
        before: Path | None,
        previous: Path | None,
        dataset: str,
    ) -> None:
        """The round is committed: score it, after those before. Without its files that is said."""
        basis = {
            "contract": self._contract,
            "data set": dataset[:_LONGEST],
            "measured on": self._measured_on(),
        }
        seed = client_seed(self._spec.seed, "contribution", round_)
        ordered = sorted(files, key=lambda one: one.device)
        job = ScoringJob(round_, plan, seed, before, previous, ordered, basis, each=self._each)
        with self._changed:
            self._open.add(round_)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _measured_on(self) -> str:
        if self._rules.utility == CLIENTS:
            return "the clients' own examples"
        examples = self._cost.examples
        return f"{examples} examples of the server" if examples else "directions alone"

    def take(self, delivery: Delivery) -> bool:
        """Whether it is what a client measured for a round's scores, and no round's own."""
        return self._evaluator is not None and self._evaluator.take(delivery)

    def begun(self, round_: int) -> None:
        """The clients of this round are asked to train; beyond the last: no more are."""
        if self._evaluator is not None:
            self._evaluator.begun(round_)

    @property
    def is_on(self) -> bool:
        """Whether rounds are scored."""
        return self._scorer is not None

    # --- waiting and using -----------------------------------------------------------------------

    def missing_for(self, round_: int) -> int | None:
        """The first round whose scores are awaited before the clients of ``round_`` are chosen.

        Raises:
            AttemptSuperseded: another attempt took over.
        """
        with self._changed:
            if self._failure is not None:
                raise self._failure
            return min((one for one in self._open if one <= round_ - LATER), default=None)

    def wait(self, seconds: float) -> None:
        """Until something came, so long at most."""
        with self._changed:
            self._changed.wait(seconds)

    def wait_for(self, late: int, stream: DeliveryStream) -> None:
        """A second at most for the scores of this round, and for what its clients measure."""
        if self._evaluator is None:
            self.wait(1.0)
            return
        self._evaluator.awaited(late)
        until = time.monotonic() + 1.0
        while late in self._open and time.monotonic() < until:
            stream.listen(_LOOK_SECONDS)

    def standings(self, round_: int) -> Standings:
        """What is known of the clients when those of ``round_`` are chosen."""
        with self._changed:
            usable = [number for number in self._known if number <= round_ - LATER]
            return self._known[max(usable)] if usable else {}

    def files_from(self, round_: int) -> int:
        """The first round whose files are still needed after ``round_``: its own, if nothing is scored."""
        if self._scorer is None:
            return round_
        with self._changed:
            return min(self._open, default=round_) - LATER

    def close(self) -> None:
        """End. What is not scored is left to the next attempt."""
        self._closed.set()
        self._jobs.put(None)
        if self._evaluator is not None:
            self._evaluator.close()
        if self._scorer is not None:
            self._scorer.close()

    # --- the thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._score(job)
            except AttemptSuperseded as error:
                self._fail(error)
                return
            except Exception as error:  # the run goes on; the next attempt may score it
                logger.exception("round %d is not scored: %s", job.round, error)
                self._give_up(job.round)

    def _give_up(self, round_: int) -> None:
        """Nobody waits for it."""
        with self._changed:
            self._open.discard(round_)
            self._changed.notify_all()

    def _fail(self, error: FedOpsError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def _score(self, job: ScoringJob) -> None:
        assert self._scorer is not None
        anew = bool(self._basis) and self._basis != dict(job.basis)
        history: dict[str, Any] = {} if anew else self._history
        began = time.monotonic()
        try:
            if job.before is None or not job.updates:
                raise ScoringFailed("its models or updates are not kept any more")
            longest = max(GIVE_UP_SECONDS, 3.0 * (self._rules.max_seconds or 0.0))
            asked = replace(job, history=history)
            found = self._evaluated(asked, longest)
            scores = self._scorer.score(replace(asked, evaluations=found), longest)
        except ScoringFailed as error:
            if self._closed.is_set():
                return
            scores = self._unscored(job, history, str(error), time.monotonic() - began)
        else:
            seconds = scores.seconds + (found.seconds if found else 0.0)
            scores = scores.model_copy(update={"seconds": seconds})
        if anew:
            scores = scores.model_copy(update={"note": _joined(self._why_anew(job), scores.note)})
        self._link.ask(lambda api: api.scores(scores))
        self._note(scores)

    def _evaluated(self, job: ScoringJob, longest: float) -> Evaluations | None:
        """What the round's clients measure, if that was planned."""
        if job.plan.evaluated_by != CLIENTS or job.plan.method is None:
            return None
        scorer, evaluator = self._scorer, self._evaluator
        if scorer is None or evaluator is None:
            raise ScoringFailed("nobody asks its clients to evaluate")
        found = evaluator.evaluate(job, lambda: scorer.build(job, longest))
        self._each = max(self._each / 2, found.each)  # what was slow once is tried again in time
        return found

    def _unscored(
        self, job: ScoringJob, history: dict[str, Any], why: str, seconds: float
    ) -> RoundScores:
        """Nothing is known of the round: what was known stays."""
        logger.warning("round %d cannot be scored: %s", job.round, why)
        with self._changed:
            known = self._known[max(self._known)] if self._known and history else {}
        return RoundScores(
            round=job.round,
            note=f"it could not be scored: {why}"[:2_000],
            seconds=seconds,
            basis=dict(job.basis),
            standings=list(known.values()),
            history=history,
        )

    def _why_anew(self, job: ScoringJob) -> str:
        changed = [
            f"{name} is {value[:40]}, it was {self._basis.get(name, 'unknown')[:40]}"
            for name, value in job.basis.items()
            if self._basis.get(name) != value
        ]
        return f"the history begins anew: {'; '.join(changed)}"

    def _note(self, scores: RoundScores) -> None:
        found = {one.device: one for one in scores.standings}
        with self._changed:
            self._basis, self._history = dict(scores.basis), scores.history
            self._known[scores.round] = found
            for number in sorted(self._known)[: -LATER - 1]:
                del self._known[number]
            self._cost = cost_after(self._cost, scores)
            self._saved.spend(scores.seconds)
            self._open.discard(scores.round)
            self._changed.notify_all()


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))[:2_000]
