"""Who takes part in a round: waiting for enough clients, choosing among them, and announcing them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fedops.algorithms.integrity.policies import Standing
from fedops.algorithms.selection.selector import RoundAhead, Selector
from fedops.core.contracts import Candidate, RoundBegin, SelectionDecision
from fedops.core.contracts.training import ConfigValue
from fedops.core.reasons.devices import EVALUATES_ONLY
from fedops.core.seeds import draw_seed
from fedops.core.states import FailureReason
from fedops.engine.choosing import Choice, draw_clients
from fedops.engine.collecting import Collection
from fedops.engine.global_model import GlobalModel
from fedops.engine.instructions import Invitation, Orders
from fedops.engine.link.exit_reasons import RunFailed, heed
from fedops.engine.link.server_link import ServerLink
from fedops.engine.round_size import why_waiting
from fedops.engine.run_setup import Setup
from fedops.engine.scoring.standing_policy import Standings, policies, with_standing
from fedops.failpoints import reached
from fedops.waiting import Timeout

logger = logging.getLogger("fedops.engine")

_LOOK_SECONDS = 1.0


class Recruiter:
    """Finds the clients of each round of an attempt."""

    def __init__(self, setup: Setup, link: ServerLink, selector: Selector) -> None:
        self._setup = setup
        self._rules = setup.rules
        self._link = link
        self._selector = selector
        self._candidates: list[Candidate] = []
        self._standings: Standings = {}
        #: As the policy has it; ``counts`` is what is done.
        self._wanted_counts: dict[str, Standing] = {}
        #: Device -> how much its update counts, of those whose contribution is known.
        self.counts: dict[str, Standing] = {}
        #: Who would be excluded, if enough were left without them.
        self._spared: set[str] = set()
        #: With how many clients fewer than it wants the last round began: they were waited for in vain.
        self._short = 0
        #: Device -> why it cannot take part in this run.
        self.refused: dict[str, str] = dict(setup.spec.refused)
        #: Devices that were asked to train and have no training example.
        self.without_examples: set[str] = set()

    def know(self, standings: Standings) -> None:
        """What the updates of the devices were worth until now: from here on, they are chosen by that."""
        policy = self._setup.config.server.contribution.policy
        self._standings, self._wanted_counts = standings, policies(policy, standings)

    def _counts_among(self, enrolled: set[str]) -> dict[str, Standing]:
        """Nobody is excluded where too few would be left for any round: that is said, once while it is so."""
        out = {name for name, one in self._wanted_counts.items() if one.factor == 0.0} & enrolled
        left = enrolled - out - self.refused.keys()
        if not out or len(left) >= self._rules.least(self._rules.needed):
            self._spared = set()
            return self._wanted_counts
        if out != self._spared:
            logger.warning("without %s too few devices are left: nobody is excluded", sorted(out))
        self._spared = out
        return {name: one for name, one in self._wanted_counts.items() if name not in out}

    # --- waiting ---------------------------------------------------------------------------------

    def gather(
        self, collection: Collection, say: Callable[[str, int, float | None], None]
    ) -> dict[str, Candidate]:
        """Wait until there are enough clients: all that the round wants, or fewer after a while.

        Returns those available, by name. ``say`` is told why it waits, for how many clients in all, and after
        how many seconds it begins with those that are there, if it does.

        Raises:
            RunFailed: there were too few for too long.
        """
        policy, begin = self._rules.policy, time.monotonic()
        while True:
            ready = self.available()
            present = ready.keys() | collection.answers.updates.keys()
            needed, waited = self._needed(), time.monotonic() - begin
            least = self._rules.least(needed)
            why = why_waiting(needed, present, self._candidates, self._not_training())
            late = waited >= policy.start_grace_seconds or needed - len(present) <= self._short
            if len(present) >= needed or (late and len(present) >= least):
                self._note_short(needed - len(present), why)
                return ready
            left = max(policy.start_grace_seconds - waited, 0.0)
            say(why, needed, left if len(present) >= least else None)
            if waited > policy.wait_seconds:
                text = f"gave up after {policy.wait_seconds:.0f} s: {why}"
                raise RunFailed(FailureReason.TOO_FEW_CLIENTS, text)
            collection.look(_LOOK_SECONDS)

    def _note_short(self, short: int, why: str) -> None:
        """A round begins with so many clients fewer than it wants: the next waits for them no more."""
        if short > 0 and short != self._short:
            logger.warning("%s; the round begins without", why)
        self._short = max(short, 0)

    def _needed(self) -> int:
        """How many clients there must be. A device that refuses will not come: nobody waits for it.

        Raises:
            RunFailed: without those that refuse there are too few for any round.
        """
        needed = self._rules.needed
        enrolled = {candidate.device for candidate in self._candidates}
        aside = self._not_training()
        willing = enrolled - aside.keys()
        if len(enrolled) < needed or len(willing) >= needed:
            return needed
        least = self._rules.least(len(willing))
        if len(willing) < least:
            who = "; ".join(f"{n}: {aside[n]}" for n in sorted(enrolled - willing))
            text = (
                f"{len(willing)} of {len(enrolled)} devices take part, a round needs {least}: {who}"
            )
            raise RunFailed(FailureReason.APP_ERROR, text[:4_000])
        return len(willing)

    def gather_in(self, seconds: float, collection: Collection) -> dict[str, Candidate]:
        """Those available once there are enough for a round, or after so long however few."""
        timeout = Timeout(seconds)
        while True:
            ready = self.available()
            aside = self._not_training()
            willing = [c for c in self._candidates if c.device not in aside]
            needed = min(self._rules.needed - self._short, len(willing))
            if len(ready) >= needed or timeout.is_over:
                return ready
            collection.look(_LOOK_SECONDS)

    def available(self) -> dict[str, Candidate]:
        """The devices that can be asked to train now."""
        reply = self._link.ask(lambda api: api.candidates())
        heed(reply.command)
        self.counts = self._counts_among({one.device for one in reply.candidates})
        self._candidates = [
            with_standing(candidate, self._standings, self.counts) for candidate in reply.candidates
        ]
        return {
            name: candidate
            for name, candidate in self._reachable().items()
            if not self.only_evaluates(candidate)
        }

    def evaluating(self) -> dict[str, Candidate]:
        """Those that could be asked when it was looked last, and that evaluate only."""
        found = self._reachable().items()
        return {name: candidate for name, candidate in found if self.only_evaluates(candidate)}

    def only_evaluates(self, candidate: Candidate) -> bool:
        """By its own word where it said so, else by what it answered in this run."""
        if candidate.evaluates_only is not None:
            return candidate.evaluates_only
        return candidate.device in self.without_examples

    def _reachable(self) -> dict[str, Candidate]:
        return {name: found for name, found in self.known.items() if found.unavailable is None}

    def _not_training(self) -> dict[str, str]:
        """Device -> why it is not waited for."""
        evaluating = [c.device for c in self._candidates if self.only_evaluates(c)]
        excluded = {name: one.reason for name, one in self.counts.items() if one.factor == 0.0}
        return {**excluded, **dict.fromkeys(evaluating, EVALUATES_ONLY), **self.refused}

    @property
    def known(self) -> dict[str, Candidate]:
        """All devices of the run that may take part, available or not, when it was looked last."""
        return {c.device: c for c in self._candidates if c.device not in self.refused}

    @property
    def _trainable(self) -> int:
        """How many of them may train."""
        return sum(not self.only_evaluates(candidate) for candidate in self.known.values())

    @property
    def announced(self) -> list[int]:
        """How many examples those said that they have who have any."""
        return [c.examples for c in self._candidates if c.examples]

    # --- choosing --------------------------------------------------------------------------------

    def call(
        self,
        round_: int,
        retry: int,
        ready: Mapping[str, Candidate],
        collection: Collection,
        orders: Orders,
        model: GlobalModel,
    ) -> int:
        """Ask as many clients as it takes, besides those that replied or are at it.

        Returns how many could have been asked, those that replied before included.
        """
        rng = np.random.default_rng(draw_seed(self._setup.spec.seed, round_, retry))
        available = len(ready.keys() | collection.answers.updates.keys())
        invited, first = self._rules.invited(available), self._setup.spec.first_round
        ahead = RoundAhead(round_, self._trainable, invited, first)
        choice = self._choose(ready, collection, ahead, rng)
        chosen = dict(sorted(choice.chosen.items()))
        if not chosen and collection.devices:
            return available
        told = self.configure(round_, model, [ready[name] for name in chosen])
        names = [name for name in chosen if name in told]
        alone = self._only_evaluating(len(names), available, collection, orders, rng)
        evaluators = self.evaluators(names, available, collection, rng, len(alone))
        invitations = alone | {
            name: Invitation(
                int(ready[name].node_id),
                orders.of(
                    evaluate=name in evaluators,
                    told=told[name],
                    retry=collection.next_retry(name),
                ),
                chosen[name],
            )
            for name in names
        }
        self.announce(round_, invitations, collection, choice, retry)
        return available

    def configure(
        self, round_: int, model: GlobalModel, chosen: Sequence[Candidate]
    ) -> dict[str, dict[str, ConfigValue]]:
        """What the strategy tells each of the devices that it wants."""
        nodes = {int(candidate.node_id): candidate.device for candidate in chosen}
        told = self._setup.strategy.configure(round_, model.averaged, list(nodes))
        return {nodes[node]: values for node, values in told.items()}

    def announce(
        self,
        round_: int,
        invitations: Mapping[str, Invitation],
        collection: Collection,
        choice: Choice | None = None,
        retry: int = 0,
    ) -> None:
        """Let the round begin with these, or go on with them too: who is at it already stays so.

        ``choice``: what was decided on each candidate just now.
        """
        seconds = self._rules.policy.deadline_seconds
        chosen = {name: invitation.reason for name, invitation in invitations.items()}
        asked = {**collection.held, **invitations}
        body = RoundBegin(
            selected={**collection.reasons, **chosen},
            offers=collection.instructions.batch(asked, seconds, round_),
            decisions=self._decisions(choice) if choice else [],
            retry=retry,
        )
        made = self._link.ask(lambda api: api.begin_round(round_, body)).assignments
        reached("engine.round.begun")
        collection.note(invitations, made)
        reached("engine.asked")

    def _decisions(self, choice: Choice) -> list[SelectionDecision]:
        """One for each candidate, those included that nobody could choose."""
        absent = [
            SelectionDecision(device=name, chosen=False, reason=f"not available: {one.unavailable}")
            for name, one in sorted(self.known.items())
            if one.unavailable is not None
        ]
        return [*choice.decisions(), *absent]

    def _choose(
        self,
        ready: Mapping[str, Candidate],
        collection: Collection,
        ahead: RoundAhead,
        rng: np.random.Generator,
    ) -> Choice:
        """Who is to be asked now, with the reason: first who was not asked yet, last who works elsewhere."""
        settled = {*collection.answers.updates, *(d for d in collection.present if d in ready)}
        taken, tried = {*settled, *collection.outstanding}, set(collection.devices)
        pool = [candidate for name, candidate in ready.items() if name not in taken]
        free = [candidate for candidate in pool if candidate.busy_with is None]
        pools = [
            [candidate for candidate in free if candidate.device not in tried],
            [candidate for candidate in free if candidate.device in tried],
            [candidate for candidate in pool if candidate.busy_with is not None],
        ]
        return draw_clients(self._selector, pools, ahead.clients - len(settled), ahead, rng)

    def _only_evaluating(
        self,
        training: int,
        available: int,
        collection: Collection,
        orders: Orders,
        rng: np.random.Generator,
    ) -> dict[str, Invitation]:
        """Those asked now that have nothing to train on: of all that evaluate, they come first."""
        ready = self.evaluating()
        fresh = [candidate for name, candidate in sorted(ready.items()) if name not in collection]
        if not fresh:
            return {}
        everyone = training + len(collection.devices) + len(fresh)
        count = self._setup.strategy.numbers.evaluators(available + len(ready), everyone)
        chosen = rng.permutation(len(fresh))[: max(0, count - collection.evaluators)]
        return {fresh[i].device: orders.to_evaluate(int(fresh[i].node_id)) for i in sorted(chosen)}

    def evaluators(
        self,
        names: Sequence[str],
        available: int,
        collection: Collection,
        rng: np.random.Generator,
        alone: int = 0,
    ) -> set[str]:
        """Those of the newly asked who evaluate the model before they train on it.

        ``alone``: how many are asked beside them to evaluate only.
        """
        everyone = len(names) + len(collection.devices) + alone
        count = self._setup.strategy.numbers.evaluators(available + alone, everyone)
        order = rng.permutation(len(names))
        return {names[i] for i in order[: max(0, count - collection.evaluators - alone)]}
