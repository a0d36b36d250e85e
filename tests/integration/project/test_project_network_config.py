"""A config from the network: what of it counts on a device, and what it may not name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project_files import DATA, code, configure, said

from fedops.config.loading import to_plain
from fedops.config.overrides import apply_overrides
from fedops.core.errors import Forbidden, Invalid
from fedops.scalize.flow.project import Project


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
    steps = project.with_config(network(project)).describe()
    assert "OrderedDict" in repr(steps)


def test_a_typo_in_the_runs_config(app: Path) -> None:
    project = Project.open(app)
    assert "the run's config: num_round" in said(Invalid, project.with_config, {"num_round": 1})
