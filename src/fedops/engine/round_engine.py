"""The round engine: select, train, aggregate, evaluate, commit; again until the last round.

A round counts when the Server Manager has taken its commit. Whatever dies before, the next attempt goes on
with that round: from the model and the strategy's state that were committed last, with the assignments that
were made and what was delivered of them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal

from fedops.algorithms.selection.selector import Selector
from fedops.core.contracts import Candidate, Encoding, EngineProgress, OpenRound
from fedops.core.errors import Invalid
from fedops.core.reasons.runs import WAITS_FOR
from fedops.core.reasons.shortages import is_of_device
from fedops.core.states import FailureReason
from fedops.engine.collecting import Collection, EndCondition, Place
from fedops.engine.instructions import Instructions, ModelBlobs, Orders
from fedops.engine.link.blob_files import BlobFiles
from fedops.engine.link.deliveries import DeliveryStream
from fedops.engine.link.disk_space import may_pass
from fedops.engine.link.exit_reasons import RunFailed, StopRequested, heed, too_few_replies
from fedops.engine.link.server_link import ServerLink
from fedops.engine.recruiting import Recruiter
from fedops.engine.reply_limits import ReplyLimits
from fedops.engine.round_commit import FinishedRound, RoundCommitter, Timing, client_metrics
from fedops.engine.run_setup import Setup
from fedops.engine.scoring.left_over import model_file, score_left_over
from fedops.engine.scoring.round_scoring import LATER, RoundScoring
from fedops.engine.scoring.scorer import ClientEvaluator, Scorer, UpdateFile
from fedops.engine.scoring.scoring_plan import slowest_but_one
from fedops.engine.taking_over import TakeOver
from fedops.failpoints import reached
from fedops.storage.shortages import shortage_of

logger = logging.getLogger("fedops.engine")

#: How long clients may evaluate the final model, at most. Seconds.
FINAL_SECONDS = 120.0
#: How long clients that are away just then are waited for, to evaluate it. Seconds.
FINAL_WAIT_SECONDS = 20.0
Phase = Literal["waiting", "initialising", "training", "aggregating", "evaluating", "committing"]


class RoundEngine:
    """Executes the rounds of one attempt."""

    def __init__(
        self,
        setup: Setup,
        link: ServerLink,
        selector: Selector | None = None,
        scorer: Scorer | None = None,
        evaluator: ClientEvaluator | None = None,
    ) -> None:
        self._setup = setup
        self._spec = setup.spec
        self._rules = setup.rules
        self._link = link
        self._model = setup.model
        self._dataset = setup.dataset
        self._files = BlobFiles(link, setup.spool, setup.spec.blobs_dir)
        self._stream = DeliveryStream(link)
        self._limits = ReplyLimits(setup.config.server.limits)
        self._recruiter = Recruiter(setup, link, selector or setup.selector)
        self._committer = RoundCommitter(link, self._files, setup.strategy, setup.spool)
        rules, examples = setup.config.server.contribution, setup.validation_examples
        contract = setup.model.contract.fingerprint
        self._scoring = RoundScoring(rules, setup.spec, contract, examples, link, scorer, evaluator)
        self._stream.aside = self._scoring.take
        #: The file of the model before the one that the round began with, as far as it is there.
        self._before_last: Path | None = None
        #: Whether anybody has measured the final model.
        self.evaluated = setup.validation is not None

    def run(self) -> dict[str, float]:
        """Play all rounds. Returns the final model's metrics on the clients.

        Raises:
            StopRequested, RunFailed, AttemptSuperseded: see ``exit_reasons``.
            OSError: the server's disk is full, or closed to us.
        """
        last: Collection | None = None
        try:
            if left := self._spec.contribution.unscored:
                most, spool = self._instructions().max_bytes, self._setup.spool
                score_left_over(left, self._scoring, self._files, spool, most, self._dataset)
            self._before_last = self._previous()
            for round_ in range(self._spec.next_round, self._spec.rounds + 1):
                last = self._play(round_)
                self._forget_before(round_)
            return self._after_the_last(last)
        except OSError as error:
            if may_pass(error, self._setup.spool):
                raise
            lacking = shortage_of(error, self._setup.spool)
            text = f"the server cannot write to {self._setup.spool}: {error.strerror or error}"
            text = f"{lacking.named()}; {lacking.remedy}" if lacking else text
            raise RunFailed(FailureReason.ENGINE_ERROR, text) from error
        finally:
            self._scoring.close()

    def _after_the_last(self, last: Collection | None) -> dict[str, float]:
        """All rounds are committed. Who stops the run now has what they have made all the same."""
        found: dict[str, float] = {}
        try:
            found = self._evaluate_final(last)
            self._await_last_scores()
        except StopRequested as stop:
            if stop.outcome == "paused":
                raise
        return found

    # --- one round -------------------------------------------------------------------------------

    def _play(self, round_: int) -> Collection:
        timing, before = Timing(), self._model.path
        collection = self._train(round_, timing)
        reached("engine.replied")
        self._aggregate(round_, collection, timing)
        reached("engine.aggregated")
        self._say("evaluating", round_)
        with timing.measure("evaluation"):
            metrics = self._evaluate_here(round_)
        self._say("committing", round_)
        at_work = timing.seconds - timing.spent.get("waiting", 0.0)
        plan = self._scoring.plan(
            round_,
            len(collection.answers.updates),
            at_work,
            timing.spent["evaluation"],
            slowest_but_one(one.header.evaluate_seconds for one in collection.answers.checked),
        )
        finished = FinishedRound(
            round_,
            self._model,
            collection,
            timing,
            metrics,
            self._dataset,
            self._recruiter.refused,
            plan,
        )
        command = self._committer.commit(finished)
        logger.info("round %d of %d is committed: %s", round_, self._spec.rounds, metrics)
        if plan is not None:
            files = [
                UpdateFile(name, update.path, update.checked.examples)
                for name, update in collection.answers.updates.items()
            ]
            self._scoring.begin(round_, plan, files, before, self._before_last, self._dataset)
        self._before_last = before
        heed(command if command == "pause" or round_ < self._spec.rounds else "continue")
        return collection

    def _aggregate(self, round_: int, collection: Collection, timing: Timing) -> None:
        self._say("aggregating", round_, f"{len(collection.answers.updates)} replies")
        path = self._setup.spool / f"model-{round_:05}.safetensors"
        counts = self._recruiter.counts
        updates = []
        for name, update in collection.answers.updates.items():
            factor = counts[name].factor if name in counts else 1.0
            if factor != 1.0:
                collection.remark(name, counts[name].reason)
            updates.append(update.counting(factor))
        try:
            with timing.measure("aggregation"):
                self._model = self._model.next(path, round_, self._setup.strategy, updates)
        except Invalid as error:
            text = f"round {round_}: {error}"
            raise RunFailed(FailureReason.AGGREGATION_ERROR, text) from None

    def _evaluate_here(self, round_: int) -> dict[str, float]:
        try:
            return self._setup.evaluate(self._model, round_)
        except (Invalid, OSError) as error:  # of the project's files, or of ours
            if may_pass(error, self._setup.spool):
                raise
            text = f"evaluating on the server's validation data: {error}"
            raise RunFailed(FailureReason.APP_ERROR, text) from None

    # --- its training ----------------------------------------------------------------------------

    def _train(self, round_: int, timing: Timing) -> Collection:
        """Have clients train until there are enough good updates."""
        collection = self._collection(round_, f"round-{round_:05}")
        open_, first, available = self._spec.open_round, 0, 0
        if open_ is None and self._spec.replays is not None:
            text = f"round {round_} of run {self._spec.replays} is not there to be aggregated again"
            raise RunFailed(FailureReason.ENGINE_ERROR, text)
        if open_ is not None and open_.round == round_:
            self._await_scores(round_)
            with timing.measure("collection"):
                first, available = self._go_on(open_, collection)
            if self._is_done(round_, first, collection, available):
                return collection
            if self._spec.replays is not None:  # there are no others
                raise self._too_few(round_, collection, available)
            first += 1
        for retry in range(first, self._rules.policy.max_retries + 1):
            if retry:  # clients may have failed because of what they were given
                self._model.require_whole()
            with timing.measure("waiting"):
                self._await_scores(round_)
                ready = self._recruiter.gather(
                    collection, lambda *said: self._say_waiting(round_, *said)
                )
            with timing.measure("collection"):
                available = self._try(round_, retry, ready, collection)
            if self._is_done(round_, retry, collection, available):
                return collection
        raise self._too_few(round_, collection, available)

    def _await_scores(self, round_: int) -> None:
        """Choose with the scores that this round goes by, whoever chooses, and however late they come."""
        while (late := self._scoring.missing_for(round_)) is not None:
            why = f"the scores of round {late}, by which the clients of this round are chosen"
            self._say("waiting", round_, WAITS_FOR + why)
            self._recruiter.available()  # heeds that the run is to stop
            self._scoring.wait_for(late, self._stream)
        self._recruiter.know(self._scoring.standings(round_))

    def _await_last_scores(self) -> None:
        """What is being scored is the run's own."""
        self._scoring.begun(self._spec.rounds + 1)
        while (late := self._scoring.missing_for(self._spec.rounds + 2 * LATER)) is not None:
            self._say("evaluating", self._spec.rounds, f"waits for the scores of round {late}")
            self._recruiter.available()  # heeds that the run is to stop
            self._scoring.wait_for(late, self._stream)

    def _previous(self) -> Path | None:
        """The model that the last committed round began with, if anybody needs it."""
        ref = self._spec.contribution.previous
        if ref is None or not self._scoring.is_on:
            return None
        return model_file(ref, self._files, self._setup.spool / "previous.safetensors")

    def _collection(self, round_: int, folder: str) -> Collection:
        return Collection(
            self._place(folder),
            self._instructions(),
            round_,
            before=self._model.file,
            asks_again=self._spec.replays is None,
            on_change=lambda now: self._say_training(round_, now),
        )

    def _place(self, name: str) -> Place:
        return Place(self._link, self._stream, self._files, self._setup.spool / name)

    def _instructions(self) -> Instructions:
        blobs = ModelBlobs.hand_over(self._model, self._files, self._setup.spool)
        preferred = Encoding(self._setup.config.exchange.encoding)
        return Instructions(blobs, [preferred, *(e for e in Encoding if e is not preferred)])

    def _try(
        self, round_: int, retry: int, ready: dict[str, Candidate], collection: Collection
    ) -> int:
        orders = Orders(self._setup, round_, self._dataset)
        try:
            available = self._recruiter.call(round_, retry, ready, collection, orders, self._model)
        except Invalid as error:
            raise RunFailed(FailureReason.APP_ERROR, str(error)) from None
        self._scoring.begun(round_)
        return self._collect(round_, collection, available, self._rules.policy.deadline_seconds)

    def _go_on(self, open_: OpenRound, collection: Collection) -> tuple[int, int]:
        """Go on with the round of an earlier attempt. Returns its try, and how many could be chosen."""
        orders = Orders(self._setup, open_.round, self._dataset, self._spec.replays)
        before = TakeOver(open_, self._recruiter, self._link, orders, self._spec.seed)
        try:
            available, asked = before.adopt(collection, self._model)
        except Invalid as error:
            raise RunFailed(FailureReason.APP_ERROR, str(error)) from None
        self._scoring.begun(open_.round)
        whole = self._rules.policy.deadline_seconds
        seconds = max(open_.seconds_left, whole if asked else 0.0)
        left = self._collect(open_.round, collection, available, seconds)
        if self._spec.replays is not None:  # who else is there now does not matter
            left = max(len(collection.devices) - len(collection.answers.evaluations), 1)
        return before.retry, left

    def _collect(self, round_: int, collection: Collection, available: int, seconds: float) -> int:
        """Returns how many could be chosen, now that more is known of them."""
        self._say_training(round_, collection)
        deadline = time.monotonic() + seconds
        replays = self._spec.replays is not None
        enough = None if replays else self._rules.enough(available)
        grace = self._rules.upload_grace
        collection.collect(EndCondition(deadline, enough, grace))
        self._agree_on_dataset(collection)
        for device, why in self._limits.beyond(
            collection.answers.checked, self._recruiter.announced
        ).items():
            collection.answers.reject(device, why)
        self._recruiter.refused |= collection.answers.refused
        fresh = collection.answers.without_examples - self._recruiter.without_examples
        self._recruiter.without_examples |= fresh
        return max(available - len(fresh), 1)

    def _is_done(self, round_: int, retry: int, collection: Collection, available: int) -> bool:
        if len(collection.answers.updates) >= self._rules.quorum(available):
            collection.close()
            return True
        logger.warning("round %d, try %d: %s", round_, retry + 1, collection.unanswered())
        return False

    def _too_few(self, round_: int, collection: Collection, available: int) -> RunFailed:
        failed = any(not is_of_device(why) for why in collection.answers.failed.values())
        of_app = failed or bool(collection.answers.rejected or collection.answers.refused)
        quorum, tries = self._rules.quorum(available), self._rules.policy.max_retries + 1
        got = f"{len(collection.answers.updates)} of the {quorum} replies it needs in {tries} tries"
        return too_few_replies(round_, got, collection.unanswered(), fault_of_app=of_app)

    def _agree_on_dataset(self, collection: Collection) -> None:
        """All clients of a run train on the same data set; the first updates say which."""
        named = {
            update.device: update.header.dataset
            for update in collection.answers.checked
            if update.header.dataset
        }
        if named and not self._dataset:
            self._dataset = Counter(named.values()).most_common(1)[0][0]
        for device, name in named.items():
            if name != self._dataset:
                why = f"its data set is '{name}', and the run's is '{self._dataset}'"
                collection.answers.refuse(device, why)

    def _forget_before(self, round_: int) -> None:
        """Keep the files of the last round, and those that are needed to score rounds."""
        first = self._scoring.files_from(round_)
        for path in self._setup.spool.iterdir():
            if path.name.startswith(("model-", "round-")) and _round_of(path) < first:
                rmtree(path) if path.is_dir() else path.unlink()

    # --- after the last round --------------------------------------------------------------------

    def _evaluate_final(self, last: Collection | None) -> dict[str, float]:
        """The final model's metrics on clients, preferably of the last round."""
        numbers = self._setup.strategy.numbers
        if numbers.fraction_evaluate == 0.0:
            return {}
        collection = Collection(self._place("final"), self._instructions(), None)
        ready = self._recruiter.gather_in(FINAL_WAIT_SECONDS, collection)
        recent = [name for name in (last.answers.updates if last else {}) if name in ready]
        alone = self._recruiter.evaluating()
        ready |= alone
        pool = [*sorted(alone), *sorted(recent or ready.keys() - alone.keys())]
        orders = Orders(self._setup, self._spec.rounds + 1, self._dataset)
        invitations = {
            name: orders.to_evaluate(int(ready[name].node_id), reason="")
            for name in pool[: numbers.evaluators(len(ready), len(pool))]
        }
        text = f"the final model on {len(invitations)} clients"
        self._say("evaluating", self._spec.rounds, text)
        seconds = min(FINAL_SECONDS, self._rules.policy.deadline_seconds)
        collection.offer(invitations, seconds)
        collection.collect(EndCondition(time.monotonic() + seconds))
        collection.close()
        # A reply with a metric that is no number is rejected.
        self.evaluated |= bool(collection.answers.checked or collection.answers.rejected)
        return client_metrics(collection.answers.checked)

    def _say_waiting(self, round_: int, why: str, needed: int, begins_in: float | None) -> None:
        self._say("waiting", round_, why, needed=needed, begins_in=begins_in)

    def _say_training(self, round_: int, collection: Collection) -> None:
        missing = len(collection.outstanding)
        detail = f"{len(collection.answers.replied)} of {len(collection.devices)} clients replied"
        self._say("training", round_, f"{detail}, {missing} at it", collection)

    def _say(
        self,
        phase: Phase,
        round_: int,
        detail: str = "",
        collection: Collection | None = None,
        **more: Any,
    ) -> None:
        self._link.tell(
            EngineProgress(
                phase=phase,
                round=round_,
                detail=detail[:500],
                **more,
                selected=collection.devices if collection else [],
                replied=collection.answers.replied if collection else [],
            )
        )


def _round_of(path: Path) -> int:
    return int(path.stem.split("-")[1])
