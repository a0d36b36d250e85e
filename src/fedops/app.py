"""What apps import from FedOps: one module, whose names are loaded when they are first used.

An app's modules import from here and nowhere else, so that the folders behind it can change:

>>> from fedops.app import DataSplit
>>> DataSplit(train=[1, 2], validation=[3]).train
[1, 2]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedops.algorithms.partition import partition as partition
    from fedops.client.app_entry import run_client_manager as run_client_manager
    from fedops.client.app_entry import run_training_client as run_training_client
    from fedops.config.schema import Dataset as Dataset
    from fedops.core.errors import FedOpsError as FedOpsError
    from fedops.core.errors import Invalid as Invalid
    from fedops.core.errors import Unavailable as Unavailable
    from fedops.explain.explainers.report import ExplainReport as ExplainReport
    from fedops.explain.service.explainer import Explainer as Explainer
    from fedops.flower.run_modes import answer as answer
    from fedops.flower.run_modes import run_by_mode as run_by_mode
    from fedops.scalize.adapter.protocol import AdapterOptions as AdapterOptions
    from fedops.scalize.adapter.protocol import EvalResult as EvalResult
    from fedops.scalize.adapter.protocol import ModelAdapter as ModelAdapter
    from fedops.scalize.adapter.protocol import TrainContext as TrainContext
    from fedops.scalize.adapter.protocol import TrainResult as TrainResult
    from fedops.scalize.flow.datasets import DataSplit as DataSplit
    from fedops.scalize.legacy.old_project import OldProject as OldProject

_HOMES = {
    "AdapterOptions": "fedops.scalize.adapter.protocol:AdapterOptions",
    "Dataset": "fedops.config:Dataset",
    "DataSplit": "fedops.scalize.flow.datasets:DataSplit",
    "EvalResult": "fedops.scalize.adapter.protocol:EvalResult",
    "ExplainOptions": "fedops.explain.explainers.options:Options",
    "ExplainReport": "fedops.explain.explainers.report:ExplainReport",
    "Explainer": "fedops.explain.service.explainer:Explainer",
    "FedOpsError": "fedops.core.errors:FedOpsError",
    "Invalid": "fedops.core.errors:Invalid",
    "ModelAdapter": "fedops.scalize.adapter.protocol:ModelAdapter",
    "OldProject": "fedops.scalize.legacy.old_project:OldProject",
    "TrainContext": "fedops.scalize.adapter.protocol:TrainContext",
    "TrainResult": "fedops.scalize.adapter.protocol:TrainResult",
    "Unavailable": "fedops.core.errors:Unavailable",
    "answer": "fedops.flower.run_modes:answer",
    "partition": "fedops.algorithms.partition:partition",
    "run_by_mode": "fedops.flower.run_modes:run_by_mode",
    "run_client_manager": "fedops.client.app_entry:run_client_manager",
    "run_training_client": "fedops.client.app_entry:run_training_client",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"fedops.app has no {name!r}; it has: {', '.join(__all__)}")
    module, _, attribute = home.partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
