"""Calls a project's own functions by their signature: by parameter names, then by annotations.

Planning a call needs no values, so that it can be explained, and found wrong, before anything runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fedops.core.errors import FedOpsError, Invalid
from fedops.core.redaction import HIDDEN, names_a_secret, redact
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.scalize.adapter.protocol import Cancelled
from fedops.scalize.flow.step_arguments import OFFERS
from fedops.scalize.flow.target_import import import_advice


class Lazy:
    """A value that is made when a step asks for it, once."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @cached_property
    def value(self) -> Any:
        return self._make()


#: How the name of a parameter ends that is gone through batch by batch.
_LOADERS = ("loader", "loaders", "dl", "iter", "iterator", "batches")


@dataclass(frozen=True)
class StepCall:
    """One step of the flow, planned. Make it with ``plan``."""

    kind: str
    target: str
    function: Callable[..., Any]
    #: Arguments that the config gives.
    given: Mapping[str, Any]
    #: Parameter -> key of what is offered.
    passed: Mapping[str, str]
    #: Parameters that keep their default.
    defaults: tuple[str, ...]
    roots: Sequence[Path] = ()
    parameters: Mapping[str, inspect.Parameter] = field(default_factory=dict)

    def takes(self, key: str) -> bool:
        """Whether the function asks for this offer."""
        return key in self.passed.values()

    def asks_for_batches(self, key: str) -> bool:
        """Whether the parameter that gets this offer is, by name or annotation, a loader."""
        return any(
            _folded(name).endswith(_LOADERS) or _annotation(self.parameters[name]) == "DataLoader"
            for name, passed in self.passed.items()
            if passed == key
        )

    @property
    def per_epoch(self) -> bool:
        """Whether one call is one epoch: it asks which, or gets an optimizer but no number of epochs."""
        return self.takes("epoch") or (self.takes("optimizer") and not self.takes("epochs"))

    def explain(self) -> str:
        """One line: what will be passed to what."""
        words = {offer.key: offer.words for offer in OFFERS[self.kind]}
        arguments = [f"{name}={words[key]}" for name, key in self.passed.items()]
        arguments += [
            f"{name}={_shown(name, value)} (config)" for name, value in self.given.items()
        ]
        arguments += [f"{name} left as it is" for name in self.defaults]
        return f"{self.kind}: {self.target}({', '.join(arguments)})"

    def __call__(self, offers: Mapping[str, Any]) -> Any:
        """Call the function. Its own errors become ``Invalid`` with file and line.

        Raises:
            Invalid: it asks for something that is not there this time, or it failed.
        """
        positional, named = self._arguments(offers)
        try:
            return self.function(*positional, **named)
        except (FedOpsError, Cancelled):
            raise
        except Exception as error:
            why = import_advice(error, self.roots)
            raise Invalid(f"{self.label} failed: {why}{self._about_config()}") from error

    def _about_config(self) -> str:
        """Whether the function has got FedOps' config where it may have wanted one of its own."""
        name = next((name for name, key in self.passed.items() if key == "config"), None)
        if name is None:
            return ""
        return (
            f". (Its parameter '{name}' got the config of FedOps; one of your own is a table "
            f'[{self.kind}.{name}], e.g. with _target_ = "fedops.config.settings_files.as_dict" and '
            'file_ = "FILE.yaml")'
        )

    @property
    def label(self) -> str:
        """The step as messages name it, with file and line."""
        return _label(self.kind, self.target, self.function)

    def _arguments(self, offers: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        values = dict(self.given)
        for name, key in self.passed.items():
            value = offers.get(key)
            value = value.value if isinstance(value, Lazy) else value
            if value is not None:
                values[name] = _fitted(value, self.parameters[name])
            elif self.parameters[name].default is inspect.Parameter.empty:
                raise Invalid(f"{self.label}: {_missing(self.kind, key, name)}")
        only = inspect.Parameter.POSITIONAL_ONLY
        first = [name for name, p in self.parameters.items() if p.kind is only and name in values]
        return [values.pop(name) for name in first], values


def plan(
    kind: str,
    target: str,
    function: Callable[..., Any],
    given: Mapping[str, Any],
    roots: Sequence[Path],
) -> StepCall:
    """Decide what each parameter of ``function`` gets.

    Raises:
        Invalid: the config gives an argument it does not have, or nothing can fill a parameter.
    """
    parameters, open_ended = _parameters(function)
    label = _label(kind, target, function)
    _refuse_unknown(kind, label, given, parameters, open_ended)
    passed: dict[str, str] = {}
    defaults: list[str] = []
    missing: list[str] = []
    # As FedOps 1 calls it: load_partition(dataset, validation_split, batch_size), where dataset is its name.
    beside = any(_folded(name) == "validationsplit" for name in parameters)
    for name, parameter in parameters.items():
        if name in given:
            continue
        key = _match(kind, parameter, taken=set(passed.values()), beside=beside)
        if key:
            passed[name] = key
        elif parameter.default is not inspect.Parameter.empty:
            defaults.append(name)
        else:
            missing.append(name)
    if missing and kind in ("train", "evaluate") and "model" not in passed.values():
        passed[missing.pop(0)] = "model"  # whatever it is called: each of them works on a model
    if missing:
        raise Invalid(f"{label}: {_cannot_fill(kind, missing[0])}")
    return StepCall(kind, target, function, given, passed, tuple(defaults), roots, parameters)


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some of what is written in C tells no signature
        return {}, True
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: p for name, p in parameters.items() if p.kind not in kinds}, open_ended


