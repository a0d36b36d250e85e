"""An app whose training is a command of its own: its adapter, its data, and what is said of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedops.config.schema import Config
from fedops.config.script_table import Script
from fedops.core.errors import Invalid
from fedops.scalize.flow.datasets import DataSplit
from fedops.scalize.flow.manifest import Manifest
from fedops.scalize.observing.running import watch
from fedops.scalize.script.observation import Observation
from fedops.scalize.script.round_folder import outputs
from fedops.scalize.script.script_adapter import ScriptAdapter, ScriptOptions
from fedops.scalize.script.script_run import ScriptRunner, Watch

NOT_EXPLAINED = (
    "a model that an app's own command trains cannot be explained: it is in the command's process"
)
#: Settings that a command has of its own, and their defaults, which say nothing.
_OF_THE_COMMAND = ("num_epochs", "batch_size", "learning_rate", "optimizer", "loss")


def home_of(manifest: Manifest) -> Path:
    """The folder that the command is run in: the project's."""
    return manifest.workdir or manifest.app_dir


def make_script_adapter(manifest: Manifest, config: Config, by: Watch = watch) -> ScriptAdapter:
    """The adapter of an app with ``[script]``. Runs nothing of it.

    Raises:
        Invalid: what ``fedops init`` noted of the script is missing or does not fit the config.
    """
    script = _script(config)
    observation = Observation.read(manifest.app_dir, script)
    options = ScriptOptions(script, config.exchange, config.resources, _part(config))
    return ScriptAdapter(observation, options, make_runner(manifest, script, observation, by))


def make_runner(manifest: Manifest, script: Script, seen: Observation, by: Watch) -> ScriptRunner:
    """What runs the app's command, without the app's own folder and what the observed run wrote."""
    home = home_of(manifest)
    written = outputs(home, seen.seen.written, seen.seen.read)
    app = [] if home.is_relative_to(manifest.app_dir) else [manifest.app_dir]
    return ScriptRunner(home, by, script.max_seconds, frozenset([*written, *app]))


def script_split(adapter: ScriptAdapter, name: str) -> DataSplit:
    """How much data this device has for the command, found by running it up to its first step.

    Raises:
        Invalid: the command does not come so far.
    """
    found = adapter.look()
    return DataSplit(found.train, found.validation, name, found.examples)


def describe_script(manifest: Manifest, config: Config) -> list[str]:
    """What a round does, a line each."""
    script = _script(config)
    seen = Observation.read(manifest.app_dir, script)
    models = ", ".join(f"{model.name} ({model.where or model.kind})" for model in seen.federated)
    return [
        f"command: {shlex.join(script.command)}",
        f"models: {models}",
        f"a round: {_ending(script)}; optimizer and learning rate are the command's own",
        f"result: the model {_RESULTS[script.result]}",
        f"schedulers: {_SCHEDULES[script.schedule]}; the optimizer's moments begin anew in each round",
    ]


_RESULTS = {
    "loop": "at the end of the last training loop",
    "script": "as the script holds it at its end",
}
_SCHEDULES = {"goes_on": "go on from round to round", "each_round": "begin anew in each round"}


def _ending(script: Script) -> str:
    if script.passes:
        return f"{script.passes} pass{'es' if script.passes > 1 else ''} over the training data"
    return f"{script.steps} steps" if script.steps else "to the command's own end"


def refuse_unused(config: Config) -> None:
    """Refuse settings that a command would not heed.

    Raises:
        Invalid: naming the first of them.
    """
    defaults = Config()
    for name in _OF_THE_COMMAND if config.script else ():
        if getattr(config, name) != getattr(defaults, name):
            instead = (
                "passes or steps under [script]"
                if name == "num_epochs"
                else "the command's options"
            )
            raise Invalid(
                f"{name} does nothing for an app that is trained by its own command: set {instead} in the"
                " app's config instead"
            )
    if config.script and config.xai.enabled:
        raise Invalid(f"[xai] {NOT_EXPLAINED}: set xai.enabled = false")


def _script(config: Config) -> Script:
    assert config.script is not None
    return config.script


def _part(config: Config) -> tuple[int, int] | None:
    """Which part of the training data a device takes.

    Raises:
        Invalid: its number is missing, or the parts would need labels.
    """
    partition = config.dataset.partition
    if partition is None or partition.index is None or partition.of is None:
        return None
    if partition.scheme != "iid":
        raise Invalid(
            f"[dataset.partition] scheme = '{partition.scheme}' needs to see the examples, which only the"
            " command does: use scheme = 'iid', or give each device data of its own"
        )
    return partition.index, partition.of


def script_key(config: Config) -> Mapping[str, Any]:
    """What the amount of data depends on."""
    partition = config.dataset.partition
    return {
        "script": _script(config).model_dump(mode="json"),
        "partition": partition.model_dump(mode="json") if partition else None,
        "name": config.dataset.name,
    }
