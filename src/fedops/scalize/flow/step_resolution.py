"""Turns the steps named in config and manifest into planned calls, under the allow-list if need be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedops.config.loading import to_plain
from fedops.config.schema import Config, Dataset, Step
from fedops.core.errors import Forbidden, Invalid
from fedops.core.validation_messages import REDACTED
from fedops.scalize.adapter.protocol import Part
from fedops.scalize.flow.manifest import Manifest, make_importable
from fedops.scalize.flow.signature_binding import StepCall, plan
from fedops.scalize.flow.target_import import (
    NETWORK_ALLOWED,
    NETWORK_NAMES,
    check_allowed,
    import_advice,
    interpolations_in,
    resolve,
    targets_in,
)


@dataclass(frozen=True)
class Trust:
    """Whose names may be resolved: with ``everything``, the config is the device owner's own."""

    everything: bool
    allowed: tuple[str, ...] = ()
    #: Named by the app's own files, so allowed whatever they are.
    named: frozenset[str] = frozenset()

    def check(self, target: str, where: str) -> None:
        """``Forbidden`` when this name may not be used."""
        if not self.everything and target not in self.named:
            check_allowed(target, self.allowed, where)

    def check_found(self, target: str, found: Any, where: str) -> None:
        """``Forbidden`` when an allowed name leads to something that is defined elsewhere."""
        if self.everything or target in self.named:
            return
        home = str(getattr(found, "__module__", ""))
        if not any(home == name or home.startswith(f"{name}.") for name in self.allowed + _INNER):
            raise Forbidden(f"{where}: '{target}' is defined in '{home}', which may not be used")


#: Where the objects behind public names of the allowed packages are really defined.
_INNER = ("keras.src.layers", "keras.src.losses", "keras.src.models", "keras.src.optimizers")

OWN = Trust(everything=True)


def trust_of_server(manifest: Manifest, local: Config) -> Trust:
    """For a config from the network: the allow-list, and what the app's own files name."""
    own = {target for _, target in targets_in(to_plain(local))}
    own |= {target for target in manifest.flow.model_dump().values() if target}
    return Trust(False, (*NETWORK_ALLOWED, *manifest.packages), NETWORK_NAMES | own)


def check_network_config(plain: Mapping[str, Any], trust: Trust, where: str) -> None:
    """Refuse names that are not allowed, and interpolations (they could read the environment)."""
    for path, target in targets_in(plain):
        if target:  # none: the app's own file names the step, only its arguments are here
            trust.check(target, f"{where}: {path}")
    for path in interpolations_in(plain):
        raise Forbidden(f"{where}: {path} holds '${{', which a config from the server may not")


def merge_owned(config: Config, local: Config) -> Config:
    """What belongs to the device is taken from its own config: paths, secrets, its part of the data."""
    key = local.wandb.key if config.wandb.key in ("", REDACTED) else config.wandb.key
    url = local.server.url or config.server.url
    return config.model_copy(
        update={
            "dataset": _owned_dataset(config.dataset, local.dataset),
            "wandb": config.wandb.model_copy(update={"key": key}),
            "server": config.server.model_copy(update={"url": url}),
        }
    )


def _owned_dataset(dataset: Dataset, local: Dataset) -> Dataset:
    partition, own = dataset.partition, local.partition
    if partition and own and partition.index is None:
        partition = partition.model_copy(update={"index": own.index})
    root = local.root if local.root is not None else dataset.root
    return dataset.model_copy(update={"root": root, "partition": partition})


def make_call(kind: str, manifest: Manifest, config: Config, trust: Trust) -> StepCall | None:
    """The planned call of a step; None when neither config nor manifest names one."""
    step: Step = getattr(config, kind) or Step()
    target = step.target or getattr(manifest.flow, kind)
    if not target:
        return None
    in_config = bool(step.target)
    where = f"[{kind}] _target_" if in_config else f"[tool.fedops.flow] {kind}"
    make_importable(manifest)
    function = _resolve(target, where, manifest, trust)
    given = _arguments(kind, step, manifest, trust)
    return plan(kind, target, function, given, manifest.folders)


def make_part(kind: str, manifest: Manifest, config: Config, trust: Trust) -> Part | None:
    """An optimizer or a loss: a name that the adapter knows, or something found by its dotted name."""
    step: Step | None = getattr(config, kind)
    if step is None:
        return None
    make_importable(manifest)
    dotted = "." in step.target
    found = _resolve(step.target, f"[{kind}] _target_", manifest, trust) if dotted else None
    return Part(step.target, _arguments(kind, step, manifest, trust), found)


def _resolve(target: str, where: str, manifest: Manifest, trust: Trust) -> Any:
    trust.check(target, where)
    found = resolve(target, where, manifest.folders)
    trust.check_found(target, found, where)
    return found


def _arguments(kind: str, step: Step, manifest: Manifest, trust: Trust) -> dict[str, Any]:
    """The step's arguments; those that are themselves ``_target_`` tables are instantiated."""
    for path, target in targets_in(step.kwargs):
        _resolve(target, f"[{kind}] {path}", manifest, trust)
    return _instantiated(kind, step.kwargs) if step.kwargs else {}


def _instantiated(kind: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    # Only here: most steps have no arguments, and every process of ours would import it.
    from hydra.errors import HydraException
    from hydra.utils import instantiate
    from omegaconf.errors import OmegaConfBaseException

    try:
        return dict(instantiate(kwargs, _convert_="all"))
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        raise Invalid(f"[{kind}]: an argument cannot be made: {import_advice(cause)}") from None
