"""What each parameter of a candidate would receive."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from fedops.scalize.discovery.candidates import Candidate, folded
from fedops.scalize.discovery.source.definitions import Call, Function, Parameter
from fedops.scalize.discovery.source.survey import Survey
from fedops.scalize.flow.step_arguments import OFFERS


def asks_for(function: Function, key: str, step: str = "train") -> bool:
    return any(offered(step, parameter) == key for parameter in function.parameters)


def offered(step: str, parameter: Parameter) -> str:
    """The key of what a step would get for a parameter, by name, else by annotation; '' for none."""
    name = folded(parameter.name)
    annotation = parameter.annotation.split(".")[-1]
    for offer in OFFERS[step]:
        if name in offer.names:
            return offer.key
    named = (offer.key for offer in OFFERS[step] if annotation and annotation in offer.types)
    return next(named, "") if parameter.required else ""


def fill(
    step: str, chosen: Candidate, seen: Survey
) -> tuple[dict[str, Any], tuple[str, ...], frozenset[str]]:
    """Values for what cannot be offered: from calls in the project, its options and its constants."""
    arguments: dict[str, Any] = {}
    missing, takes = [], set()
    for parameter in chosen.parameters:
        key = offered(step, parameter)
        own = _own_settings(parameter, key, chosen, seen)
        if own is not None:
            arguments[parameter.name] = own
        elif key == "seed" and step == "data" and parameter.default is not None:
            arguments[parameter.name] = parameter.default  # it decides which data there is
        elif key == "dataset_name" and (used := _used(parameter, chosen, seen)) is not None:
            arguments[parameter.name] = used  # what the project calls it, not what the config does
        elif key:
            takes.add(key)
        elif parameter.required:
            value = _value(step, parameter, chosen, seen)
            if value is None:
                missing.append(parameter.name)
            else:
                arguments[parameter.name] = value
    if chosen.open_ended:
        arguments |= further_arguments(chosen, seen)
    if step in ("train", "evaluate") and "model" not in takes:
        missing = missing[1:]  # it is the model, by another name
    return arguments, tuple(missing), frozenset(takes)


def further_arguments(chosen: Candidate, seen: Survey) -> dict[str, Any]:
    """What the project passes by ``**kwargs``."""
    named = {parameter.name for parameter in chosen.parameters}
    given = {
        name: seen.value_of(node, call)
        for call in seen.calls_of(chosen.target)
        for name, node in call.kwargs.items()
        if name not in named
    }
    return {name: value for name, value in given.items() if value is not None}


def _own_settings(parameter: Parameter, key: str, chosen: Candidate, seen: Survey) -> Any:
    """The project's own settings object for a parameter that stands for one."""
    if isinstance(passed := _passed(parameter, chosen, seen), dict):
        return passed
    if key == "config" and (loaded := _loaded(parameter, chosen, seen)):
        return loaded
    if (held := _held(parameter, key, chosen, seen)) is not None:
        return held
    cls = next((c for c in seen.classes if c.target == parameter.annotation), None)
    if cls is not None and cls.needs_nothing and key in ("", "config", "dataset"):
        return {"_target_": cls.target}
    if key == "config" and parameter.annotation in ("", "argparse.Namespace") and seen.options:
        given = {name: value for name, value in seen.options.items() if value is not None}
        return {"_target_": "argparse.Namespace", **given}
    return None


def _loaded(parameter: Parameter, chosen: Candidate, seen: Survey) -> dict[str, Any] | None:
    """The call of a function of the project that makes what the project passes: ``load_config()``."""
    for _, given in _given(parameter, chosen, seen):
        made = seen.made.get(given.id, "") if isinstance(given, ast.Name) else ""
        function = next((f for f in seen.functions if f.target == made), None)
        if function is None:
            continue
        values = {p.name: seen.named_value(p.name) for p in function.parameters if p.required}
        if None not in values.values():
            return {"_target_": made, **values}
    return None


def _used(parameter: Parameter, chosen: Candidate, seen: Survey) -> Any:
    passed = _passed(parameter, chosen, seen)
    return parameter.default if passed is None else passed


def _value(step: str, parameter: Parameter, chosen: Candidate | None, seen: Survey) -> Any:
    """A plain value that the project itself uses for this parameter."""
    if chosen is not None and (value := _passed(parameter, chosen, seen)) is not None:
        return value
    return seen.named_value(parameter.name)


def _passed(parameter: Parameter, chosen: Candidate, seen: Survey) -> Any:
    """The plain value that the project's own calls pass for this parameter."""
    values = (seen.value_of(given, call) for call, given in _given(parameter, chosen, seen))
    return next((value for value in values if value is not None), None)


def _held(parameter: Parameter, key: str, chosen: Candidate, seen: Survey) -> dict[str, Any] | None:
    """The object of settings, or a part of it, that the project's own calls pass: ``cfg``, ``cfg.model``."""
    passed = [given for _, given in _given(parameter, chosen, seen)]
    held = (seen.own.held(given) for given in passed)
    found = next((table for table in held if table is not None), None)
    only = seen.own.the_only() if key == "config" and not passed and not seen.options else None
    return only if found is None else found


def _given(
    parameter: Parameter, chosen: Candidate, seen: Survey
) -> Iterator[tuple[Call, ast.expr]]:
    """What the project's own calls pass for this parameter, and in which call."""
    index = [p.name for p in chosen.parameters].index(parameter.name)
    for call in seen.calls_of(chosen.target):
        given = call.kwargs.get(parameter.name)
        given = call.args[index] if given is None and index < len(call.args) else given
        if given is not None:
            yield call, given
