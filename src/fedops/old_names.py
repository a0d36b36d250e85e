"""Modules that apps imported before ``fedops.app`` was there: found under their new names, with a warning."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "fedops.client.entry": "fedops.client.app_entry",
    "fedops.explain.base": "fedops.explain.methods.base",
    "fedops.explain.explainer": "fedops.explain.service.explainer",
    "fedops.explain.options": "fedops.explain.explainers.options",
    "fedops.explain.report": "fedops.explain.explainers.report",
    "fedops.flower.modes": "fedops.flower.run_modes",
    "fedops.scalize.base": "fedops.scalize.adapter.protocol",
    "fedops.scalize.data": "fedops.scalize.flow.datasets",
    "fedops.scalize.exchange": "fedops.scalize.adapter.parameter_exchange",
    "fedops.scalize.huggingface": "fedops.scalize.frameworks.huggingface",
    "fedops.scalize.keras": "fedops.scalize.frameworks.keras",
    "fedops.scalize.pytorch": "fedops.scalize.frameworks.pytorch",
    "fedops.scalize.sklearn": "fedops.scalize.frameworks.sklearn",
}


class _Moved(MetaPathFinder, Loader):
    """Asked only for modules that are nowhere else."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = MOVED[spec.name]
        warnings.warn(
            f"{spec.name} is now {new}; apps import what they need from fedops.app",
            FutureWarning,
            stacklevel=2,
        )
        module = importlib.import_module(new)
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It is loaded already: only what the import system has just noted on it is put back."""
        assert module.__spec__ is not None
        module.__spec__ = self._specs.pop(module.__spec__.name)


def install() -> None:
    """Let the old names be found; once a process."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
