"""One client's part of a round: evaluate the model it received, train it, say how it went.

Model and data stay loaded between rounds. What depends on earlier rounds is kept by run and round, so
that an order that comes again gets the same answer.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from fedops.algorithms.clipping import clip_update
from fedops.config.loading import to_plain
from fedops.config.schema import Config
from fedops.core.contracts import ExchangeRule, ParameterContract
from fedops.core.contracts.training import (
    EVALUATE,
    MAX_METRIC,
    MAX_METRIC_NAME,
    MAX_METRICS,
    ClientMetrics,
    TrainingOrder,
    UpdateHeader,
    beyond_limits,
)
from fedops.core.errors import Forbidden, Invalid
from fedops.core.seeds import client_seed
from fedops.core.states import ProcessStatus
from fedops.failpoints import reached
from fedops.scalize.adapter.protocol import (
    ModelAdapter,
    OnAccelerator,
    TrainContext,
    WarmsUp,
)
from fedops.scalize.flow.datasets import DataSplit
from fedops.storage.tensors import Tensors
from fedops.trainer.checkpoint_restore import restore
from fedops.trainer.device_context import Device, RoundMoment
from fedops.trainer.kept_state import KeptState
from fedops.trainer.readiness import explain_missing, known_count, load_batch

logger = logging.getLogger("fedops.training")

#: Keys of the config that change neither a client's model nor its data.
_ELSEWHERE = ("clients_per_round", "num_rounds", "server", "task_id", "wandb", "xai")
#: So strategies call the bound to clip updates to, and the client's word on whether it did.
CLIPPING_NORM, NORM_BIT = "clipping_norm", "norm_bit"


class ClientProject(Protocol):
    """What a client asks of a project: ``scalize.project.Project``."""

    @property
    def config(self) -> Config: ...
    def with_config(self, plain: Mapping[str, Any]) -> Self: ...
    def make_adapter(self, seed: int) -> ModelAdapter: ...
    def load_data(self) -> DataSplit: ...
    def forget_data(self) -> None: ...


class CannotTakePart(Exception):
    """This device cannot take part in the run. The text goes to the server."""


@dataclass(frozen=True)
class LocalUpdate:
    """What a client answers. Without tensors: it refused, or was asked to evaluate only."""

    header: UpdateHeader
    tensors: Tensors | None = None
    trained: ClientMetrics | None = None
    evaluated: ClientMetrics | None = None


@dataclass
class _Warm:
    """A model that stays loaded, and what a run begins with on this device."""

    key: str
    adapter: ModelAdapter
    kept: KeptState

    @classmethod
    def build(cls, key: str, project: ClientProject, seed: int) -> _Warm:
        adapter = project.make_adapter(seed)
        return cls(key, adapter, KeptState.of(adapter))


@dataclass
class _Work:
    """All that one order needs."""

    order: TrainingOrder
    config: Config
    adapter: ModelAdapter
    data: DataSplit
    received: Tensors
    #: All that training begins with: what was received, and what stays on the device.
    first: Tensors

    def context(self, device: Device) -> TrainContext:
        return TrainContext(
            round=self.order.round,
            seed=client_seed(self.order.run_seed, device.name, self.order.round),
            epochs=self.config.num_epochs,
            batch_size=self.config.batch_size,
            learning_rate=self.config.learning_rate,
            proximal_mu=self.order.number("proximal-mu"),
            settings=to_plain(self.config),
            cancelled=device.cancelled,
            on_epoch=device.report.epoch,
        )

    def training_context(self, device: Device) -> TrainContext:
        """The same for training, which may go on where it was interrupted."""
        context = self.context(device)
        about = json.dumps(
            [
                self.adapter.contract.fingerprint,
                self.data.examples,
                context.seed,
                context.epochs,
                context.batch_size,
                context.learning_rate,
                context.proximal_mu,
            ]
        )
        return replace(context, checkpoints=device.epochs.open(device.work_key, about))


class LocalTrainer:
    """Does one device's part of rounds, one at a time."""

    def __init__(self, project: ClientProject, device: Device) -> None:
        self._project = project
        self._device = device
        self._warm: _Warm | None = None
        #: The data of which a batch was loaded.
        self._tried: DataSplit | None = None
        self._said = ""
        self._said_to_evaluate = False

    def warm_up(self) -> None:
        """Load the model of the app as it is configured here, so that the first order finds it."""
        seed = self._project.config.random_seed
        adapter = self._warm_model(self._project, seed).adapter
        restore(adapter, self._device.memory, seed)
        if isinstance(adapter, WarmsUp):
            adapter.warm_up()

    def try_out(self, plain: Mapping[str, Any] | None = None) -> ParameterContract:
        """Make ready what a round under this config needs, and keep it loaded. None: as configured here.

        Returns the model's contract.

        Raises:
            FedOpsError: it cannot be done, with what to do.
        """
        project = self._project if plain is None else self._project.with_config(plain)
        config = project.config
        adapter = self._warm_model(project, config.random_seed).adapter
        data = self._load_data(project)
        if data is not self._tried:  # once: a data set may have a generator of its own
            load_batch(data, config.batch_size)
            self._tried = data
        self._device.explanations.try_out(config, adapter, data)
        return adapter.contract

    def forget_data(self) -> None:
        """What the data lies in has changed, or training on it failed: load it anew."""
        self._project.forget_data()
        self._tried = None

    def __call__(self, order: TrainingOrder, received: Tensors, kind: str) -> LocalUpdate:
        """The answer. ``kind``: train (and evaluate, if the order says so) or evaluate.

        Raises:
            Cancelled: the device was told to stop. Whatever else goes wrong in training is raised too.
        """
        head = UpdateHeader(self._device.name, order.run_id, order.attempt, order.round, "")
        trains = kind != EVALUATE
        try:
            work = self._prepare(order, received, trains)
        except CannotTakePart as why:
            self._event("refused", str(why), order)
            return LocalUpdate(replace(head, refused=str(why)))
        head = replace(
            head, fingerprint=work.adapter.contract.fingerprint, dataset=work.data.dataset
        )
        evaluated, head = self._evaluate(work, head, trains)
        if trains and not work.data.examples:
            return LocalUpdate(replace(head, evaluates_only=True), evaluated=evaluated)
        if not trains:
            return LocalUpdate(head, evaluated=evaluated)
        trained, tensors, head = self._train(work, head)
        return LocalUpdate(head, tensors, trained, evaluated)

    # --- before ----------------------------------------------------------------------------------

    def _prepare(self, order: TrainingOrder, received: Tensors, trains: bool) -> _Work:
        """Make model and data ready, and compare them with the run's.

        Raises:
            CannotTakePart: they are not what the run is about, or cannot be had.
        """
        try:
            project = self._project.with_config(order.config)
            adapter = self._warm_model(project, order.run_seed).adapter
            data = self._load_data(project)
            _compare(order, adapter, data)
            self._device.explanations.prepare(project.config, adapter, data)
        except (Invalid, Forbidden) as error:
            raise CannotTakePart(str(error)) from None
        assert self._warm is not None
        memory, before = self._device.memory, order.round - trains
        own = self._warm.kept.restore(adapter, memory, order.task, order.run_id, before)
        first = {**received, **own}
        adapter.set_tensors(first)
        return _Work(order, project.config, adapter, data, received, first)

    def _load_data(self, project: ClientProject) -> DataSplit:
        try:
            data = project.load_data()
        except Invalid as error:
            raise explain_missing(project.config, error) from None
        held_out = known_count(data.validation)
        self._device.report.describe(training_examples=data.examples, validation_examples=held_out)
        if not data.examples and not self._said_to_evaluate:
            self._said_to_evaluate = True
            text = f"this device has no training example of '{data.dataset}': it evaluates only"
            logger.info("%s", text)
            self._device.report.event("evaluates_only", text)
        return data

    def _warm_model(self, project: ClientProject, seed: int) -> _Warm:
        plain = {k: v for k, v in to_plain(project.config).items() if k not in _ELSEWHERE}
        key = json.dumps([seed, plain], sort_keys=True)
        if self._warm is None or self._warm.key != key:
            self._warm = None
            self._warm = _Warm.build(key, project, seed)
            self._tell_accelerator(self._warm.adapter)
        return self._warm

    def _tell_accelerator(self, adapter: ModelAdapter) -> None:
        """Say where the model is computed, and once why it is not where it was asked for."""
        if not isinstance(adapter, OnAccelerator):
            return
        used, report = adapter.accelerator, self._device.report
        report.describe(accelerator=used.name, accelerator_problem=used.problem)
        if used.problem and used.problem != self._said:
            logger.warning("%s", used.problem)
            report.event("accelerator_replaced", used.problem)
        self._said = used.problem

    # --- the work --------------------------------------------------------------------------------

    def _evaluate(
        self, work: _Work, head: UpdateHeader, trains: bool
    ) -> tuple[ClientMetrics | None, UpdateHeader]:
        """The received model's metrics on this device's validation data, if it has any."""
        if work.data.validation is None or not work.order.evaluate:
            return None, head
        begin = time.monotonic()
        self._say(ProcessStatus.EVALUATING, work.order)
        result = work.adapter.evaluate(work.data.validation, work.context(self._device))
        seconds = time.monotonic() - begin
        if result.examples <= 0:
            return None, head
        metrics = {f"eval_{name}": value for name, value in result.metrics.items()}
        # They are of the round that made the model: before training that is the last one.
        self._report(metrics, work.order, work.order.round - trains)
        measured = ClientMetrics(result.examples, _within_limits(result.metrics))
        return measured, replace(head, evaluate_seconds=seconds)

    def _train(
        self, work: _Work, head: UpdateHeader
    ) -> tuple[ClientMetrics, Tensors, UpdateHeader]:
        order, adapter = work.order, work.adapter
        explanations = self._device.explanations
        explanations.received(RoundMoment(order.run_id, order.round, adapter, work.first))
        begin = time.monotonic()
        self._say(ProcessStatus.TRAINING, order)
        context = work.training_context(self._device)
        context.on_epoch(0, context.epochs)
        result = adapter.train(work.data.train, context)
        seconds = time.monotonic() - begin
        logger.info(
            "round %d of run %d: trained on %d examples in %.2f s: %s",
            order.round,
            order.run_id,
            result.examples,
            seconds,
            {name: round(value, 4) for name, value in result.metrics.items()},
        )
        tensors = adapter.get_tensors()
        reached("client.trained")
        self._keep(order, tensors)
        reached("client.kept")
        explanations.trained(RoundMoment(order.run_id, order.round, adapter, tensors))
        metrics = {f"train_{name}": value for name, value in result.metrics.items()}
        self._report(metrics, order, order.round)
        update = {spec.name: tensors[spec.name] for spec in adapter.contract.federated}
        clipped = _clip(update, work)
        return (
            ClientMetrics(result.examples, _within_limits({**metrics, **clipped})),
            update,
            replace(head, train_seconds=seconds),
        )

    def _keep(self, order: TrainingOrder, tensors: Tensors) -> None:
        assert self._warm is not None
        memory, warm = self._device.memory, self._warm
        warm.kept.keep(warm.adapter, tensors, memory, order.run_id, order.round)
        memory.save_checkpoint(order.task, order.run_id, order.round, tensors)

    # --- saying so -------------------------------------------------------------------------------

    def _say(self, status: ProcessStatus, order: TrainingOrder) -> None:
        self._device.report.working(status, order.task, order.run_id, order.round)

    def _event(self, name: str, text: str, order: TrainingOrder) -> None:
        self._device.report.event(name, text, run_id=order.run_id, round=order.round)

    def _report(self, metrics: Mapping[str, float], order: TrainingOrder, round_: int) -> None:
        for name, value in metrics.items():
            if order.reports and math.isfinite(value):
                self._device.report.metric(name, float(value), order.run_id, round_)


