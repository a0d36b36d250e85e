"""What each parameter receives, from wherever a project keeps its settings."""

from pathlib import Path
from typing import Any

import pytest

from fedops.config import settings_files
from fedops.core.errors import Invalid
from fedops.scalize.discovery.mapping import choose_steps
from fedops.scalize.discovery.source.survey import analyse_project

STEPS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, hidden, rate=0.1):
        super().__init__()

def load_data(size):
    return train, test

def train(model, loader, decay, rounds):
    for x, y in loader:
        loss.backward()
"""
FILES = "fedops.config.settings_files"


def _arguments(folder: Path, **files: str) -> dict[str, dict[str, Any]]:
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    _, steps = choose_steps(analyse_project(folder))
    assert not any(choice.missing for choice in steps.values()), steps
    return {step: dict(choice.arguments) for step, choice in steps.items()}


USE = """
    model = Net(width)
    train(model, load_data(size), decay, 3)
"""


@pytest.mark.parametrize(
    "command",
    [
        "import click\n@click.command()\n@click.option('--width', '-w', default=7)\n"
        "@click.option('--size', default=20)\n@click.option('--decay', default=0.5)\n"
        "def main(width, size, decay):" + USE,
        "import typer\ndef main(width: int = typer.Option(7), size: int = typer.Option(default=20),\n"
        "         decay: float = typer.Argument(0.5)):" + USE,
        "def main(width=7, size=20, *, decay=0.5):" + USE,
        "def main():\n    width = 7\n    size = 20\n    decay = 0.5" + USE,
    ],
    ids=["click", "typer", "defaults", "names"],
)
def test_a_commands_options_and_a_functions_own_values_fill_parameters(
    tmp_path: Path, command: str
) -> None:
    found = _arguments(tmp_path, main_dot_py=STEPS + command)
    assert found["model"] == {"hidden": 7}
    assert found["data"] == {"size": 20}
    assert found["train"] == {"decay": 0.5, "rounds": 3}


def test_a_name_that_is_given_different_values_is_not_guessed(tmp_path: Path) -> None:
    code = "def main():\n    width = 7\n    width = 8\n    model = Net(width)\n"
    (tmp_path / "main.py").write_text(STEPS + code)
    _, steps = choose_steps(analyse_project(tmp_path))
    assert steps["model"].missing == ("hidden",)


YAML = "model: {hidden: 9}\ndata: {size: 30}\ntrain:\n  decay: 0.25\n  rounds: 2\n  epochs: 8\n"
WHOLE = STEPS.replace("hidden, rate=0.1", "cfg").replace("load_data(size)", "load_data(cfg)")
WHOLE = WHOLE.replace("decay, rounds", "cfg")
MAIN = "    train(Net(cfg), load_data(cfg), cfg)\n"


@pytest.mark.parametrize(
    ("code", "maker"),
    [
        ("import yaml\ndef main():\n    cfg = yaml.safe_load(open('c.yaml'))\n", "as_dict"),
        (
            "import yaml\ndef main():\n    with open('c.yaml') as f:\n        cfg = yaml.safe_load(f)\n",
            "as_dict",
        ),
        (
            "import yaml\nfrom types import SimpleNamespace\ndef main():\n"
            "    cfg = SimpleNamespace(**yaml.safe_load(open('c.yaml')))\n",
            "as_namespace",
        ),
        (
            "from omegaconf import OmegaConf\ndef main():\n    cfg = OmegaConf.load('c.yaml')\n",
            "as_omegaconf",
        ),
        (
            "import argparse, yaml\np = argparse.ArgumentParser()\n"
            "p.add_argument('--file', default='c.yaml')\n"
            "def main():\n    args = p.parse_args()\n    cfg = yaml.safe_load(open(args.file))\n",
            "as_dict",
        ),
    ],
    ids=["open", "with", "namespace", "omegaconf", "option"],
)
def test_a_file_of_settings_is_given_whole_and_trains_one_epoch(
    tmp_path: Path, code: str, maker: str
) -> None:
    found = _arguments(tmp_path, main_dot_py=WHOLE + code + MAIN, c_dot_yaml=YAML)
    whole = {"_target_": f"{FILES}.{maker}", "file_": "c.yaml"}
    assert found["model"] == found["data"] == {"cfg": whole}
    assert found["train"] == {"cfg": {**whole, "train": {"epochs": 1}}}


def test_parts_and_single_settings_of_a_file(tmp_path: Path) -> None:
    code = "import json\nCFG = json.load(open('c.json'))\nnet = Net(CFG['model']['hidden'])\n"
    code += "data = load_data(CFG['data'])\ntrain(net, data, CFG['train']['decay'], 1)\n"
    text = '{"model": {"hidden": 9}, "data": {"size": 30}, "train": {"decay": 0.25}}'
    found = _arguments(tmp_path, main_dot_py=STEPS + code, c_dot_json=text)
    assert found["model"] == {"hidden": 9}
    part = {"_target_": f"{FILES}.as_dict", "file_": "c.json", "section_": "data"}
    assert found["data"] == {"size": part}
    assert found["train"] == {"decay": 0.25, "rounds": 1}


HYDRA = "import hydra\n@hydra.main(config_path='conf', config_name='base')\ndef main(cfg):\n"


def test_hydra_composes_the_groups(tmp_path: Path) -> None:
    base = (
        "defaults: [{model: small}, _self_]\nlr: 0.1\nepochs: 4\ndata: {size: '${model.hidden}'}\n"
    )
    code = (
        HYDRA
        + "    net = Net(cfg.model.hidden)\n    train(net, load_data(cfg.data.size), cfg, 2)\n"
    )
    found = _arguments(
        tmp_path,
        main_dot_py=STEPS + code,
        conf__base_dot_yaml=base,
        conf__model__small_dot_yaml="hidden: 5\n",
    )
    assert found["model"] == {"hidden": 5}
    assert found["data"] == {"size": 5}
    whole = {"_target_": f"{FILES}.from_hydra", "folder_": "conf", "name_": "base"}
    assert found["train"] == {"decay": {**whole, "epochs": 1}, "rounds": 2}
    assert analyse_project(tmp_path).settings_files == {"conf/base.yaml", "conf/model/small.yaml"}


def test_the_run_config_of_a_flower_app(tmp_path: Path) -> None:
    text = "[tool.flwr.app.config]\nhidden = 6\nsize = 10\nweight-decay = 0.75\n"
    steps = STEPS.replace("decay, rounds", "weight_decay")
    found = _arguments(tmp_path, task_dot_py=steps, pyproject_dot_toml=text)
    assert found["model"] == {"hidden": 6}
    assert found["train"] == {"weight_decay": 0.75}


def test_settings_that_differ_between_files_are_not_guessed(tmp_path: Path) -> None:
    code = "import yaml\na = yaml.safe_load(open('a.yaml'))\nb = yaml.safe_load(open('b.yaml'))\n"
    (tmp_path / "a.yaml").write_text("hidden: 1\nsize: 2\n")
    (tmp_path / "b.yaml").write_text("hidden: 3\nsize: 2\n")
    (tmp_path / "main.py").write_text(STEPS + code)
    _, steps = choose_steps(analyse_project(tmp_path))
    assert steps["model"].missing == ("hidden",)
    assert steps["data"].arguments == {"size": 2}


# --- what a device makes of it ---------------------------------------------------------------


def test_a_file_as_the_code_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("model: {hidden: 9, layers: [1, 2]}\nresume: null\nwidth: ${model.hidden}\n")
    whole = settings_files.as_dict(str(file), model={"hidden": 4})
    assert whole == {
        "model": {"hidden": 4, "layers": [1, 2]},
        "resume": None,
        "width": "${model.hidden}",
    }
    assert settings_files.as_dict(str(file), "model") == {"hidden": 9, "layers": [1, 2]}
    assert settings_files.as_namespace(str(file), resume="x").resume == "x"
    omega = settings_files.as_omegaconf(str(file), model={"hidden": 4})
    assert (omega.width, omega.resume, list(omega.model.layers)) == (4, None, [1, 2])


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No such file"):
        settings_files.as_dict(str(tmp_path / "c.yaml"))
    (tmp_path / "c.yaml").write_text("a: [")
    with pytest.raises(Invalid, match=r"c.yaml cannot be read: while parsing"):
        settings_files.as_dict(str(tmp_path / "c.yaml"))
    (tmp_path / "d.toml").write_text("a = {b = 1}")
    with pytest.raises(Invalid, match=r"has no 'a.c'"):
        settings_files.as_dict(str(tmp_path / "d.toml"), "a.c")
    with pytest.raises(Invalid, match="Hydra cannot compose this config"):
        settings_files.from_hydra(str(tmp_path), "missing")


def test_hydra_leaves_no_trace(tmp_path: Path) -> None:
    from hydra.core.global_hydra import GlobalHydra

    (tmp_path / "base.yaml").write_text("train: {lr: 0.1, epochs: 4}\nname: '${train.lr}'\n")
    cfg = settings_files.from_hydra(str(tmp_path), "base", "train", epochs=1)
    assert (cfg.lr, cfg.epochs) == (0.1, 1)
    with pytest.raises(Exception, match="nothing"):
        _ = cfg.nothing
    assert not GlobalHydra.instance().is_initialized()
