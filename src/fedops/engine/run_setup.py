"""What an attempt needs before its first round: the app's model, the strategy, the model to start from."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any, Protocol

from fedops.algorithms.selection.registry import make_selector
from fedops.algorithms.selection.selector import Selector
from fedops.config.loading import to_plain
from fedops.config.schema import Config
from fedops.core.contracts import AttemptSpec, ModelInit
from fedops.core.errors import Forbidden, Invalid, Unavailable
from fedops.core.seeds import client_seed
from fedops.core.states import FailureReason
from fedops.engine.aggregation_port import AggregationPort
from fedops.engine.global_model import GlobalModel
from fedops.engine.link.blob_files import BlobFiles
from fedops.engine.link.exit_reasons import RunFailed
from fedops.engine.link.server_link import ServerLink
from fedops.engine.round_size import RoundRules
from fedops.engine.scoring.scoring_plan import require_contribution
from fedops.scalize.adapter.protocol import ModelAdapter, TrainContext
from fedops.scalize.flow.datasets import count
from fedops.storage.tensors import load, save

logger = logging.getLogger("fedops.engine")


class ServerProject(Protocol):
    """What the engine asks of a project: ``scalize.project.Project``."""

    @property
    def config(self) -> Config: ...
    def make_adapter(self, seed: int) -> ModelAdapter: ...
    def load_validation_data(self) -> tuple[Any, str] | None: ...


@dataclass
class Setup:
    """All that stays the same over the rounds of an attempt, and the model it starts with."""

    spec: AttemptSpec
    config: Config
    strategy: AggregationPort
    selector: Selector
    model: GlobalModel
    #: Evaluates on the validation data. None when there is none: a model less in memory.
    adapter: ModelAdapter | None
    spool: Path
    validation: tuple[Any, str] | None = None
    plain_config: dict[str, Any] = field(default_factory=dict)

    @property
    def rules(self) -> RoundRules:
        return RoundRules.of(self.config, self.strategy.numbers)

    @property
    def dataset(self) -> str:
        """What the run's data set is called, as far as it is known before the first reply."""
        return self.spec.dataset or (self.validation[1] if self.validation else "")

    @property
    def validation_examples(self) -> int:
        """How many examples the server can evaluate on. 0: it cannot."""
        if self.validation is None or self.adapter is None:
            return 0
        return count(self.validation[0], "the validation step")

    def evaluate(self, model: GlobalModel, round_: int) -> dict[str, float]:
        """The model's metrics on the server's validation data. Empty when it has none."""
        if self.validation is None or self.adapter is None:
            return {}
        self.adapter.set_tensors(load(model.path))
        result = self.adapter.evaluate(self.validation[0], self.context(round_))
        odd = [name for name, value in result.metrics.items() if not math.isfinite(value)]
        if odd:
            logger.warning("round %d: %s on the server's data is not finite", round_, odd)
        return {name: float(v) for name, v in result.metrics.items() if name not in odd}

    def context(self, round_: int) -> TrainContext:
        """What training and evaluating on the server depend on in a round."""
        return TrainContext(
            round=round_,
            seed=client_seed(self.spec.seed, "", round_),
            epochs=self.config.num_epochs,
            batch_size=self.config.batch_size,
            learning_rate=self.config.learning_rate,
            settings=self.plain_config,
        )


def prepare_run(
    project: ServerProject,
    spec: AttemptSpec,
    link: ServerLink,
    make_strategy: Callable[[Config], AggregationPort],
) -> Setup:
    """Make everything ready.

    Raises:
        RunFailed: the app cannot be used, or not with the model that the run is to start from.
    """
    spool = fresh_spool(Path(spec.spool_dir))
    files = BlobFiles(link, spool, spec.blobs_dir)
    try:
        strategy = make_strategy(project.config)
        selection = project.config.server.selection
        selector = make_selector(selection.selector, selection.options)
        require_contribution(project.config.server.contribution)
        adapter = project.make_adapter(spec.seed)
        validation = _validation_data(project)
        model = _starting_model(spec, adapter, link, files, spool)
        _restore(strategy, spec, files, spool)
    except (Invalid, Forbidden) as error:
        raise RunFailed(FailureReason.APP_ERROR, str(error)) from None
    plain = to_plain(project.config)
    kept = adapter if validation is not None else None
    return Setup(spec, project.config, strategy, selector, model, kept, spool, validation, plain)


def _validation_data(project: ServerProject) -> tuple[Any, str] | None:
    try:
        return project.load_validation_data()
    except (
        Unavailable
    ) as error:  # of the data, e.g. a download: trying the attempt again mends nothing
        raise Invalid(f"the server's validation data cannot be had: {error.message}") from None


def fresh_spool(spool: Path) -> Path:
    """The attempt's folder, empty."""
    rmtree(spool, ignore_errors=True)
    spool.mkdir(parents=True, exist_ok=True)
    return spool


def _starting_model(
    spec: AttemptSpec, adapter: ModelAdapter, link: ServerLink, files: BlobFiles, spool: Path
) -> GlobalModel:
    path = spool / "start.safetensors"
    if spec.model is None:
        return _initial_model(adapter, link, files, path)
    if spec.contract and spec.contract.fingerprint != adapter.contract.fingerprint:
        lines = adapter.contract.differences(spec.contract)
        raise Invalid(
            "the app's model (here) differs from the one to start from (there): " + "; ".join(lines)
        )
    model = GlobalModel(files.fetch(spec.model, path), spec.model.sha256, adapter.contract)
    model.check()
    return model


def _initial_model(
    adapter: ModelAdapter, link: ServerLink, files: BlobFiles, path: Path
) -> GlobalModel:
    """V0, as the run's seed makes it."""
    digest = save(adapter.get_tensors(), path, durable=False)
    model = GlobalModel(path, digest, adapter.contract)
    files.hand_over(path, model.sha256)
    init = ModelInit(model=model.sha256, contract=adapter.contract)
    link.ask(lambda api: api.initial_model(init))
    return model


def _restore(strategy: AggregationPort, spec: AttemptSpec, files: BlobFiles, spool: Path) -> None:
    if spec.strategy_state is not None:
        path = files.fetch(spec.strategy_state, spool / "strategy.safetensors")
        strategy.import_state(load(path))
