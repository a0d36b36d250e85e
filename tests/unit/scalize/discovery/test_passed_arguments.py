"""What a project passes to its own functions reaches them in a run, or is named as what differs."""

from pathlib import Path
from typing import Any

import pytest

from fedops.config import settings_files
from fedops.scalize.discovery.scaffold import Plan, propose

STEPS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, hidden=4, extra=None):
        super().__init__()

def load_data(size=50):
    return train, test

def train(model, loader, lr=0.1, decay=0.0):
    for x, y in loader:
        loss.backward()
"""


def _plan(folder: Path, code: str, **files: str) -> Plan:
    (folder / "main.py").write_text(STEPS + code)
    for name, text in files.items():
        (folder / name.replace("_dot_", ".")).write_text(text)
    return propose(folder)


def _model(folder: Path, code: str, **files: str) -> tuple[dict[str, Any], list[str]]:
    """What the model gets, and what is said of it."""
    plan = _plan(folder, code, **files)
    said = [d.line() for d in plan.differences if "Net" in d.text]
    return dict(plan.steps["model"].arguments), said


OPTIONS = "import argparse\np = argparse.ArgumentParser()\n"


@pytest.mark.parametrize(
    ("code", "hidden"),
    [
        ("def main():\n    net = Net(hidden=64)\n", 64),
        ("SIDE = 8\ndef main():\n    net = Net(SIDE * SIDE)\n", 64),
        ("def main(width=8):\n    net = Net(width)\nmain(64)\n", 64),
        ("def build(width):\n    return Net(width)\ndef main():\n    build(width=64)\n", 64),
        (OPTIONS + "p.add_argument('--w', type=int, default='64')\n"
         "def main():\n    args = p.parse_args()\n    net = Net(args.w)\n", 64),
        (OPTIONS + "p.add_argument('--w', default=1)\np.set_defaults(w=64)\n"
         "def main():\n    args = p.parse_args()\n    net = Net(args.w)\n", 64),
        ("import yaml\ndef main():\n    cfg = yaml.safe_load(open('c.yaml'))\n"
         "    net = Net(**cfg['model'])\n", 64),
        ("import yaml\ndef build(cfg):\n    return Net(cfg['hidden'])\n"
         "def main():\n    cfg = yaml.safe_load(open('c.yaml'))\n    build(cfg['model'])\n", 64),
        ("import yaml\ncfg = yaml.safe_load(open('c.yaml'))\ncfg['hidden'] = 64\n"
         "net = Net(cfg['hidden'])\n", 64),
    ],
    ids=["written", "calculated", "called", "handed-on", "typed-default", "set-defaults", "spread",
         "part", "changed"],
)  # fmt: skip
def test_what_is_passed_over_a_default_is_used(tmp_path: Path, code: str, hidden: int) -> None:
    arguments, said = _model(tmp_path, code, c_dot_yaml="hidden: 3\nmodel: {hidden: 64}\n")
    target = propose(tmp_path).steps["model"].target
    assert said == []
    if target == "main.Net":
        assert arguments == {"hidden": hidden}
    else:  # the function that makes it gets the number, or the part of the file
        (given,) = arguments.values()
        assert given == hidden or given["section_"] == "model"


@pytest.mark.parametrize(
    "code",
    [
        "def main():\n    width = 8\n    width *= 2\n    net = Net(width)\n",
        "def main():\n    for width in (8, 16):\n        net = Net(width)\n",
        OPTIONS + "p.add_argument('--w', type=int, default=8)\n"
        "args = p.parse_args()\nargs.w = args.w * 2\nnet = Net(args.w)\n",
        OPTIONS
        + "s = p.add_subparsers()\na = s.add_parser('a')\na.add_argument('--w', default=1)\n"
        "b = s.add_parser('b')\nb.add_argument('--w', default=2)\nnet = Net(p.parse_args().w)\n",
        "net = Net(**load())\n",
    ],
    ids=["changed", "loop", "option-changed", "subparsers", "spread"],
)
def test_what_cannot_be_read_is_not_guessed_but_named(tmp_path: Path, code: str) -> None:
    arguments, said = _model(tmp_path, code)
    assert arguments == {}
    (line,) = said
    assert line.startswith("main.py:")
    assert "cannot be read: 4 is used" in line or "**load() of Net cannot be read" in line


def test_a_command_of_another_value_is_named(tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text("from main import Net\nnet = Net(128)\n")
    arguments, said = _model(tmp_path, "net = Net(64)\n")
    assert arguments == {"hidden": 128}
    assert said == ["main.py:15: Net gets hidden=64 here; 128 is used"]


def test_settings_of_a_class_are_made_as_the_project_makes_them(tmp_path: Path) -> None:
    settings = (
        "from dataclasses import dataclass\n@dataclass\nclass Config:\n    width: int = 1\n"
        "    epochs: int = 9\n    @classmethod\n    def from_yaml(cls, path): ...\n"
    )
    code = settings + "cfg = Config(width=8)\ncfg.epochs = 3\nnet = Net(extra=cfg)\n"
    assert _model(tmp_path, code) == (
        {"extra": {"_target_": "main.Config", "width": 8, "epochs": 3}},
        [],
    )
    code = settings + "cfg = Config.from_yaml('c.yaml')\nnet = Net(extra=cfg)\n"
    made = {"_target_": "main.Config.from_yaml", "path": "c.yaml"}
    assert _model(tmp_path, code) == ({"extra": made}, [])


def test_options_that_are_none_are_there(tmp_path: Path) -> None:
    code = OPTIONS + "p.add_argument('--w', default=3)\np.add_argument('--resume')\n"
    code += "def main():\n    args = p.parse_args()\n    net = Net(extra=args)\n"
    arguments, _ = _model(tmp_path, code)
    table = arguments["extra"]
    maker = "fedops.config.settings_files.namespace"
    assert table == {"_target_": maker, "none_": ["resume"], "w": 3}
    made = settings_files.namespace(table["none_"], w=3)
    assert (made.resume, made.w) == (None, 3)


def test_data_in_json_and_passwords_do_not_leave_the_machine(tmp_path: Path) -> None:
    code = (
        "import json\ndef read_dataset(size, password):\n"
        "    return json.load(open('patients.json')), 1\n"
        "def main():\n    read_dataset(3, password='hunter2')\n"
    )
    plan = _plan(tmp_path, code, patients_dot_json='{"Ann": {"age": 3}}')
    assert plan.carry == ()
    assert plan.steps["data"].arguments["password"] == "${oc.env:PASSWORD}"
    assert not any("hunter2" in line for line in plan.lines())
    assert any("set PASSWORD in the environment" in line for line in plan.lines())


def test_omegaconf_reads_numbers_by_its_own_rules(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("lr: 1e-3\nday: 2020-01-01\n")
    loaded = settings_files.as_omegaconf(str(tmp_path / "c.yaml"))
    assert (loaded.lr, loaded.day) == (0.001, "2020-01-01")
