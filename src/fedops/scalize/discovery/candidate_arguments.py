"""What each parameter of a candidate would receive."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from fedops.core.redaction import names_a_secret
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
        value = _argument(step, parameter, key, chosen, seen)
        if value is not None:
            arguments[parameter.name] = value
        elif key:
            takes.add(key)
        elif parameter.required:
            missing.append(parameter.name)
    if chosen.open_ended:
        arguments |= further_arguments(chosen, seen)
    if step in ("train", "evaluate") and "model" not in takes:
        missing = missing[1:]  # it is the model, by another name
    return without_secrets(arguments), tuple(missing), frozenset(takes)


def _argument(step: str, parameter: Parameter, key: str, chosen: Candidate, seen: Survey) -> Any:
    """What the config has to say for a parameter; None: nothing."""
    if (own := _own_settings(parameter, key, chosen, seen)) is not None:
        return own
    if key == "seed" and step == "data":
        return parameter.default  # it decides which data there is
    if key == "dataset_name":
        return _used(parameter, chosen, seen)  # what the project calls it, not what the config does
    if key:
        return None
    if parameter.required:
        return _value(parameter, chosen, seen)
    value = _passed(parameter, chosen, seen)
    return None if value == parameter.default else value


def further_arguments(chosen: Candidate, seen: Survey) -> dict[str, Any]:
    """What the project passes by ``**kwargs``."""
    named = {parameter.name for parameter in chosen.parameters}
    given = {
        name: seen.value_of(node, call.place)
        for call in seen.calls_of(chosen.target)
        for name, node in call.kwargs.items()
        if name not in named
    }
    return {name: value for name, value in given.items() if value is not None}


def _own_settings(parameter: Parameter, key: str, chosen: Candidate, seen: Survey) -> Any:
    """The project's own settings object for a parameter that stands for one."""
    if isinstance(passed := _passed(parameter, chosen, seen), dict):
        return passed
    if (held := _held(parameter, key, chosen, seen)) is not None:
        return held
    given = list(given_for(parameter, chosen, seen))
    cls = next((c for c in seen.classes if c.target == parameter.annotation), None)
    if cls is not None and cls.needs_nothing and key in ("", "config", "dataset"):
        return {"_target_": cls.target}
    asks = key == "config" or (
        not key and any(_is_parsed(node, call, seen) for call, node in given)
    )
    if asks and parameter.annotation in ("", "argparse.Namespace"):
        return _namespace(given[0][0].module if given else "", seen)
    return None


def _is_parsed(node: ast.expr, call: Call, seen: Survey) -> bool:
    """Whether it is what ``parse_args()`` gives."""
    made = (
        found.func for found, _ in seen.origins(node, call.place) if isinstance(found, ast.Call)
    )
    return any(isinstance(f, ast.Attribute) and f.attr == "parse_args" for f in made)


def _namespace(module: str, seen: Survey) -> dict[str, Any] | None:
    """The options of a command line, as its parser gives them where nothing is typed."""
    options = seen.options_of(module, as_typed=True)
    given = {name: value for name, value in options.items() if value is not None}
    none = [name for name, value in options.items() if value is None]
    if not options:
        return None
    if none:
        return {"_target_": NAMESPACE, "none_": none, **given}
    return {"_target_": "argparse.Namespace", **given}


NAMESPACE = "fedops.config.settings_files.namespace"


def _used(parameter: Parameter, chosen: Candidate, seen: Survey) -> Any:
    passed = _passed(parameter, chosen, seen)
    return parameter.default if passed is None else passed


def _value(parameter: Parameter, chosen: Candidate, seen: Survey) -> Any:
    """A plain value that the project itself uses for this parameter."""
    if (value := _passed(parameter, chosen, seen)) is not None:
        return value
    given = [node for _, node in given_for(parameter, chosen, seen)]
    same = all(folded(_last_name(node)) == folded(parameter.name) for node in given)
    return seen.named_value(parameter.name) if same and not _is_fixed(given, chosen, seen) else None


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_fixed(given: list[ast.expr], chosen: Candidate, seen: Survey) -> bool:
    """Whether the code itself gives these names their values, whatever a setting of that name says."""
    calls = seen.calls_of(chosen.target)
    names = {node.id for node in given if isinstance(node, ast.Name)}
    return any(names & {*seen.bound.get(call.place, {})} for call in calls)


def _passed(parameter: Parameter, chosen: Candidate, seen: Survey) -> Any:
    """The plain value that the project's own calls pass for this parameter."""
    values = (
        seen.value_of(given, call.place) for call, given in given_for(parameter, chosen, seen)
    )
    return next((value for value in values if value is not None), None)


def _held(parameter: Parameter, key: str, chosen: Candidate, seen: Survey) -> dict[str, Any] | None:
    """The object of settings, or a part of it, that the project's own calls pass: ``cfg``, ``cfg.model``."""
    passed = list(given_for(parameter, chosen, seen))
    if key not in ("", "config") and all(parameter.annotation != c.target for c in seen.classes):
        return None
    found = [seen.object_in(given, call.place) for call, given in passed]
    first = next((dict(one.table) for one in found if one is not None), None)
    if first is not None and (key or _is_settings(first["_target_"], seen)):
        return first
    return seen.own.the_only() if key == "config" and not passed and not seen.options else None


def _is_settings(target: str, seen: Survey) -> bool:
    """What a function of the project makes is only known to be settings where settings are asked for."""
    return all(function.target != target for function in seen.functions)


def given_for(
    parameter: Parameter, chosen: Candidate, seen: Survey
) -> Iterator[tuple[Call, ast.expr]]:
    """What the project's own calls pass for this parameter, and in which call."""
    index = [p.name for p in chosen.parameters].index(parameter.name)
    for call in seen.calls_of(chosen.target):
        if (given := call.argument(index, parameter.name)) is not None:
            yield call, given
        else:
            for spread in call.spread:  # Net(**cfg["model"])
                yield call, ast.Subscript(spread, ast.Constant(parameter.name), ast.Load())


def without_secrets(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the environment's variables for passwords: a config is sent to the server."""
    return {
        name: without_secrets(value)
        if isinstance(value, Mapping)
        else f"${{oc.env:{name.upper()}}}"
        if names_a_secret(name) and isinstance(value, str) and value
        else value
        for name, value in arguments.items()
    }
