"""``fedops init`` on a FedOps 1 project: its config as FedOps 2 knows it, and an app that calls its code.

Nothing is run, and none of the project's files is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from fedops.config.loading import parse_config
from fedops.core.errors import Invalid
from fedops.scalize.discovery.app_folder import (
    FOLDER,
    app_name,
    app_package,
    new_folder,
    write_texts,
)
from fedops.scalize.discovery.candidates import Choice
from fedops.scalize.discovery.templates import Texts
from fedops.scalize.legacy.old_files import (
    CONFIG,
    Missing,
    line_of,
    missing_imports,
    read_config,
    table,
)

#: Keys of ``config.yaml`` that mean the same in FedOps 2.
_SAME = (
    "random_seed",
    "learning_rate",
    "model_type",
    "task_id",
    "num_epochs",
    "batch_size",
    "num_rounds",
    "clients_per_round",
)
_TABLES: Mapping[str, tuple[str, ...]] = {
    "dataset": ("name", "validation_split"),
    "xai": ("enabled", "run_location", "target_layer_index", "output_dir", "layer"),
}
#: What is said of keys that FedOps 2 does itself, or that the project's own code goes on reading.
_ELSEWHERE = {
    "wandb": "left out: each device's owner switches it on ('--set wandb.use=true') with a key of their own",
    "docker": "left out: FedOps 2 does not need to know",
}
_HUGGINGFACE = (
    "model_type 'Huggingface' fine-tunes adapters by FedOps 1's own code: FedOps 2 trains Transformers "
    "and PEFT models itself; write the model and the data as two functions and run 'fedops init' on them"
)


@dataclass(frozen=True)
class Migration:
    """What ``fedops init`` would write for a FedOps 1 project."""

    project: Path
    config: Mapping[str, Any]
    steps: Mapping[str, str]
    #: What is to be known of keys and files that FedOps 2 reads otherwise, or not.
    remarks: tuple[str, ...]
    missing: tuple[Missing, ...]

    @property
    def folder(self) -> Path:
        return self.project / FOLDER

    @property
    def problems(self) -> tuple[str, ...]:
        """What has to be mended by hand, a line each."""
        return tuple(str(one) for one in self.missing)

    @property
    def name(self) -> str:
        return app_name(self.project)

    @property
    def package(self) -> str:
        return app_package(self.name)

    def lines(self) -> list[str]:
        """The proposal: what becomes of each part, what is read otherwise, and what is open."""
        lines = ["a FedOps 1 project: its own programs register model, data and functions"]
        lines += [f"{step}: {target}" for step, target in self.steps.items()]
        lines += [f"{key} = {value!r} (conf/config.yaml)" for key, value in _plain(self.config)]
        return [*lines, *self.remarks, *(f"open: {problem}" for problem in self.problems)]

    def files(self) -> dict[str, str]:
        """Path within the folder -> text."""
        texts = Texts(
            self.name, "", self.package, (), root="..", home="..", carry=("conf/**/*.yaml",)
        )
        return {
            "pyproject.toml": texts.pyproject(self._flow()),
            "config.toml": _HEAD + tomli_w.dumps(dict(self.config)),
            f"{self.package}/__init__.py": "",
            f"{self.package}/apps.py": texts.apps(),
            f"{self.package}/steps.py": _STEPS,
        }

    def _flow(self) -> dict[str, Choice]:
        return {step: Choice(step, f"{self.package}.steps.{step}") for step in self.steps}


_STEPS = '''\
"""The steps of the FedOps 1 project in the folder above: what its own programs register."""

from fedops.app import OldProject

project = OldProject()
data = project.data
train = project.train
evaluate = project.evaluate
validation = project.validation
'''

_HEAD = """\
# How this FedOps 1 project is trained by FedOps 2. Written by `fedops init` from conf/config.yaml, which the
# project's own code goes on reading; what a run changes here holds there too.
"""


def propose_migration(project: Path, files: list[Path]) -> Migration:
    """Look at a FedOps 1 project. ``files``: its Python files.

    Raises:
        Invalid: its config cannot be read or used, or nothing of the kind can be federated.
    """
    old = read_config(project)
    if str(old.get("model_type", "")).casefold() == "huggingface":
        raise Invalid(f"{project / CONFIG}: {_HUGGINGFACE}")
    model = table(old, "model")
    if not model.get("_target_"):
        raise Invalid(
            f"{project / CONFIG}: [model] names no _target_, so nobody knows what makes the model; write "
            "model: {_target_: models.<class>} there"
        )
    keras = str(old.get("model_type", "")).casefold() == "tensorflow"
    config = _new_config(project, old)
    parse_config(config, f"{project / CONFIG}")
    made = "what client_main.py registers as"
    steps = {"model": f"{model['_target_']} (conf/config.yaml)"}
    steps["data"] = (
        f"{made} {'x_train, y_train, x_test, y_test' if keras else 'train_loader, test_loader'}"
    )
    if not keras:
        steps |= {"train": f"{made} train_torch", "evaluate": f"{made} test_torch"}
    remarks = tuple(_remarks(project, old, keras))
    return Migration(project, config, steps, remarks, tuple(missing_imports(files, project)))


def write_migration(plan: Migration) -> list[Path]:
    """Write the app's folder. ``Conflict``: it exists already."""
    with new_folder(plan.project) as folder:
        return write_texts(folder, plan.files())


def _new_config(project: Path, old: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {key: old[key] for key in _SAME if old.get(key) not in (None, "")}
    found["model"] = table(old, "model")
    for name, keys in _TABLES.items():
        given = {key: value for key, value in table(old, name).items() if key in keys}
        if given:
            found[name] = given
    if found.get("xai", {}).get("run_location") == "both":
        found["xai"]["run_location"] = "client"
    strategy = table(table(old, "server"), "strategy")
    if strategy:
        found["server"] = {"strategy": strategy}
    if _has_batch_norm(project):
        found["exchange"] = {"local": ["*bn*"]}
    return found


def _has_batch_norm(project: Path) -> bool:
    """FedOps 1 kept every tensor with ``bn`` in its name on the device."""
    file = project / "models.py"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return re.search(r"self\.\w*bn\w*\s*=", text) is not None


def _remarks(project: Path, old: Mapping[str, Any], keras: bool) -> Iterator[str]:
    known = (*_SAME, *_TABLES, "model", "server")
    for key in old:
        if key in _ELSEWHERE:
            yield f"{line_of(project, key)}: '{key}' is {_ELSEWHERE[key]}"
        elif key not in known:
            yield f"{line_of(project, key)}: '{key}' is read by the project's own code alone"
    if (project / "server_main.py").is_file() and not keras:
        yield (
            "server_main.py: not used, so clients judge the model on their test data; where the server has "
            'validation data, add validation = "<package>.steps.validation" to [tool.fedops.flow]'
        )
    if not keras:
        yield "val_loader of client_main.py is not used: the model is judged on test_loader, as by FedOps 1"
    if (project / "client_manager_main.py").is_file():
        yield "client_manager_main.py: not needed any more: 'fedops client run' takes its place"
    if _has_batch_norm(project):
        yield "tensors with 'bn' in their names stay on each device, as with FedOps 1 ([exchange] local)"


def _plain(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _plain(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
