"""A device looks at its data: in a process of its own, over restarts, and tells numbers only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from device_processes import Device
from fake_manager import Work

from fedops.core.contracts import (
    WATCH,
    DataReport,
    ExchangeRule,
    ParameterContract,
    ParameterSpec,
)

PYPROJECT = """
[project]
name = "steps"
version = "1.0.0"
[tool.fedops]
package = "steps"
config = "config.toml"
[tool.fedops.flow]
data = "steps.flow.load_data"
"""
CODE = """
from pathlib import Path
import numpy as np
from sklearn.linear_model import SGDClassifier

def model():
    return SGDClassifier()

def load_data():
    x = np.load(Path(__file__).with_name("x.npy"))
    return x, (x.sum(axis=1) > 0).astype(int)
"""
CONFIG = {
    "random_seed": 1,
    "batch_size": 20,
    "model_type": "sklearn",
    "model": {"_target_": "steps.flow.model"},
    "dataset": {"features": 3, "classes": [0, 1], "validation_split": 0.25},
}
CONFIG_TOML = """
model_type = "sklearn"
[model]
_target_ = "steps.flow.model"
[dataset]
features = 3
classes = [0, 1]
validation_split = 0.25
"""


MODEL = {"coef_": np.ones((1, 3)), "intercept_": np.zeros(1), "t_": np.array(1.0)}
CONTRACT = ParameterContract(
    parameters=tuple(
        ParameterSpec(name=name, shape=one.shape, dtype="float64", rule=ExchangeRule.MEAN)
        for name, one in MODEL.items()
    )
)


def report_of(work: Work) -> DataReport:
    return DataReport.from_values(dict(work.payload.configs[WATCH]), {})


def test_data_that_has_come_is_told_by_numbers(device: Device) -> None:
    (device.app / "pyproject.toml").write_text(PYPROJECT)
    (device.app / "config.toml").write_text(CONFIG_TOML)
    package = device.app / "steps"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "flow.py").write_text(CODE)
    data = np.random.default_rng(1).normal(size=(400, 3))
    np.save(package / "x.npy", data)
    device.start()
    device.until("idle")
    server = device.server
    first = report_of(device.deliver(server.look(CONFIG)))
    assert (first.examples, first.validation_examples, first.version) == (300, 100, 1)
    assert (first.features, first.psi) == (3, 0.0)
    (kept,) = Path(device.home / "looks").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    _replace(package / "x.npy", np.concatenate([data, data + 3.0]))
    looked = device.deliver(server.look(CONFIG, MODEL, CONTRACT))
    second = report_of(looked)
    accuracy = looked.payload.metrics["metrics"]["accuracy"]
    assert accuracy == 1.0, "the labels are what this model says"
    assert (second.examples, second.compared_with) == (600, 300)
    assert second.fingerprint != first.fingerprint
    assert second.psi is not None
    assert second.psi - second.psi_by_chance > 0.5


def _replace(file: Path, data: np.ndarray) -> None:
    part = file.with_suffix(".part.npy")
    np.save(part, data)
    part.replace(file)
