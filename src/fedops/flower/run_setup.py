"""What an attempt needs before its first round: the app's model, the strategy, the model to start from."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any, Protocol

from fedops.config import Config, to_plain
from fedops.core.contracts import ArtifactRef, AttemptSpec, ModelInit
from fedops.core.errors import FedOpsError, Forbidden, Invalid, Unavailable
from fedops.core.policies import client_seed
from fedops.core.states import FailureReason
from fedops.flower.endings import RunFailed
from fedops.flower.global_model import GlobalModel
from fedops.flower.lines import Lines
from fedops.flower.round_rules import RoundRules
from fedops.flower.strategies import RunStrategy
from fedops.flower.strategy_config import make_strategy
from fedops.scalize.base import ModelAdapter, TrainContext
from fedops.storage.atomic_files import sha256_of
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
    strategy: RunStrategy
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

    def evaluate(self, model: GlobalModel, round_: int) -> dict[str, float]:
        """The model's metrics on the server's validation data. Empty when it has none."""
        if self.validation is None or self.adapter is None:
            return {}
        self.adapter.set_tensors(load(model.path))
        result = self.adapter.evaluate(self.validation[0], self._context(round_))
        odd = [name for name, value in result.metrics.items() if not math.isfinite(value)]
        if odd:
            logger.warning("round %d: %s on the server's data is not finite", round_, odd)
        return {name: float(v) for name, v in result.metrics.items() if name not in odd}

    def _context(self, round_: int) -> TrainContext:
        return TrainContext(
            round=round_,
            seed=client_seed(self.spec.seed, "", round_),
            epochs=self.config.num_epochs,
            batch_size=self.config.batch_size,
            learning_rate=self.config.learning_rate,
            settings=self.plain_config,
        )


def prepare(
    project: ServerProject, spec: AttemptSpec, lines: Lines, roots: Sequence[Path] = ()
) -> Setup:
    """Make everything ready.

    Raises:
        RunFailed: the app cannot be used, or not with the model that the run is to start from.
    """
    spool = _fresh_spool(Path(spec.spool_dir), spec.attempt)
    try:
        chosen = project.config.server.strategy
        strategy = make_strategy(chosen.target, chosen.kwargs, roots)
        adapter = project.make_adapter(spec.seed)
        validation = _validation_data(project)
        model = _starting_model(spec, adapter, lines, spool)
        _restore(strategy, spec, lines, spool)
    except (Invalid, Forbidden) as error:
        raise RunFailed(FailureReason.APP_ERROR, str(error)) from None
    plain = to_plain(project.config)
    kept = adapter if validation is not None else None
    return Setup(spec, project.config, strategy, model, kept, spool, validation, plain)


def _validation_data(project: ServerProject) -> tuple[Any, str] | None:
    try:
        return project.load_validation_data()
    except (
        Unavailable
    ) as error:  # of the data, e.g. a download: trying the attempt again mends nothing
        raise Invalid(f"the server's validation data cannot be had: {error.message}") from None


def _fresh_spool(parent: Path, attempt: int) -> Path:
    """A folder for this attempt; what earlier ones left is removed."""
    for old in parent.glob("attempt-*"):
        rmtree(old, ignore_errors=True)
    spool = parent / f"attempt-{attempt}"
    spool.mkdir(parents=True, exist_ok=True)
    return spool


def _starting_model(
    spec: AttemptSpec, adapter: ModelAdapter, lines: Lines, spool: Path
) -> GlobalModel:
    path = spool / "start.safetensors"
    if spec.model is None:
        return _initial_model(adapter, lines, path)
    if spec.contract and spec.contract.fingerprint != adapter.contract.fingerprint:
        lines_ = adapter.contract.differences(spec.contract)
        raise Invalid(
            "the app's model (here) differs from the one to start from (there): "
            + "; ".join(lines_)
        )
    _download(lines, spec.model, path)
    model = GlobalModel(path, spec.model.sha256, adapter.contract)
    model.check()
    return model


def _initial_model(adapter: ModelAdapter, lines: Lines, path: Path) -> GlobalModel:
    """V0, as the run's seed makes it."""
    model = GlobalModel(path, save(adapter.get_tensors(), path), adapter.contract)
    lines.ask(lambda api: api.upload(path))
    init = ModelInit(model=model.sha256, contract=adapter.contract)
    lines.ask(lambda api: api.initial_model(init))
    return model


def _restore(strategy: RunStrategy, spec: AttemptSpec, lines: Lines, spool: Path) -> None:
    if spec.strategy_state is not None:
        path = spool / "strategy.safetensors"
        _download(lines, spec.strategy_state, path)
        strategy.import_state(load(path))


def _download(lines: Lines, ref: ArtifactRef, path: Path) -> None:
    lines.ask(lambda api: api.download(ref, path))
    if (found := sha256_of(path)) != ref.sha256:
        raise FedOpsError(
            f"artifact {ref.sha256[:12]} arrived damaged (its sha256 is {found[:12]}): 'fedops model "
            "verify' tells whether it is damaged on the server; then start from another version"
        )
