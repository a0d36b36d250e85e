"""Turns the steps named in config and manifest into planned calls, of names that are trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedops.config.schema import Config, Step
from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import Part
from fedops.scalize.flow.manifest import Manifest, make_importable
from fedops.scalize.flow.network_config import Trust
from fedops.scalize.flow.signature_binding import StepCall, plan
from fedops.scalize.flow.target_import import import_advice, resolve, targets_in


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
    return resolve(target, where, manifest.folders)


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