def _refuse_unknown(
    kind: str,
    label: str,
    given: Mapping[str, Any],
    parameters: Mapping[str, inspect.Parameter],
    open_ended: bool,
) -> None:
    unknown = [] if open_ended else [name for name in given if name not in parameters]
    if unknown:
        guess = did_you_mean(unknown[0], parameters)
        takes = comma_list(parameters) or "no argument"
        raise Invalid(
            f"[{kind}] {unknown[0]}: {label} has no such parameter{guess or ';'} it takes {takes}"
        )


def _match(
    kind: str, parameter: inspect.Parameter, taken: set[str], *, beside: bool = False
) -> str | None:
    """The offer that a parameter gets. ``beside``: others ask for what ``[dataset]`` holds one by one."""
    name, annotation = _folded(parameter.name), _annotation(parameter)
    for offer in OFFERS[kind]:
        if name in offer.names and offer.key not in taken:
            text = offer.key == "dataset" and (annotation == "str" or beside)
            return "dataset_name" if text else offer.key
    if parameter.default is not inspect.Parameter.empty:
        return None
    for offer in OFFERS[kind]:
        if annotation in offer.types and offer.key not in taken:
            return offer.key
    return None


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


def _annotation(parameter: inspect.Parameter) -> str:
    """The bare name of the annotated type: ``torch.nn.Module`` and ``"nn.Module"`` are ``Module``."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return ""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return str(text).strip("'\"").split("[")[0].split("|")[0].strip().split(".")[-1]


def _fitted(value: Any, parameter: inspect.Parameter) -> Any:
    """The value in the form the annotation asks for, where that is plain."""
    annotation = _annotation(parameter)
    if annotation == "str" and not isinstance(value, str):
        return str(value)
    if annotation == "dict" and isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    return value


def _cannot_fill(kind: str, name: str) -> str:
    known = [offer.key for offer in OFFERS[kind]]
    return (
        f"nothing to pass for its parameter '{name}'; give it under [{kind}] in the config, or name as the "
        "step a function of your own, in a file beside config.toml's, that makes it and calls this one. "
        f"Parameters that a {kind} step can get by their names: {comma_list(known)}"
    )


def _missing(kind: str, key: str, name: str) -> str:
    offer = next(offer for offer in OFFERS[kind] if offer.key == key)
    if key in ("x", "y"):
        return f"nothing to pass for '{name}': the data step gave no pair of arrays (X, y)"
    return f"nothing to pass for '{name}': there is no {offer.words.removeprefix('the ')} here"


def _label(kind: str, target: str, function: Callable[..., Any]) -> str:
    try:
        file, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
    except (TypeError, OSError):
        return f"the {kind} step '{target}'"
    return f"the {kind} step '{target}' ({file}, line {line})"


def _shown(name: str, value: Any) -> str:
    return HIDDEN if isinstance(value, str) and names_a_secret(name) else redact(_short(value))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
