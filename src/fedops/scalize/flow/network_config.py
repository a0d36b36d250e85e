"""What a config that came over the network may say on this machine, and what stays this machine's own.

A device runs the app that its owner installed. A run's config chooses among what is harmless whoever
chooses it: numbers, switches, and the names of a short list; never code, a path or a URL of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fedops.config.file_names import ARGUMENT_TABLES, may_name_a_file
from fedops.config.loading import to_plain
from fedops.config.schema import Config, Dataset
from fedops.core.errors import Forbidden
from fedops.core.plain_values import leaves
from fedops.core.suggestions import did_you_mean
from fedops.scalize.flow.manifest import Manifest
from fedops.scalize.flow.network_names import NETWORK_NAMES, STRATEGY_PACKAGES
from fedops.scalize.flow.target_import import targets_in

logger = logging.getLogger("fedops.config")
#: Steps of which the app's own files alone say what is called.
_OWN_STEPS = ("data", "train", "evaluate", "validation")
#: Arguments that let a library execute or unpickle what it loads, and what Keras makes objects from.
_UNSAFE = {
    "allow_pickle",
    "class_name",
    "custom_objects",
    "module",
    "registered_name",
    "safe_mode",
    "trust_remote_code",
    "weights_only",
}


@dataclass(frozen=True)
class Trust:
    """Which names may be resolved: with ``everything``, the config is this machine's own."""

    everything: bool
    #: Named by the app's own files, so allowed whatever they are.
    named: frozenset[str] = frozenset()

    def check(self, target: str, where: str) -> None:
        """``Forbidden`` when this name may not be used."""
        if self.everything or target in self.named or target in NETWORK_NAMES:
            return
        short = did_you_mean(target, sorted(NETWORK_NAMES | self.named))
        raise Forbidden(
            f"{where}: '{target}' may not be named by a config from the server{short or ';'} it may name the "
            "listed layers, losses, optimizers and schedulers, and what the app's own files name "
            "(also as choices in [tool.fedops])"
        )


OWN = Trust(everything=True)


def trust_of_server(manifest: Manifest, local: Config) -> Trust:
    """For a config from the network: the listed names, and what the app's own files name."""
    own = {target for _, target in targets_in(to_plain(local))}
    own |= {target for target in manifest.flow.model_dump().values() if target}
    return Trust(False, frozenset(own | set(manifest.choices)))


def check_network_config(
    plain: Mapping[str, Any], manifest: Manifest, local: Config, where: str
) -> None:
    """``Forbidden`` when a config from the network names what it may not."""
    trust = trust_of_server(manifest, local)
    own = dict(leaves(to_plain(local)))
    for path, value in leaves(dict(plain)):
        if value == own.get(path):
            continue
        here = f"{where}: {path}"
        _check_text(value, here)
        if _names_a_target(path) and isinstance(value, str):
            _check_target(path, value, manifest, trust, here)
        else:
            _check_argument(path, value, here)


def _names_a_target(path: str) -> bool:
    """Also ``optimizer = "torch.optim.SGD"``, a step by its name alone."""
    return path in ARGUMENT_TABLES or path.split(".")[-1] == "_target_"


def _check_text(value: Any, here: str) -> None:
    """Interpolations could read the environment."""
    if isinstance(value, str) and "${" in value:
        raise Forbidden(f"{here} holds '${{', which a config from the server may not")


def _check_target(path: str, target: str, manifest: Manifest, trust: Trust, here: str) -> None:
    step, *inner = path.split(".")
    if not target or ("." not in target and step not in _OWN_STEPS):
        return  # named by the app's own files, or a short name that the adapter or the strategies know
    if step == "server":
        packages = (*STRATEGY_PACKAGES, *manifest.packages)
        if not any(target.startswith(f"{package}.") for package in packages):
            trust.check(target, here)
    elif step in _OWN_STEPS and len(inner) < 2 and target not in trust.named:
        raise Forbidden(
            f"{here}: '{target}' may not be named by a config from the server: only the app's own files say "
            f"what the {step} step is"
        )
    else:
        trust.check(target, here)


def _check_argument(path: str, value: Any, here: str) -> None:
    table, *keys = path.split(".")
    unsafe = next((key for key in keys if key in _UNSAFE), None)
    if table in ARGUMENT_TABLES and unsafe:
        raise Forbidden(f"{here}: '{unsafe}' may not be set by a config from the server")
    if may_name_a_file(path, value):
        raise Forbidden(
            f"{here} = '{value[:200]}' may name a file or a URL, and only this machine's own files may; "
            "write it in the app's config there"
        )


# --- what is the machine's own ---------------------------------------------------------------


def keep_own_files(plain: Mapping[str, Any], local: Config) -> dict[str, Any]:
    """The config with this machine's own files, folders and URLs where its own config names them."""
    own = {path: value for path, value in leaves(to_plain(local)) if may_name_a_file(path, value)}

    def kept(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            return {
                key: kept(item, f"{path}.{key}" if path else str(key))
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [kept(item, f"{path}.{index}") for index, item in enumerate(value)]
        if path in own and value != own[path] and isinstance(value, str):
            _say_once(f"{path} of the run's config is not used: this machine's own config says it")
            return own[path]
        return value

    return {key: kept(value, key) for key, value in plain.items()}


def merge_owned(config: Config, local: Config) -> Config:
    """What belongs to this machine is taken from its own config: paths, secrets, its part of the data."""
    if config.dataset.root not in (None, local.dataset.root):
        _say_once("dataset.root of the run's config is not used: a device's own config says it")
    if config.xai.output_dir != local.xai.output_dir:
        _say_once("xai.output_dir of the run's config is not used: a device's own config says it")
    return config.model_copy(
        update={
            "dataset": _owned_dataset(config.dataset, local.dataset),
            "xai": config.xai.model_copy(update={"output_dir": local.xai.output_dir}),
            "wandb": local.wandb,
            "script": local.script,
            "server": config.server.model_copy(update={"url": local.server.url}),
        }
    )


@cache
def _say_once(text: str) -> None:
    logger.info(text)


def _owned_dataset(dataset: Dataset, local: Dataset) -> Dataset:
    partition, own = dataset.partition, local.partition
    if partition and own and partition.index is None:
        partition = partition.model_copy(update={"index": own.index})
    return dataset.model_copy(update={"root": local.root, "partition": partition})
