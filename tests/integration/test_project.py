"""Projects as folders: opened, explained, called; and what is said when something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedops.config.loading import to_plain
from fedops.config.overrides import apply_overrides
from fedops.core.errors import FedOpsError, Forbidden, Invalid
from fedops.scalize.adapter.protocol import TrainContext
from fedops.scalize.flow.project import Project

PYPROJECT = """
[project]
name = "my-app"
version = "1"

[tool.fedops]
package = "myapp"

[tool.fedops.flow]
data = "myapp.data.load"
"""
CONFIG = """
[model]
_target_ = "myapp.nets.Net"
width = 4

[dataset]
name = "toy"
validation_split = 0.25

[wandb]
key = "my secret"
"""
NETS = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self, width, activation=None):
        super().__init__()
        self.first = nn.Linear(2, width)
        self.activation = activation or nn.ReLU()
        self.last = nn.Linear(width, 2)

    def forward(self, x):
        return self.last(self.activation(self.first(x)))
"""
DATA = """
import numpy as np

calls = []

def load(batch_size, seed):
    calls.append(batch_size)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 2)).astype(np.float32)
    return x, (x.sum(1) > 0).astype(np.int64)

def test_set():
    return load(1, 99)

def none_here(root=None):
    return None
"""


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.split(".")[0] in ("myapp", "lone"):
            del sys.modules[name]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    package = tmp_path / "app" / "myapp"
    (package / "conf").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "nets.py").write_text(NETS)
    (package / "data.py").write_text(DATA)
    (package / "conf" / "config.toml").write_text(CONFIG)
    (tmp_path / "app" / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path / "app"


def configure(app: Path, text: str) -> None:
    file = app / "myapp" / "conf" / "config.toml"
    file.write_text(text + file.read_text())


def code(app: Path, text: str, file: str = "data.py") -> None:
    (app / "myapp" / file).write_text(text)


def said(error: type[FedOpsError], call: Any, *args: Any) -> str:
    with pytest.raises(error) as caught:
        call(*args)
    return str(caught.value)


def context(**changes: Any) -> TrainContext:
    values = {"round": 1, "seed": 7, "epochs": 1, "batch_size": 8, "learning_rate": 0.01}
    return TrainContext(**{**values, **changes})


# --- what works ------------------------------------------------------------------------------


def test_a_project_trains(app: Path) -> None:
    project = Project.open(app)
    assert (project.app_name, project.config.dataset.name) == ("my-app", "toy")
    adapter, data = project.make_adapter(1), project.load_data()
    assert (data.dataset, data.examples, len(data.validation[1])) == ("toy", 30, 10)
    assert adapter.train(data.train, context()).examples == 30
    assert set(adapter.evaluate(data.validation, context()).metrics) == {"loss", "accuracy"}
    assert project.load_validation_data() is None


def test_opening_imports_nothing(app: Path) -> None:
    Project.open(app)
    assert not any(name.startswith("myapp") for name in sys.modules)


def test_the_seed_decides_the_initial_model_and_disturbs_nothing(app: Path) -> None:
    project = Project.open(app)
    state = torch.get_rng_state()
    first, again, other = (project.make_adapter(seed).get_tensors() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["first.weight"], other["first.weight"])


def test_data_is_loaded_once_until_its_config_changes(app: Path) -> None:
    project = Project.open(app)
    first = project.load_data()
    later = project.with_config(to_plain(apply_overrides(project.config, ["num_rounds=9"])))
    assert later.load_data() is first
    changed = project.with_config(to_plain(apply_overrides(project.config, ["batch_size=9"])))
    assert changed.load_data() is not first
    assert sys.modules["myapp.data"].calls == [32, 9]


def test_every_step_is_explained_in_a_line(app: Path) -> None:
    configure(app, '[validation]\n_target_ = "myapp.data.test_set"\n')
    lines = Project.open(app).describe()
    assert lines[0] == "data: myapp.data.load(batch_size=batch_size, seed=the seed)"
    assert lines[1] == "model: myapp.nets.Net(width=4 (config), activation left as it is)"
    assert lines[2:4] == ["train: the adapter's own loop", "evaluate: the adapter's own loop"]
    assert lines[4] == "validation: myapp.data.test_set()"


def test_the_servers_validation_data(app: Path) -> None:
    configure(app, '[validation]\n_target_ = "myapp.data.test_set"\n')
    found = Project.open(app).load_validation_data()
    assert found is not None
    assert (len(found[0][1]), found[1]) == (40, "toy")


def test_a_server_may_be_without_validation_data(app: Path) -> None:
    configure(app, '[validation]\n_target_ = "myapp.data.none_here"\n')
    assert Project.open(app).load_validation_data() is None


def test_arguments_may_be_objects_themselves(app: Path) -> None:
    configure(app, '[model.activation]\n_target_ = "torch.nn.LeakyReLU"\nnegative_slope = 0.3\n')
    adapter: Any = Project.open(app).make_adapter(1)
    assert adapter.model.activation.negative_slope == 0.3


def test_optimizer_and_loss_come_from_the_config(app: Path) -> None:
    configure(app, 'optimizer = "sgd"\n[loss]\n_target_ = "torch.nn.CrossEntropyLoss"\n')
    adapter: Any = Project.open(app, ["optimizer.momentum=0.5"]).make_adapter(1)
    assert (adapter.options.optimizer.target, adapter.options.optimizer.kwargs) == (
        "sgd",
        {"momentum": 0.5},
    )
    assert adapter.options.loss.found is torch.nn.CrossEntropyLoss


def test_own_loops_get_the_validation_data_and_the_config(app: Path) -> None:
    code(
        app,
        NETS + "def train(model, data, val_data, cfg):\n"
        "    return {'held_out': len(val_data[1]), 'rounds': cfg.num_rounds}\n",
        "nets.py",
    )
    configure(app, 'num_rounds = 4\n[train]\n_target_ = "myapp.nets.train"\n')
    project = Project.open(app)
    result = project.make_adapter(1).train(project.load_data().train, context())
    assert result.metrics == {"held_out": 10.0, "rounds": 4.0}


def test_the_folder_wins_over_a_package_of_the_same_name(app: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    os.rename(app, other / "app")
    Project.open(other / "app").make_adapter(1)
    first = sys.modules["myapp"].__file__
    app.mkdir()
    for file in (other / "app").rglob("*.*"):
        if file.is_file() and file.suffix in (".py", ".toml"):
            target = app / file.relative_to(other / "app")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file.read_text())
    Project.open(app).make_adapter(1)
    assert sys.modules["myapp"].__file__ != first


def test_code_beside_the_app_folder(app: Path) -> None:
    """The layout of a wrapped project: federated/ with the manifest, the code one folder up."""
    federated = app / "federated"
    federated.mkdir()
    (federated / "config.toml").write_text(CONFIG.replace("myapp.nets", "lone"))
    (federated / "pyproject.toml").write_text(
        '[tool.fedops]\npackage = ["lone", "myapp"]\nconfig = "config.toml"\npath = [".", ".."]\n'
        '[tool.fedops.flow]\ndata = "myapp.data.load"\n'
    )
    (app / "lone.py").write_text(NETS)
    project = Project.open(federated)
    assert project.app_name == "federated"
    assert project.make_adapter(1).train(project.load_data().train, context()).examples == 30


# --- configs from the network ----------------------------------------------------------------


def network(project: Project, *overrides: str) -> dict[str, Any]:
    return to_plain(apply_overrides(project.config, overrides))


def test_a_runs_config_is_taken_over(app: Path) -> None:
    project = Project.open(app)
    run = project.with_config(network(project, "num_epochs=3", "server.strategy.x=1"))
    assert run.config.num_epochs == 3
    assert project.config.num_epochs == 1
    assert run.make_adapter(1).contract == project.make_adapter(1).contract


def test_what_is_the_devices_own_stays(app: Path) -> None:
    project = Project.open(app, ["dataset.root=/here", "dataset.partition.index=1", "batch_size=5"])
    server = Project.open(app, ["dataset.partition.of=3", "batch_size=64", "dataset.root=/there"])
    run = project.with_config(to_plain(server.config)).config
    assert (run.dataset.root, run.wandb.key, run.batch_size) == ("/here", "my secret", 64)
    assert run.dataset.partition is not None
    assert (run.dataset.partition.index, run.dataset.partition.of) == (1, 3)


def test_the_part_of_the_data_may_be_in_the_devices_file(app: Path) -> None:
    (app / "myapp" / "conf" / "config.toml").write_text("[dataset.partition]\nindex = 2\n")
    project = Project.open(app)
    run = project.with_config({"dataset": {"partition": {"of": 5}}})
    assert run.config.dataset.partition is not None
    assert (run.config.dataset.partition.index, run.config.dataset.partition.of) == (2, 5)


@pytest.mark.parametrize(
    "override",
    [
        "data._target_=os.system",
        "model._target_=subprocess.run",
        "train._target_=fedops.processes.main",
        "optimizer._target_=builtins.exec",
        "model.activation={_target_='shutil.rmtree', path='/'}",
        "model.activation={inner=[{_target_='os.remove'}]}",
        "server.strategy._target_=os.system",
    ],
)
def test_the_network_may_not_name_just_anything(app: Path, override: str) -> None:
    project = Project.open(app)
    message = said(Forbidden, project.with_config, network(project, override))
    assert "may not be named by a config from the server" in message
    assert "'torch.nn'" in message


@pytest.mark.parametrize(
    "override",
    [
        "data._target_=myapp.data.np.load",
        "data._target_=torch.nn.functional.torch.load",
        "data._target_=sklearn.os.system",
    ],
)
def test_an_allowed_name_may_not_lead_elsewhere(app: Path, override: str) -> None:
    project = Project.open(app)
    run = project.with_config(network(project, override))
    assert "may not be used" in said(Forbidden, run.load_data)


def test_the_network_may_not_read_the_environment(app: Path) -> None:
    project = Project.open(app)
    plain = network(project, "model.width='${oc.env:HOME}'")
    assert "model.width" in said(Forbidden, project.with_config, plain)


def test_the_apps_own_files_may_name_anything(app: Path) -> None:
    code(app, DATA + "from collections import OrderedDict as reexported\n")
    configure(app, '[train]\n_target_ = "collections.OrderedDict"\n')
    project = Project.open(app)
    project.with_config(network(project)).describe()


def test_a_typo_in_the_runs_config(app: Path) -> None:
    project = Project.open(app)
    assert "the run's config: num_round" in said(Invalid, project.with_config, {"num_round": 1})


# --- what goes wrong -------------------------------------------------------------------------


def test_folders_that_are_no_apps(app: Path, tmp_path: Path) -> None:
    assert "there is no app folder" in said(Invalid, Project.open, tmp_path / "nowhere")
    assert "has no pyproject.toml" in said(Invalid, Project.open, tmp_path)
    (app / "pyproject.toml").write_text("[project]\nname='x'\n")
    assert "no [tool.fedops] table" in said(Invalid, Project.open, app)
    (app / "pyproject.toml").write_text("[tool.fedops]\n")
    assert "package: is missing" in said(Invalid, Project.open, app)
    (app / "pyproject.toml").write_text("[tool.fedops]\npackage = 'x'\nflw = 1\n")
    assert "did you mean 'flow'?" in said(Invalid, Project.open, app)
    (app / "pyproject.toml").write_text("[tool.fedops]\npackage = 'x'\n")
    assert "there is no config file" in said(Invalid, Project.open, app)
    (app / "pyproject.toml").write_text("[tool.fedops\n")
    assert "no valid TOML" in said(Invalid, Project.open, app)


def test_a_broken_config_names_file_and_line(app: Path) -> None:
    (app / "myapp" / "conf" / "config.toml").write_text("a = 1\nb = [1,\nc = 2\n")
    message = said(Invalid, Project.open, app)
    assert "config.toml" in message
    assert "line 3" in message


def test_every_bad_key_is_named(app: Path) -> None:
    configure(app, "num_round = 3\nbatch_size = 0\n")
    message = said(Invalid, Project.open, app)
    assert all(words in message for words in ("config.toml", "'num_rounds'", "batch_size = 0"))


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        ("", "names no data step; write data ="),
        ('data = "load"', "no dotted name"),
        ('data = "nowhere.load"', "there is no module 'nowhere'"),
        ('data = "myapp.dta.load"', "'myapp' has no 'dta'; did you mean 'data'?"),
        ('data = "myapp.data.laod"', "'myapp.data' has no 'laod'; did you mean 'load'?"),
        ('data = "myapp.data.calls"', "is a list, nothing that can be called"),
    ],
)
def test_a_step_that_is_missing_or_misnamed(app: Path, flow: str, words: str) -> None:
    (app / "pyproject.toml").write_text(
        f'[tool.fedops]\npackage = "myapp"\n[tool.fedops.flow]\n{flow}\n'
    )
    message = said(Invalid, Project.open(app).load_data)
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import not_installed\n", ["'not_installed' (", "data.py, line 1)"]),
        ("def load(:\n", ["SyntaxError", "data.py, line 1)"]),
        ("x = 1 / 0\n", ["ZeroDivisionError", "data.py, line 1)"]),
        ("def load():\n    return open('/no/file')\n", ["FileNotFoundError", "data.py, line 2)"]),
        ("def load(weights): pass", ["for its parameter 'weights'", "data.py, line 1)"]),
        ("def load(): return 3", ["returned a int as training data", "data.py, line 1)"]),
        ("def load(): return []", ["no training example of 'toy' and sits out", "line 1)"]),
        ("def load(): return {'train': iter([1])}", ["of unknown length", "data.py, line 1)"]),
    ],
    ids=["import", "syntax", "raises", "fails", "parameter", "kind", "empty", "stream"],
)
def test_a_data_step_that_fails(app: Path, text: str, words: list[str]) -> None:
    code(app, text)
    message = said(Invalid, Project.open(app).load_data)
    assert all(part in message for part in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("[model]\n_target_ = 'myapp.nets.Net'\n", ["parameter 'width'", "[model]", "nets.py"]),
        ("[model]\n_target_ = 'myapp.nets.Net'\nwidht = 4\n", ["widht", "did you mean 'width'?"]),
        ("[model]\n_target_ = 'myapp.nets.Net'\nwidth = 'x'\n", ["failed: TypeError", "nets.py"]),
        ("[model]\n_target_ = 'builtins.dict'\n", ["gave a dict", "model_type", "'pytorch'"]),
        (
            "model_type='pytorch'\n[model]\n_target_ = 'builtins.dict'\n",
            ["gave a dict; PyTorch needs a torch.nn.Module"],
        ),
        (
            "[model]\n_target_ = 'myapp.nets.Net'\nwidth = 4\nactivation._target_ = 'torch.nn.Rlu'\n",
            ["[model] activation._target_", "did you mean 'ReLU'?"],
        ),
        (
            "[model]\n_target_ = 'myapp.nets.Net'\nwidth = 4\n"
            "activation = {_target_ = 'torch.nn.LeakyReLU', slope = 1}\n",
            ["[model]: an argument cannot be made", "slope"],
        ),
    ],
    ids=["missing", "unknown", "raises", "kind", "wrong kind", "nested name", "nested call"],
)
def test_a_model_step_that_fails(app: Path, config: str, words: list[str]) -> None:
    (app / "myapp" / "conf" / "config.toml").write_text(config)
    message = said(Invalid, Project.open(app).make_adapter, 1)
    assert all(part in message for part in words), message
    assert "\n" not in message


def test_a_partition_without_an_index(app: Path) -> None:
    for override in ("dataset.partition.of=3", "dataset.partition.index=3"):
        project = Project.open(app, [override])
        assert "on the device dataset.partition.index" in said(Invalid, project.load_data)
