"""The text of the files that ``fedops init`` writes beside a FedOps 1 project."""

from __future__ import annotations

from collections.abc import Mapping


def pyproject_text(name: str, package: str, flow: Mapping[str, str]) -> str:
    steps = "\n".join(f'{step} = "{target}"' for step, target in flow.items())
    return _PYPROJECT.format(name=name, package=package, flow=steps)


def app_text() -> str:
    return _APPS


STEPS = '''\
"""The steps of the FedOps 1 project in the folder above: what its own programs register."""

from fedops.app import OldProject

project = OldProject()
data = project.data
train = project.train
evaluate = project.evaluate
validation = project.validation
'''

_PYPROJECT = """\
# A FedOps 2 app around the FedOps 1 project in the folder above, which stays as it is.
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
description = "The FedOps 1 project beside this folder"
license = "Apache-2.0"
requires-python = ">=3.11"
dependencies = ["fedops>=2.0.0.dev0", "flwr[simulation]>=1.41,<1.42"]

[tool.setuptools]
packages = ["{package}"]

[tool.fedops]
package = "{package}"
config = "config.toml"
path = [".", ".."]  # where imports are looked for, seen from this folder
workdir = ".."  # where the project's relative paths start
carry = ["conf/**/*.yaml"]  # what else the server gets

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
