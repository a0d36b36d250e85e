"""An app's folder as FLScalize sees it: its config, and the steps of its flow, ready to be called.

Opening a project reads two files and imports nothing; the project's code runs when a step is needed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fedops.config.loading import parse_config
from fedops.config.overrides import apply_overrides, is_of_device, of_script
from fedops.config.schema import Config
from fedops.core.errors import Invalid
from fedops.scalize.adapter.lookup import find_adapter
from fedops.scalize.adapter.protocol import AdapterOptions, ModelAdapter
from fedops.scalize.adapter.random_state import kept_random_state, seed_everything
from fedops.scalize.flow.custom_loops import OwnEvaluate, OwnTrain
from fedops.scalize.flow.data_partition import select_partition
from fedops.scalize.flow.datasets import DataSplit, as_split, as_validation, told_by_names
from fedops.scalize.flow.manifest import Manifest, read_manifest
from fedops.scalize.flow.network_config import (
    OWN,
    Trust,
    check_network_config,
    keep_own_files,
    merge_owned,
    trust_of_server,
)
from fedops.scalize.flow.result_parsing import returned_variables
from fedops.scalize.flow.script_flow import (
    describe_script,
    make_script_adapter,
    script_key,
    script_split,
)
from fedops.scalize.flow.signature_binding import Lazy, StepCall
from fedops.scalize.flow.step_resolution import make_call, make_part

_NEEDED = {
    "model": '[model] _target_ = "<package>.<module>.<class or function>"',
    "data": 'data = "<package>.<module>.<function>" in [tool.fedops.flow], or [data] _target_',
}
_WITHOUT = {
    "train": "train: the adapter's own loop",
    "evaluate": "evaluate: the adapter's own loop",
    "validation": "validation: none, so the global model is judged on the clients' data only",
}


@dataclass(frozen=True)
class Project:
    manifest: Manifest
    #: The file's config with this device's overrides.
    local: Config
    #: The config in force: ``local``, or the run's.
    config: Config
    overrides: tuple[str, ...] = ()
    trust: Trust = OWN
    #: The data that was loaded last, by the config it depends on. Shared with ``with_config``.
    _loaded: dict[str, DataSplit] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, app_dir: Path, overrides: Sequence[str] = ()) -> Self:
        """Read an app's manifest and config; ``overrides`` are this device's own.

        Raises:
            Invalid: with everything that is wrong in the file that is wrong.
        """
        manifest = read_manifest(app_dir)
        config = manifest.read_config()
        overrides = [text for text in overrides if config.script or not of_script(text)]
        config = apply_overrides(config, overrides)
        return cls(manifest, config, config, tuple(overrides))

    @property
    def app_dir(self) -> Path:
        return self.manifest.app_dir

    @property
    def app_name(self) -> str:
        return self.manifest.app_name

    def with_config(self, plain: Mapping[str, Any]) -> Self:
        """The project under a run's effective config, which came over the network.

        The device keeps what is its own (paths, secrets, overrides in ``DEVICE_TABLES``).

        Raises:
            Forbidden: the config names something that only the app's own files may name.
            Invalid: it has unknown keys or wrong values.
        """
        where = "the run's config"
        trust = trust_of_server(self.manifest, self.local)
        plain = keep_own_files(plain, self.local)
        check_network_config(plain, self.manifest, self.local, where)
        config = merge_owned(parse_config(plain, where), self.local)
        config = apply_overrides(config, [text for text in self.overrides if is_of_device(text)])
        return dataclasses.replace(self, config=config, trust=trust)

    def make_adapter(self, seed: int) -> ModelAdapter:
        """Build the model, initialised by ``seed``, and the adapter around it.

        A script's model is the one that was observed, whatever the seed: nothing of the script is run.
        """
        if self.config.script is not None:
            return make_script_adapter(self.manifest, self.config)
        call = self._require("model")
        options = self._options()
        with kept_random_state():
            seed_everything(seed)
            model = call(
                {
                    "seed": seed % 2**32,
                    "dataset_name": self.config.dataset.name,
                    "config": self.config,
                }
            )
        adapter: ModelAdapter = find_adapter(self.config.framework, model, call.label)(
            model, options
        )
        return adapter

    def load_data(self) -> DataSplit:
        """This device's data, loaded once for as long as the config it depends on stays the same.

        Raises:
            Invalid: the step failed or returned nothing usable, or the device has no example.
        """
        self._check_partition()
        if self.config.script is not None:
            return self._kept(json.dumps(script_key(self.config)), self._split_of_script)
        call = self._require("data")
        return self._kept(self._data_key(call), lambda: self._split(call))

    def forget_data(self) -> None:
        """The next ``load_data`` loads anew: what the data lies in has changed."""
        self._loaded.clear()

    def _kept(self, key: str, load: Callable[[], DataSplit]) -> DataSplit:
        if key not in self._loaded:
            self._loaded.clear()
            self._loaded[key] = load()
        return self._loaded[key]

    def _split_of_script(self) -> DataSplit:
        return script_split(make_script_adapter(self.manifest, self.config), self._dataset_name)

    def load_validation_data(self) -> tuple[Any, str] | None:
        """The server's validation data and the name of its data set.

        None when the app has no such step, or the step says (by None) that there is none here.
        """
        call = self.call("validation")
        if call is None:
            return None
        value = call(self._data_offers())
        return None if value is None else as_validation(value, self._dataset_name, call.label)

    def describe(self) -> list[str]:
        """One line per step: what is called, and what it gets."""
        if self.config.script is not None:
            return describe_script(self.manifest, self.config)
        lines = [self._require(kind).explain() for kind in ("data", "model")]
        for kind, without in _WITHOUT.items():
            call = self.call(kind)
            lines.append(call.explain() if call else without)
        return lines

    @property
    def is_whole(self) -> bool:
        """Whether FedOps itself can make the model and load the data: by steps, or the command."""
        whole = all(self.call(kind) is not None for kind in ("model", "data"))
        return whole or self.config.script is not None

    def call(self, kind: str) -> StepCall | None:
        """The planned call of a step, if there is one. A script has none."""
        if self.config.script is not None:
            return None
        return make_call(kind, self.manifest, self.config, self.trust)

    def _require(self, kind: str) -> StepCall:
        call = self.call(kind)
        if call is None:
            raise Invalid(f"{self.app_dir} names no {kind} step; write {_NEEDED[kind]}")
        return call

    def _options(self) -> AdapterOptions:
        train, evaluate = self.call("train"), self.call("evaluate")
        extra = {"config": self.config, "validation_data": Lazy(self._validation_data)}
        return AdapterOptions(
            exchange=self.config.exchange,
            resources=self.config.resources,
            optimizer=make_part("optimizer", self.manifest, self.config, self.trust),
            loss=make_part("loss", self.manifest, self.config, self.trust),
            train=OwnTrain(train, extra) if train else None,
            evaluate=OwnEvaluate(evaluate, extra) if evaluate else None,
            dataset=self.config.dataset,
            sample=self._sample,
        )

    def _sample(self) -> Any:
        """Data that a model is sized by."""
        data = self.load_data()
        return data.train if data.examples else data.validation

    def _validation_data(self) -> Any:
        return self.load_data().validation

    def _split(self, call: StepCall) -> DataSplit:
        seed = self.config.random_seed
        with kept_random_state():
            seed_everything(seed)
            value = call(self._data_offers())
        value = told_by_names(value, returned_variables(call.function))
        dataset = self.config.dataset
        split = as_split(value, self._dataset_name, dataset.validation_split, seed, call.label)
        sees_to_it = any(call.takes(key) for key in ("dataset", "partition", "partition_index"))
        if dataset.partition is None or sees_to_it or not split.examples:
            return split
        return select_partition(split, dataset.partition, self.config.partition_seed, call.label)

    @property
    def _dataset_name(self) -> str:
        return self.config.dataset.name or self.manifest.packages[0]

    def _data_offers(self) -> dict[str, Any]:
        dataset = self.config.dataset
        partition = dataset.partition
        return {
            "dataset": dataset,
            "dataset_name": dataset.name,
            "root": dataset.root,
            "partition": partition,
            "partition_index": partition.index if partition else 0,
            "partitions": partition.of if partition else 1,
            "validation_split": dataset.validation_split,
            "batch_size": self.config.batch_size,
            "seed": self.config.partition_seed % 2**32,
            "config": self.config,
        }

    def _check_partition(self) -> None:
        partition = self.config.dataset.partition
        if partition is not None and (partition.index is None or partition.of is None):
            raise Invalid(
                "[dataset.partition] needs to know how many parts there are and which is this device's; "
                "set dataset.partition.of, and on the device dataset.partition.index, from 0"
            )

    def _data_key(self, call: StepCall) -> str:
        config = self.config
        parts: Any = [config.dataset, config.data, config.random_seed, config.batch_size]
        parts = [config] if call.takes("config") else parts
        return json.dumps(
            [
                part.model_dump(mode="json") if hasattr(part, "model_dump") else part
                for part in parts
            ]
        )
