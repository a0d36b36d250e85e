"""What a project passes to its own functions and a run would not: it cannot be read, or differs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from fedops.core.redaction import names_a_secret
from fedops.core.suggestions import comma_list
from fedops.scalize.discovery.candidate_arguments import NAMESPACE, given_for, offered
from fedops.scalize.discovery.candidates import Candidate, Choice
from fedops.scalize.discovery.source.definitions import Call, Class, Function, Parameter
from fedops.scalize.discovery.source.survey import Survey
from fedops.scalize.discovery.training.findings import Finding

#: Keys of offers that are numbers of the config, and what the config calls them.
_NUMBERS = {"learning_rate": "learning_rate", "batch_size": "batch_size"}
_CALLED = "\0"
#: Parameters that have nothing to do with what is learnt.
_NO_MATTER = {"device", "dev", "logger", "log", "writer", "verbose", "debug", "progress", "pbar"}


def unread_arguments(step: str, choice: Choice, seen: Survey) -> Iterator[Finding]:
    """A finding for each argument of the project's own calls of a step that a run would not pass."""
    defined: list[Function | Class] = [*seen.functions, *seen.classes]
    found = next((one for one in defined if one.target == choice.target), None)
    if found is None:
        return
    candidate = Candidate(0, found.target, found.module, "", "", found.parameters)
    for parameter in found.parameters:
        if parameter.name in _NO_MATTER or parameter.name in choice.missing:
            continue
        for call, given in given_for(parameter, candidate, seen):
            if not _is_none(given) and (text := _about(step, parameter, choice, call, given, seen)):
                path = next(s.path for s in seen.sources if s.names.module == call.module)
                short = choice.target.rpartition(".")[2]
                yield Finding("argument", text.replace(_CALLED, short), f"{path}:{call.line}")


def _about(
    step: str, parameter: Parameter, choice: Choice, call: Call, given: ast.expr, seen: Survey
) -> str:
    """What is to be said of one argument, with ``_CALLED`` for what is called; '' for nothing."""
    name, key = parameter.name, offered(step, parameter)
    value = seen.value_of(given, call.place)
    shown = f"{name}={ast.unparse(given)[:60]}"
    if key in _NUMBERS and step == "train" and value is None:
        return f"{shown} of {_CALLED} cannot be read: {_NUMBERS[key]} of config.toml is used"
    if name not in choice.arguments and key == "config":
        return f"{shown} of {_CALLED} cannot be read: it gets the config of FedOps"
    if name not in choice.arguments and (key or parameter.required):
        return ""  # FedOps has it, or it is the model by another name
    if names_a_secret(name):
        return ""
    used = choice.arguments.get(name, parameter.default)
    if isinstance(used, dict):
        if not _is_read(given, used, call, seen):
            return f"{shown} of {_CALLED} cannot be read in full"
        if changed := [n for n in _changed(used, call, seen) if n in used]:
            names = comma_list(changed)
            return f"{shown} of {_CALLED}: what the code makes of {names} is not known; the default is used"
        return _MANY_EPOCHS if step == "train" and _hides_epochs(used, seen) else ""
    if value is None and (spread := _handed_on(given, call)) is not None:
        known = isinstance(seen.value_of(spread, call.place), dict)
        known = known or seen.object_in(spread, call.place) is not None
        text = f"**{ast.unparse(spread)[:60]} of {_CALLED} cannot be read: its defaults are used"
        return "" if known else text
    if value is None:
        instead = "its default" if used is None else repr(used)
        return f"{shown} of {_CALLED} cannot be read: {instead} is used"
    return "" if value == used else f"{_CALLED} gets {name}={value!r} here; {used!r} is used"


def _handed_on(given: ast.expr, call: Call) -> ast.expr | None:
    """``cfg`` in ``Net(**cfg)``, where it is that which may hold the argument."""
    of = given.value if isinstance(given, ast.Subscript) else None
    return of if of in call.spread else None


_MANY_EPOCHS = (
    f"how many epochs {_CALLED} trains in a round is said by settings that cannot be read"
)


def _changed(used: dict[str, Any], call: Call, seen: Survey) -> list[str]:
    made = used.get("_target_", "") in (NAMESPACE, "argparse.Namespace")
    return seen.changed_options(call.module) if made else []


def _hides_epochs(used: dict[str, Any], seen: Survey) -> bool:
    """Whether a number of epochs may stand in settings that only exist when the code runs."""
    target = used.get("_target_", "")
    known = {NAMESPACE, "argparse.Namespace", "", *(cls.target for cls in seen.classes)}
    return target not in known and not seen.own.content_of(used)


def _is_read(given: ast.expr, used: dict[str, Any], call: Call, seen: Survey) -> bool:
    """Whether the object of settings is the one that stands there."""
    made, target = seen.object_in(given, call.place), used.get("_target_", "")
    if made is not None:
        whole = all(seen.is_all_read(node, at) for node, at in seen.origins(given, call.place))
        return whole and made.table.get("_target_") == target
    changes = seen.changes.get(call.module, ())
    if any(not change.path and change.root == ast.unparse(given) for change in changes):
        return False
    nodes = [node for node, _ in seen.origins(given, call.place)]
    return all(node is None or _is_typed(node, target) for node in nodes)


def _is_typed(node: ast.expr, target: str) -> bool:
    """Whether it is what a command line gives where nothing is typed: ``parse_args()``, ``cli(Config)``."""
    if isinstance(node, ast.Dict | ast.List | ast.Tuple):
        return True  # a plain one, or it would not have been taken
    text = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    names = {ast.unparse(inner).split(".")[-1] for inner in ast.walk(node)}
    given = isinstance(node, ast.Call) and bool(node.args or node.keywords)
    made_of = target.rpartition(".")[2] in names and (
        text != target.rpartition(".")[2] or not given
    )
    return "parse" in text or made_of


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
