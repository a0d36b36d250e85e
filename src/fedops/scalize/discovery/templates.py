"""The text of the files that ``fedops init`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tomli_w

from fedops.scalize.discovery.candidates import Choice

_CONFIG_HEAD = """\
# How this project is trained federatedly. Written by `fedops init` from a look at the project; change
# what is wrong, then run `fedops check`. All keys: docs/reference/config.md of FedOps.
"""
_DEFAULTS: dict[str, Any] = {
    "random_seed": 42,
    "learning_rate": 0.001,
    "num_epochs": 1,
    "batch_size": 32,
}
_MEANING = {
    "random_seed": "of the initial model and of every training",
    "learning_rate": "",
    "num_epochs": "a round and device",
    "batch_size": "",
}
#: What a framework's own ``fit`` takes from the model instead.
_UNUSED = {
    "lightning": ("learning_rate",),
    "sklearn": ("learning_rate", "num_epochs", "batch_size"),
    "keras": ("learning_rate",),
}


@dataclass(frozen=True)
class Texts:
    name: str
    framework: str
    package: str
    modules: tuple[str, ...]
    root: str  #: where the project's imports start, seen from the app's folder
    home: str  #: the project's folder, seen from the app's
    carry: tuple[str, ...] = ()  #: files that the server needs beside the code

    def pyproject(self, steps: Mapping[str, Choice]) -> str:
        flow = {
            step: choice.target
            for step, choice in steps.items()
            if choice.target and step != "model"
        }
        return _PYPROJECT.format(
            name=self.name,
            package=self.package,
            packages=_inline([self.package, *self.modules]),
            path=_inline([".", self.root]),
            workdir=_inline(self.home),
            carry=f"carry = {_inline(list(self.carry))}  # what else the server gets\n"
            if self.carry
            else "",
            flow="\n".join(f"{step} = {_inline(target)}" for step, target in flow.items()),
        )

    def config(
        self,
        steps: Mapping[str, Choice],
        settings: Mapping[str, tuple[Any, str]],
        optimizer: Mapping[str, Any] | None,
        loss: Mapping[str, Any] | None,
    ) -> str:
        sections = [
            _CONFIG_HEAD + "\n".join(_setting_lines(settings, self.framework)),
            self._model(steps["model"]),
        ]
        for step in ("data", "train", "evaluate"):
            if steps[step].arguments:
                why = f"# What {steps[step].target} gets beside what FedOps gives it."
                sections.append(f"{why}\n{_table(step, steps[step].arguments)}")
        for key, part in (("optimizer", optimizer), ("loss", loss)):
            if part:
                sections.append(_table(key, part))
        dataset = {"name": self.name.removesuffix("-federated"), "validation_split": 0.2}
        sections.append(
            f"# Devices of one run must agree on the name.\n{_table('dataset', dataset)}"
        )
        sections.append(_table("server.strategy", {"_target_": "flwr.serverapp.strategy.FedAvg"}))
        return "\n\n".join(section.strip() for section in sections) + "\n"

    def _model(self, choice: Choice) -> str:
        return _table("model", {"_target_": choice.target, **choice.arguments})

    def apps(self) -> str:
        return _APPS


def _setting_lines(settings: Mapping[str, tuple[Any, str]], framework: str) -> list[str]:
    lines = []
    for key, default in _DEFAULTS.items():
        if key not in settings and key in _UNUSED.get(framework, ()):
            continue
        value, where = settings.get(key, (default, ""))
        comment = ", ".join(part for part in (_MEANING[key], where) if part)
        lines.append(f"{key} = {_inline(value)}" + (f"  # {comment}" if comment else ""))
    lines.append("num_rounds = 3")
    lines.append('task_id = "task_id"  # stands for the only ready task of the server')
    return lines


def _table(name: str, values: Mapping[str, Any]) -> str:
    """One TOML table, nested mappings as tables of their own."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    tables = [f"[{name}]", *(f"{key} = {_inline(value)}" for key, value in plain.items())]
    nested = [
        _table(f"{name}.{key}", value)
        for key, value in values.items()
        if isinstance(value, Mapping)
    ]
    return "\n".join([*tables, *(f"\n{table}" for table in nested)])


def _inline(value: Any) -> str:
    return (
        tomli_w.dumps({"value": value}, indent=0)
        .removeprefix("value = ")
        .strip()
        .replace("\n", " ")
    )


_PYPROJECT = """\
# A federated app around the project in the folder above, which stays as it is.
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
description = "The project beside this folder, trained federatedly"
license = "Apache-2.0"
requires-python = ">=3.11"
dependencies = ["fedops>=2.0.0.dev0", "flwr[simulation]>=1.41,<1.42"]

[tool.setuptools]
packages = ["{package}"]

[tool.fedops]
package = {packages}
config = "config.toml"
path = {path}  # where imports are looked for, seen from this folder
workdir = {workdir}  # where the project's relative paths start
{carry}
[tool.fedops.flow]
{flow}

[tool.flwr.app]
publisher = "local"

[tool.flwr.app.components]
serverapp = "{package}.apps:server"
clientapp = "{package}.apps:client"

[tool.flwr.app.config]
# "client": this machine takes part in a task of a FedOps server.
# "simulation": federated averaging over Flower's own nodes.
mode = "client"
task_id = "task_id"  # stands for the only ready task of the server
server = ""  # the FedOps server, if neither FEDOPS_SERVER nor config.toml names it
set = ""  # overrides of config.toml: "key=value key=value"

[tool.uv]
# `flwr run .` syncs the app's dependencies. These come with the environment that `flwr` runs in.
exclude-dependencies = ["fedops", "flwr", "ray"]
"""

_APPS = '''\
"""What Flower runs of this app. A device takes part with `flwr run .`, or with `fedops client run`."""

from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedops.app import answer, run_by_mode

APP_DIR = Path(__file__).resolve().parents[1]

server = ServerApp()
client = ClientApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    run_by_mode(grid, context, APP_DIR)


@client.train()
def train(message: Message, context: Context) -> Message:
    return answer(message, context, APP_DIR)


@client.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    return answer(message, context, APP_DIR)
'''