def _within_limits(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that a reply may hold. What it leaves out is said."""
    fitting = {name: value for name, value in metrics.items() if not beyond_limits(name, value)}
    kept = dict(list(fitting.items())[:MAX_METRICS])
    left_out = [name for name in metrics if name not in kept]
    if left_out:
        logger.warning(
            "%d metrics are left out, the first of them %r: a reply holds at most %d, with names of at most"
            " %d printable characters and values up to %g",
            len(left_out),
            left_out[0][:60],
            MAX_METRICS,
            MAX_METRIC_NAME,
            MAX_METRIC,
        )
    return kept


def _compare(order: TrainingOrder, adapter: ModelAdapter, data: DataSplit) -> None:
    if adapter.contract.fingerprint != order.contract.fingerprint:
        lines = adapter.contract.differences(order.contract)
        raise CannotTakePart("its model (here) differs from the run's (there): " + "; ".join(lines))
    if order.dataset and data.dataset and data.dataset != order.dataset:
        raise CannotTakePart(
            f"its data set is '{data.dataset}', and the run's is '{order.dataset}'"
        )


def _clip(update: Tensors, work: _Work) -> dict[str, float]:
    """Clip the update in place if the strategy asks for it, and say whether that changed it."""
    bound = work.order.number(CLIPPING_NORM)
    if bound <= 0:
        return {}
    contract = work.adapter.contract
    names = [s.name for s in contract.parameters if s.rule is ExchangeRule.MEAN]
    clipped, changed = clip_update(update, work.received, names, bound)
    update.update(clipped)
    return {NORM_BIT: float(changed)}
