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
        "data._target_=myapp.data.np.load",
        "data._target_=sklearn.datasets.fetch_openml",
        "data._target_=torch.nn.Linear",
        "model._target_=keras.saving.load_model",
        "model._target_=keras.utils.get_file",
        "model._target_=myapp.models.helper",
        "model._target_=subprocess.run",
        "train._target_=fedops.processes.main",
        "evaluate._target_=torch.nn.functional.torch.load",
        "optimizer._target_=builtins.exec",
        "optimizer=builtins.exec",
        "model.activation={_target_='shutil.rmtree', path='/'}",
        "model.activation={inner=[{_target_='os.remove'}]}",
        "model.activation={_target_='keras.layers.Lambda'}",
        "server.strategy._target_=os.system",
    ],
)
def test_the_network_may_not_name_just_anything(app: Path, override: str) -> None:
    project = Project.open(app)
    message = said(Forbidden, project.with_config, network(project, override))
    assert "may not be named by a config from the server" in message


@pytest.mark.parametrize(
    "override",
    [
        "data.path=/etc/passwd",
        "data.path=secrets",
        "data.cache_dir=x",
        "data.source=https://example.org/data.csv",
        "data.source=weights.pt",
        "data.inner=[{deep='~/.ssh'}]",
        "dataset.name=someone/their-data",
        "evaluate.output_folder=elsewhere",
        "model.pretrained=hub/their-model",
        "model.weights='C:\\secret'",
        "train.log_url=x",
    ],
)
def test_the_network_may_not_name_a_file_or_a_url(app: Path, override: str) -> None:
    project = Project.open(app)
    message = said(Forbidden, project.with_config, network(project, override))
    assert override.partition("=")[0] in message.replace(".inner.0.deep", ".inner")
    assert "may name a file or a URL, and only this machine's own files may" in message


@pytest.mark.parametrize(
    "override",
    [
        "model.trust_remote_code=true",
        "model.layers=[{class_name='Lambda', config={}}]",
        "data.allow_pickle=true",
        "model.kernel_initializer={module='os', x=1}",
    ],
)
def test_the_network_may_not_switch_a_librarys_guards_off(app: Path, override: str) -> None:
    project = Project.open(app)
    message = said(Forbidden, project.with_config, network(project, override))
    assert "may not be set by a config from the server" in message


def test_paths_and_accounts_are_the_devices_own(app: Path) -> None:
    project = Project.open(app)
    plain = {
        **network(project),
        "dataset": {"root": "/secret"},
        "xai": {"output_dir": "/tmp"},
        "wandb": {"use": True, "key": "theirs", "account": "them", "project": "p"},
        "server": {"url": "http://elsewhere"},
    }
    mine, run = project.config, project.with_config(plain).config
    assert (run.dataset.root, run.xai.output_dir) == (mine.dataset.root, mine.xai.output_dir)
    assert (run.wandb, run.server.url) == (mine.wandb, mine.server.url)


def test_a_device_keeps_the_files_that_its_own_config_names(
    app: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configure(app, '[data]\npath = "/data/mine.csv"\n')
    project = Project.open(app)
    caplog.set_level("INFO", logger="fedops.config")
    run = project.with_config(network(project, "data.path=/data/yours.csv")).config
    assert run.data == project.config.data
    assert "data.path of the run's config is not used" in caplog.text


def test_an_app_lists_its_choices(app: Path) -> None:
    code(app, DATA + "def other():\n    return None\n")
    project = Project.open(app)
    choice = network(project, "model._target_=myapp.data.other")
    assert "choices in [tool.fedops]" in said(Forbidden, project.with_config, choice)
    file = app / "pyproject.toml"
    text = file.read_text().replace(
        "[tool.fedops]", "[tool.fedops]\nchoices = ['myapp.data.other']"
    )
    file.write_text(text)
    run = Project.open(app).with_config(choice)
    assert run.config.model.target == "myapp.data.other"


@pytest.mark.parametrize(
    "override",
    ["optimizer=torch.optim.SGD", "optimizer=sgd", "loss=torch.nn.MSELoss", "model.width=12"],
)
def test_the_network_chooses_from_the_list(app: Path, override: str) -> None:
    project = Project.open(app)
    run = project.with_config(network(project, override)).config
    assert to_plain(run) != to_plain(project.config)


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
