"""What is known of a script since it was observed: its models, their contract, and V0.

``fedops init . -- COMMAND`` wrote it beside the app's config. Whoever reads it runs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from fedops.config.schema import Exchange
from fedops.config.script_table import Script
from fedops.core.contracts import ParameterContract
from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.scalize.adapter.parameter_exchange import TensorInfo, build_contract
from fedops.scalize.observing.records import Seen, SeenModel
from fedops.storage.tensors import Tensors, load

OBSERVED, INITIAL = "observed.json", "initial.safetensors"
#: Of ``observed.json``: names and numbers of the largest models are a few MB.
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Observation:
    """A script as it was observed, in an app's folder."""

    folder: Path
    seen: Seen
    #: The names of the models that are federated.
    models: tuple[str, ...]

    @classmethod
    def read(cls, app_dir: Path, script: Script) -> Observation:
        """What lies in the app's folder.

        Raises:
            Invalid: it is missing or damaged, or has no model of a name in ``[script] models``.
        """
        seen = _read_seen(app_dir / OBSERVED)
        known = [model.name for model in seen.models]
        for name in script.models:
            if name not in known:
                raise Invalid(
                    f"[script] models: no model '{name}' was seen{did_you_mean(name, known) or ';'} there"
                    f" were {comma_list(known) or 'none'}"
                )
        return cls(app_dir, seen, tuple(script.models or known))

    @property
    def federated(self) -> list[SeenModel]:
        """The models that are federated, in the order in which they were seen."""
        return [model for model in self.seen.models if model.name in self.models]

    def tensors(self) -> list[TensorInfo]:
        """All their tensors, each once, however many names it has."""
        several = len(self.federated) > 1
        return [
            TensorInfo(
                f"{model.name}.{tensor.name}" if several else tensor.name,
                tuple(tensor.shape),
                tensor.dtype,
                buffer=tensor.kind == "buffer",
            )
            for model in self.federated
            for tensor in model.tensors
            if not tensor.tied_to
        ]

    @property
    def tied(self) -> dict[str, str]:
        """Further names of tensors, and the name that each of these travels under."""
        several = len(self.federated) > 1
        return {
            (f"{model.name}." if several else "") + tensor.name: (
                (f"{model.name}." if several else "") + tensor.tied_to
            )
            for model in self.federated
            for tensor in model.tensors
            if tensor.tied_to
        }

    def contract(self, rules: Exchange) -> ParameterContract:
        """The contract of all of them together.

        Raises:
            Invalid: nothing would travel, or a tensor cannot.
        """
        return build_contract(self.tensors(), rules)

    def initial(self) -> Tensors:
        """V0: the models as the observed training first saw them.

        Raises:
            Invalid: the file is missing or damaged, or is not of these models.
        """
        path = self.folder / INITIAL
        if not path.is_file():
            raise Invalid(
                f"there is no {path}, the model that the first round begins with: 'fedops init' wrote it, and"
                " it belongs into the app's folder (and its Git repository)"
            )
        return matching(self.tensors(), self._renamed(load(path)), str(path))

    def _renamed(self, found: Tensors) -> Tensors:
        """Where one of several observed models is federated, its tensors lose its name."""
        if len(self.federated) != 1:
            return found
        prefix = f"{self.federated[0].name}."
        short = {n.removeprefix(prefix): a for n, a in found.items() if n.startswith(prefix)}
        return {**found, **short}


def matching(wanted: list[TensorInfo], found: Tensors, where: str) -> Tensors:
    """The tensors wanted, in their order.

    Raises:
        Invalid: one is missing, or has another shape or dtype. The message names it.
    """
    for info in wanted:
        array = found.get(info.name)
        if array is None:
            raise Invalid(f"{where} does not hold the tensor '{info.name}' of the observed model")
        if (array.shape, array.dtype) != (info.shape, np.dtype(info.dtype)):
            raise Invalid(
                f"the tensor '{info.name}' in {where} is {array.dtype.name}{list(array.shape)}, and was"
                f" {info.dtype}{list(info.shape)} when the script was observed: it makes another model here"
                " (does the model's size depend on the data?)"
            )
    return {info.name: found[info.name] for info in wanted}


def _read_seen(path: Path) -> Seen:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise Invalid(f"{path} is larger than {_MOST_BYTES >> 20} MiB")
        return Seen.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise Invalid(
            f"there is no {path}: it says which models the command trains; 'fedops init . -- COMMAND' writes"
            " it"
        ) from None
    except (OSError, ValidationError, ValueError) as error:
        raise Invalid(f"cannot read {path}: {error}") from None
