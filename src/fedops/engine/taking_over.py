"""Going on with a round that an earlier attempt began: nobody is chosen again, nothing is trained twice."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from fedops.core.contracts import CancelRequest, OpenAssignment, OpenRound
from fedops.core.contracts.training import EVALUATE, TRAIN, ConfigValue
from fedops.core.seeds import draw_seed
from fedops.core.states import ASSIGNMENT_OPEN
from fedops.engine.collecting import Collection
from fedops.engine.global_model import GlobalModel
from fedops.engine.instructions import Invitation, Orders, same_work
from fedops.engine.link.server_link import ServerLink
from fedops.engine.recruiting import Recruiter

logger = logging.getLogger("fedops.engine")

Told = Mapping[str, Mapping[str, ConfigValue]]


class TakeOver:
    """One open round, and what is needed to adopt it."""

    def __init__(
        self, open_: OpenRound, recruiter: Recruiter, link: ServerLink, orders: Orders, seed: int
    ) -> None:
        self._seed = seed
        self._open = open_
        self._recruiter = recruiter
        self._link = link
        self._orders = orders
        self._tries = _newest(open_)

    @property
    def retry(self) -> int:
        """The try of the round that was going on."""
        return max((one.retry for one in self._tries.values()), default=0)

    def adopt(self, collection: Collection, model: GlobalModel) -> tuple[int, bool]:
        """Take over selection and assignments, and ask those who have to be asked (again) and can be.

        Returns how many clients there were to choose from, and whether some were asked just now.
        """
        ready, known = self._recruiter.available(), self._recruiter.known
        alone = self._evaluating()
        names = sorted((self._open.selected.keys() & known.keys()) - alone)
        told: Told = self._recruiter.configure(
            self._open.round, model, [known[name] for name in names]
        )
        for device, assignment in self._tries.items():
            node = int(known[device].node_id) if device in known else 0
            collection.adopt(device, self._invitation(assignment, node, told), assignment)
        changed = self._changed(collection, told)
        wanted = {*changed, *(name for name in names if name not in self._tries and name in told)}
        away = {name: why for name in sorted(wanted) if (why := known[name].unavailable)}
        available = len(ready.keys() | (self._open.selected.keys() - alone - away.keys()))
        missing = [n for n in names if n in wanted and n not in changed and n not in away]
        evaluators = self._recruiter.evaluators(missing, available, collection, self._rng())
        evaluators |= {device for device in changed if self._tries[device].evaluates}
        fresh = {
            name: self._anew(name, int(known[name].node_id), told, collection, evaluators)
            for name in sorted(wanted)
        }
        logger.info(
            "round %d goes on: %d of %d clients were asked before",
            self._open.round,
            len(self._tries),
            len(names),
        )
        self._cancel(changed)
        again = {name: fresh[name] for name in fresh.keys() - away.keys()}
        for name, why in away.items():
            collection.leave_out(name, fresh[name], why)
        if again:
            self._recruiter.announce(self._open.round, again, collection)
        return max(available, 1), bool(again)

    def _evaluating(self) -> set[str]:
        """Those that were asked to evaluate only, or would be now."""
        asked = {name for name, one in self._tries.items() if one.kind == EVALUATE}
        known = self._recruiter.known.items()
        fresh = {name for name, one in known if self._recruiter.only_evaluates(one)}
        return asked | (fresh - self._tries.keys())

    def _invitation(self, assignment: OpenAssignment, node: int, told: Told) -> Invitation:
        if assignment.kind == EVALUATE:
            return self._orders.to_evaluate(node, assignment.retry)
        device = assignment.device
        order = self._orders.of(
            evaluate=assignment.evaluates, told=told.get(device, {}), retry=assignment.retry
        )
        reason = assignment.selection or self._open.selected.get(device, "")
        return Invitation(node, order, reason)

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(draw_seed(self._seed, self._open.round, self.retry))

    def _anew(
        self, device: str, node: int, told: Told, collection: Collection, evaluators: set[str]
    ) -> Invitation:
        order = self._orders.of(
            evaluate=device in evaluators,
            told=told[device],
            retry=collection.next_retry(device),
        )
        return Invitation(node, order, self._open.selected[device])

    def _changed(self, collection: Collection, told: Told) -> list[str]:
        """Those who hold an order that the strategy would not give now."""
        return [
            device
            for device, assignment in self._tries.items()
            if assignment.status in ASSIGNMENT_OPEN
            and assignment.instruction is not None
            and device in told
            and not same_work(
                collection.instructions.document(collection.order_of(device)),
                self._open.instructions[assignment.instruction],
            )
        ]

    def _cancel(self, changed: list[str]) -> None:
        if not changed:
            return
        logger.warning(
            "round %d: the strategy asks for something else than before: %d clients are asked anew",
            self._open.round,
            len(changed),
        )
        reason = "the strategy asks for something else since the FL server started again"
        body = CancelRequest(ids=[self._tries[device].id for device in changed], reason=reason)
        self._link.ask(lambda api: api.cancel(body))


def _newest(open_: OpenRound) -> dict[str, OpenAssignment]:
    """The last try of each device, by device: it trains or evaluates."""
    ordered = sorted(open_.assignments, key=lambda one: one.retry)
    return {one.device: one for one in ordered if one.kind in (TRAIN, EVALUATE)}
