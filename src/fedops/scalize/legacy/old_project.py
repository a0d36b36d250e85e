"""The steps of a FedOps 1 project: its own programs are run up to what they register, and that is called.

Nothing of the project is changed. Its ``conf/config.yaml`` is read by its own code, with the values of the
run in the place of learning rate, epochs, batch size and seed.
"""

from __future__ import annotations

import copy
import importlib.util
import runpy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fedops.core.errors import FedOpsError, Invalid
from fedops.scalize.flow.datasets import DataSplit
from fedops.scalize.flow.target_import import import_advice
from fedops.scalize.legacy import stand_ins

CLIENT, SERVER = "client_main", "server_main"
#: Key of FedOps 2's config -> the same in ``config.yaml``.
_OF_THE_RUN = ("random_seed", "batch_size", "learning_rate", "num_epochs")
_TORCH = ("train_loader", "test_loader", "train_torch", "test_torch")
_KERAS = ("x_train", "y_train", "x_test", "y_test")


class RunValues(Protocol):
    """Of FedOps 2's config, what a project of FedOps 1 knows too."""

    random_seed: int
    batch_size: int
    learning_rate: float
    num_epochs: int


class OldProject:
    """The project whose ``client_main`` is on the import path. Its methods are steps of FedOps 2."""

    def __init__(self) -> None:
        stand_ins.install()
        self._registered: dict[str, Any] = {}
        self._under: dict[str, Any] = {}

    def data(self, config: RunValues) -> DataSplit:
        """The data that ``client_main.py`` registers. The model is judged on its test set, as it was."""
        found = self._client(config)
        if "x_train" in found:
            stand_ins.require(found, _KERAS, f"{CLIENT}.py")
            held_out = (found["x_test"], found["y_test"])
            return DataSplit((found["x_train"], found["y_train"]), held_out)
        stand_ins.require(found, _TORCH, f"{CLIENT}.py")
        return DataSplit(found["train_loader"], found["test_loader"])

    def train(
        self, model: Any, train_loader: Any, epochs: int, learning_rate: float, config: RunValues
    ) -> Any:
        """The function that ``train_torch()`` returned. Its result is the trained model."""
        cfg = self._cfg(config)
        cfg["learning_rate"], cfg["num_epochs"] = learning_rate, epochs
        trained = self._client(config)["train_torch"](model, train_loader, epochs, cfg)
        return model if trained is None else trained

    def evaluate(self, model: Any, test_loader: Any, config: RunValues) -> dict[str, float]:
        """The function that ``test_torch()`` returned: loss, accuracy, and a dict of more or None."""
        return _metrics(self._client(config)["test_torch"](model, test_loader, self._cfg(config)))

    def validation(self, config: RunValues) -> Any:
        """The validation data that ``server_main.py`` gives to its FLServer."""
        found = _run(SERVER, _values(config)).server
        stand_ins.require(found, ("gl_val_loader",), f"{SERVER}.py")
        return found["gl_val_loader"]

    def _client(self, config: RunValues) -> dict[str, Any]:
        """What is registered under these values; the program runs again when they have changed."""
        values = _values(config)
        needed = {key: values[key] for key in ("random_seed", "batch_size")}
        if not self._registered or needed != self._under:
            found = _run(CLIENT, values).client
            stand_ins.require(found, (), f"{CLIENT}.py")
            self._registered, self._under = found, needed
        return self._registered

    def _cfg(self, config: RunValues) -> Any:
        cfg = copy.deepcopy(self._client(config)["cfg"])
        for key, value in _values(config).items():
            if key in cfg:
                cfg[key] = value
        return cfg


def _values(config: RunValues) -> dict[str, Any]:
    values = {key: getattr(config, key) for key in _OF_THE_RUN}
    return {**values, "random_seed": values["random_seed"] % 2**32}


def _metrics(result: Any) -> dict[str, float]:
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        raise Invalid(
            "test_torch() must give a function that returns loss, accuracy and a dict of metrics or None, "
            f"and it returned a {type(result).__name__}"
        )
    loss, accuracy, *more = result
    return {"loss": float(loss), "accuracy": float(accuracy), **((more and more[0]) or {})}


def _run(program: str, values: Mapping[str, Any]) -> stand_ins.Registrations:
    """Run one of the project's programs as ``python PROGRAM.py`` would, up to its end."""
    spec = importlib.util.find_spec(program)
    if spec is None or spec.origin is None:
        raise Invalid(f"there is no {program}.py on the import path of this FedOps 1 project")
    file = Path(spec.origin)
    with tempfile.TemporaryDirectory(prefix="fedops-hydra-") as folder:
        arguments = [str(file), *_hydra_arguments(file, values, folder)]
        with stand_ins.running(arguments) as taken:
            try:
                runpy.run_path(str(file), run_name="__main__")
            except FedOpsError:
                raise
            except SystemExit as error:
                if error.code:
                    raise Invalid(f"{file.name} ended with {error.code!r}") from error
            except Exception as error:  # the project runs here, and may raise anything
                raise Invalid(f"{file.name}: {import_advice(error, [file.parent])}") from error
    return taken


def _hydra_arguments(file: Path, values: Mapping[str, Any], folder: str) -> list[str]:
    """The run's values for a program under ``hydra.main``, which leaves nothing in the project's folder.

    What FedOps 2 does itself, Weights & Biases and explanations, is switched off in the project's code.
    """
    if "hydra.main" not in file.read_text(encoding="utf-8", errors="replace"):
        return []
    known = _keys(file.parent)
    given = [f"{key}={value}" for key, value in values.items() if key in known]
    switched = [f"{name}=false" for name in ("wandb.use", "xai.enabled") if name in known]
    quiet = ["hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]
    return [*given, *switched, f"hydra.run.dir={folder}", *quiet]


def _keys(folder: Path) -> set[str]:
    """The keys of ``conf/config.yaml``, those of its tables with dots."""
    from omegaconf import OmegaConf  # only here: init of other projects need not wait for it

    file = folder / "conf" / "config.yaml"
    plain: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {}
    tables = {
        f"{key}.{name}" for key, value in plain.items() if isinstance(value, dict) for name in value
    }
    return set(plain) | tables
