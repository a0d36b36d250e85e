"""``ClientEvaluator``: the models of a round's coalitions, evaluated by its clients between their rounds.

Each client is asked for the model of all and for those without each of the others, as assignments of their
round. They are durable, as all assignments are: who goes on with the run is told what is over, and asks for
the rest.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedops.core.contracts import BlobRef, CancelRequest, Delivery, Encoding, OfferBatch
from fedops.core.contracts.training import coalition_kind, is_coalition_kind
from fedops.core.errors import FedOpsError, Invalid
from fedops.core.reasons.durations import pluralised
from fedops.core.states import AssignmentStatus
from fedops.engine.global_model import GlobalModel
from fedops.engine.instructions import Instructions, ModelBlobs, Orders
from fedops.engine.link.blob_files import BlobFiles
from fedops.engine.link.server_link import ServerLink
from fedops.engine.run_setup import Setup
from fedops.engine.scoring.scorer import (
    Evaluated,
    Evaluations,
    ModelFile,
    ScoringFailed,
    ScoringJob,
)
from fedops.engine.scoring.scoring_plan import (
    CLIENTS,
    DIRECTIONS,
    LEAST_CLIENTS,
    OFF,
    slowest_but_one,
)
from fedops.engine.update_checks import (
    CheckedUpdate,
    ClientRefused,
    ExpectedUpdate,
    accept_update,
    max_bytes_of,
)
from fedops.failpoints import reached

logger = logging.getLogger("fedops.engine")

#: Once the scores are waited for, nothing may come for so long: this, this share of what the clients of a
#: round have, what the scoring may take, or so many times what a model takes a client. Seconds.
PATIENCE_SECONDS, PATIENCE_SHARE, PATIENCE_MODELS = 30.0, 0.1, 3.0
_LOOK_SECONDS = 1.0
_DELIVERED = (AssignmentStatus.UPLOADED, AssignmentStatus.CHECKED)
#: What is made a utility, in this order, and its sign.
_MEASURES = (("loss", -1.0), ("accuracy", 1.0))
_Key = tuple[str, str]


def evaluator_of(setup: Setup, link: ServerLink) -> AskedClients | None:
    """Who has the clients of a run evaluate; None: its config does not want that."""
    rules = setup.config.server.contribution
    if rules.utility != CLIENTS or rules.method == OFF or setup.spec.replays is not None:
        return None
    return AskedClients(setup, link)


@dataclass(frozen=True)
class _Answer:
    """What one client measured, model by model; None: it was not asked for that one."""

    models: Sequence[CheckedUpdate | None]

    def has(self, name: str) -> bool:
        return any(one is not None and name in _metrics(one) for one in self.models)

    def of(self, name: str, sign: float) -> Evaluated:
        """A model whose metric is missing, since it is no number, is as bad as can be."""
        found = [
            None if one is None else sign * _metrics(one).get(name, sign * -math.inf)
            for one in self.models
        ]
        first = self.models[0]
        assert first is not None
        assert first.evaluated is not None
        return Evaluated(found, first.evaluated.examples)

    @property
    def seconds(self) -> list[float]:
        return [one.header.evaluate_seconds for one in self.models if one is not None]


def _metrics(one: CheckedUpdate) -> Mapping[str, float]:
    return one.evaluated.metrics if one.evaluated else {}


class AskedClients:
    """One round at a time. ``evaluate`` runs in a thread of its own; the others are called beside it."""

    def __init__(self, setup: Setup, link: ServerLink) -> None:
        self._setup = setup
        self._link = link
        self._files = BlobFiles(link, setup.spool, setup.spec.blobs_dir)
        self._contract = setup.model.contract
        self._patience = max(
            PATIENCE_SECONDS,
            PATIENCE_SHARE * setup.rules.policy.deadline_seconds,
            setup.config.server.contribution.max_seconds or 0.0,
        )
        preferred = Encoding(setup.config.exchange.encoding)
        self._encodings: list[str] = [preferred, *(e for e in Encoding if e is not preferred)]
        self._changed = threading.Condition()
        #: Round -> device and kind -> what became of it.
        self._over: dict[int, dict[_Key, Delivery]] = {}
        self._begun = setup.spec.next_round - 1
        self._awaited: dict[int, float] = {}
        self._last_came = 0.0
        self._closed = False

    # --- from the rounds -------------------------------------------------------------------------

    def take(self, delivery: Delivery) -> bool:
        """Keep it until its round is scored."""
        if delivery.round is None or not is_coalition_kind(delivery.kind):
            return False
        with self._changed:
            key = (delivery.device, delivery.kind)
            self._over.setdefault(delivery.round, {})[key] = delivery
            self._last_came = time.monotonic()
            self._changed.notify_all()
        return True

    def begun(self, round_: int) -> None:
        with self._changed:
            self._begun = max(self._begun, round_)
            self._changed.notify_all()

    def awaited(self, round_: int) -> None:
        with self._changed:
            self._awaited.setdefault(round_, time.monotonic())
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # --- one round -------------------------------------------------------------------------------

    def evaluate(self, job: ScoringJob, build: Callable[[], list[ModelFile]]) -> Evaluations:
        devices = [one.device for one in job.updates]
        asked = {
            (device, coalition_kind(number))
            for own, device in enumerate(devices)
            for number in range(len(devices) + 1)
            if number != own + 1  # none says what it is worth itself
        }
        if missing := asked - self._known(job.round).keys():
            models = self._stored(build(), {kind for _, kind in missing})
            ids = self._offer(job.round, missing, models)
            self._wait(job, asked, ids)
        found = self._known(job.round)
        with self._changed:
            later = {number for number in self._over if number > job.round}
            self._over = {number: self._over[number] for number in later}
            self._awaited.pop(job.round, None)
        return self._evaluations(job, devices, asked, found)

    def _known(self, round_: int) -> dict[_Key, Delivery]:
        with self._changed:
            return dict(self._over.get(round_, {}))

    def _stored(self, models: Sequence[ModelFile], kinds: set[str]) -> dict[int, Instructions]:
        """Those that are asked for, in the store, with what clients are told of them; by their number."""
        found = {}
        for number, one in enumerate(models):
            if coalition_kind(number) in kinds:
                ref: BlobRef = self._files.hand_over(one.path, one.sha256)
                model = GlobalModel(one.path, one.sha256, self._contract)
                found[number] = Instructions(ModelBlobs(model, ref), self._encodings)
            one.path.unlink(missing_ok=True)
        return found

    def _offer(
        self, round_: int, missing: set[_Key], models: Mapping[int, Instructions]
    ) -> dict[str, _Key]:
        """Ask, once the next round's clients have their work: that comes first. Returns what was made."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._begun > round_)
            self._require_open()
        orders = Orders(self._setup, round_, "")
        seconds = self._setup.rules.policy.deadline_seconds
        made: dict[str, _Key] = {}
        for number, instructions in models.items():
            kind = coalition_kind(number)
            invitation = orders.to_evaluate_coalition(number)
            asked = {device: invitation for device, one in sorted(missing) if one == kind}
            if asked:
                batch = instructions.batch(asked, seconds, round_)
                made |= {id_: (device, kind) for device, id_ in self._made(batch).items()}
        return made

    def _made(self, batch: OfferBatch) -> dict[str, str]:
        found = self._link.ask(lambda api: api.offer(batch)).assignments
        reached("engine.evaluations.offered")
        return found

    def _wait(self, job: ScoringJob, asked: set[_Key], ids: Mapping[str, _Key]) -> None:
        """Until all is over, or nothing comes any more."""
        patience = max(self._patience, PATIENCE_MODELS * job.each)
        while True:
            with self._changed:
                self._require_open()
                left = asked - self._over.get(job.round, {}).keys()
                if not left or self._silent_for(job.round) > patience:
                    break
                self._changed.wait(_LOOK_SECONDS)
        if open_ := sorted(id_ for id_, key in ids.items() if key in left):
            logger.warning("round %d is scored without %d evaluations", job.round, len(open_))
            body = CancelRequest(ids=open_, reason="its round is scored without it")
            self._link.ask(lambda api: api.cancel(body))

    def _silent_for(self, round_: int) -> float:
        """How long the scores are waited for and nothing came. Seconds."""
        since = self._awaited.get(round_)
        return 0.0 if since is None else time.monotonic() - max(since, self._last_came)

    def _require_open(self) -> None:
        if self._closed:
            raise ScoringFailed("the attempt is over")

    # --- what came -------------------------------------------------------------------------------

    def _evaluations(
        self,
        job: ScoringJob,
        devices: Sequence[str],
        asked: set[_Key],
        found: Mapping[_Key, Delivery],
    ) -> Evaluations:
        answers: dict[str, _Answer] = {}
        out: dict[str, str] = {}
        for device in devices:
            try:
                answers[device] = self._answer(job.round, device, len(devices), asked, found)
            except Invalid as why:
                out[device] = str(why)
        seconds = {device: answer.seconds for device, answer in answers.items()}
        each = slowest_but_one(max(one) for one in seconds.values())
        for name, sign in _measures_of(job.history):
            able = [device for device, answer in answers.items() if answer.has(name)]
            if len(able) >= LEAST_CLIENTS:
                out |= dict.fromkeys(answers.keys() - able, f"it reports no '{name}' of any model")
                return Evaluations(
                    {device: answers[device].of(name, sign) for device in able},
                    _note(name, able, out),
                    slowest_but_one(sum(seconds[device]) for device in able),
                    each,
                    name,
                )
        return Evaluations({}, _too_few(answers, out, job.history), 0.0, each)

    def _answer(
        self,
        round_: int,
        device: str,
        players: int,
        asked: set[_Key],
        found: Mapping[_Key, Delivery],
    ) -> _Answer:
        """``Invalid``: with what is wrong, or missing."""
        models: list[CheckedUpdate | None] = []
        for number in range(players + 1):
            key = (device, coalition_kind(number))
            models.append(self._checked(round_, found.get(key), number) if key in asked else None)
        return _Answer(models)

    def _checked(self, round_: int, delivery: Delivery | None, number: int) -> CheckedUpdate:
        if delivery is None or delivery.status is AssignmentStatus.EXPIRED:
            raise Invalid("it did not answer in time")
        if delivery.status not in _DELIVERED:
            raise Invalid(delivery.reason or f"its assignment is {delivery.status.value}")
        folder = self._setup.spool / f"round-{round_:05}"
        path = folder / f"{delivery.device}-coalition-{number}.safetensors"
        expected = ExpectedUpdate(
            delivery.device, self._setup.spec.run_id, round_, self._contract, trains=False
        )
        try:
            file = self._files.update(delivery, path, max_bytes_of(self._contract))
            checked = accept_update(file, expected, 0)
        except ClientRefused as why:
            raise Invalid(f"it refused: {why}") from None
        except FedOpsError as error:
            raise Invalid(error.message) from None
        if checked.evaluated is None:
            raise Invalid("it has no validation data")
        return checked


def _measures_of(history: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    """What may be a utility: one history is of one metric."""
    fixed = [(name, sign) for name, sign in _MEASURES if name == history.get("metric")]
    return fixed or _MEASURES


def _note(name: str, able: Sequence[str], out: Mapping[str, str]) -> str:
    said = f"the {name} as {pluralised(len(able), 'client')} measured it on their own data"
    return "; ".join([said, *_left_out(out)])


def _too_few(
    answers: Mapping[str, _Answer], out: Mapping[str, str], history: Mapping[str, Any]
) -> str:
    if len(answers) >= LEAST_CLIENTS:
        if metric := history.get("metric"):
            of = f"fewer than {LEAST_CLIENTS} clients report the {metric}, which the history is of"
            return f"{of}, {DIRECTIONS}"
        return f"the app's evaluation gives neither 'loss' nor 'accuracy', {DIRECTIONS}"
    few = f"{pluralised(len(answers), 'client')} evaluated all models, and it takes {LEAST_CLIENTS}"
    return "; ".join([f"{few}, {DIRECTIONS}", *_left_out(out)])


def _left_out(out: Mapping[str, str]) -> list[str]:
    return [f"without {device}: {why[:200]}" for device, why in sorted(out.items())]
