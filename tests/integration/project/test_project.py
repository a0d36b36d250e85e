"""Projects as folders: opened, explained, called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from project_files import CONFIG, NETS, code, configure, context

from fedops.config.loading import to_plain
from fedops.config.overrides import apply_overrides
from fedops.scalize.flow.project import Project


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
