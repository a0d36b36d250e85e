"""Every adapter found through the entry-point group passes ``check_adapter``, on models of all kinds."""

import importlib.util
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest
from adapter_cases import CASES, MODULES, Case

from fedops.testing import check_adapter

pytestmark = [
    # Keras with torch and numpy 2; it does not concern the adapter.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


def _missing(adapter: str) -> list[str]:
    return [name for name in MODULES[adapter][2] if importlib.util.find_spec(name) is None]


def _cases() -> list[Any]:
    found: list[Any] = []
    for adapter, cases in CASES.items():
        if missing := _missing(adapter):
            skip = pytest.mark.skip(reason=f"{', '.join(missing)} is not installed")
            found.append(pytest.param(None, id=adapter, marks=skip))
        else:
            found += [pytest.param(case, id=f"{adapter}-{case.name}") for case in cases()]
    return found


def test_every_adapter_has_cases() -> None:
    ours = [
        e.name for e in entry_points(group="fedops.adapters") if e.dist and e.dist.name == "fedops"
    ]
    assert sorted(ours) == sorted(CASES)


@pytest.mark.parametrize("case", _cases())
def test_adapter(case: Case) -> None:
    check_adapter(case.make, case.data(), locally=case.locally if case.fit else None)


def test_a_warm_pytorch_adapter_imports_little_more_in_training() -> None:
    """What torch imports in the first step of an optimizer would be part of the first round's time."""
    script = """
import sys, numpy, torch
from fedops.scalize.adapter.protocol import AdapterOptions, Part, TrainContext
from fedops.scalize.frameworks.pytorch import PyTorchAdapter

pairs = [(torch.ones(3), torch.tensor(i % 2)) for i in range(8)]
adapter = PyTorchAdapter(torch.nn.Linear(3, 2), AdapterOptions(optimizer=Part("adam")))
adapter.warm_up()
before = len(sys.modules)
adapter.train(pairs, TrainContext(1, 1, 1, 4, 0.1))
print(before, len(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert after - before < 50, "torch imports several hundred modules there when it is cold"
