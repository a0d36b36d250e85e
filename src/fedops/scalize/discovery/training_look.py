"""A look at a project's own training beside the chosen steps: what was read off it, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedops.core.plain_values import leaves
from fedops.scalize.discovery.candidate_arguments import offered
from fedops.scalize.discovery.candidates import Choice, folded
from fedops.scalize.discovery.differences import Difference
from fedops.scalize.discovery.source.definitions import Function
from fedops.scalize.discovery.source.survey import Survey
from fedops.scalize.discovery.training.command import likely_command
from fedops.scalize.discovery.training.findings import Chosen, Finding
from fedops.scalize.discovery.training.literals import Reader, ReadOff
from fedops.scalize.discovery.training.scopes import Scopes
from fedops.scalize.discovery.training.unused import loads_its_own_data, run_of, unused_training
from fedops.scalize.discovery.unread_arguments import unread_arguments
from fedops.scalize.flow.step_arguments import OFFERS

#: Key of the config -> key of what a train step is offered, for the names it goes by.
SETTINGS = {
    "num_epochs": "epochs",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "random_seed": "seed",
}


@dataclass(frozen=True)
class Look:
    #: Key of the config -> value and where it was seen.
    settings: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    optimizer: Mapping[str, Any] | None = None
    loss: Mapping[str, Any] | None = None
    differences: tuple[Difference, ...] = ()
    command: str = ""  #: by which the project is probably trained


def look_at_training(seen: Survey, steps: Mapping[str, Choice], framework: str) -> Look:
    """Read the numbers off, and collect what of the project's training the steps leave out."""
    scopes = Scopes(seen)
    train, torch = steps["train"], framework == "pytorch"
    targets = {step: choice.target for step, choice in steps.items() if choice.target}
    chosen = Chosen(targets, train.takes, framework)
    run = run_of(scopes, chosen)
    wants_optimizer = torch and (not train.target or "optimizer" in train.takes)
    trains_by_loss = not train.target or "loss" in train.takes
    wants_loss = torch and (trains_by_loss or not steps["evaluate"].target)
    read = Reader(seen, scopes, chosen, run).read(wants_optimizer, wants_loss)
    read.loops = framework in {"pytorch", "huggingface", "keras"}
    settings = {key: found for key in SETTINGS if (found := _setting(key, seen, steps, read))}
    return Look(
        settings,
        read.optimizer,
        read.loss,
        (
            *_differences(seen, scopes, chosen, run, read, settings),
            *_unread(seen, steps),
        ),
        likely_command(scopes),
    )


def _unread(seen: Survey, steps: Mapping[str, Choice]) -> Iterator[Difference]:
    """What the project passes to the steps, and a run would not."""
    found = (f for step, choice in steps.items() for f in unread_arguments(step, choice, seen))
    yield from (Difference(kind=f.kind, text=f.text, where=f.where) for f in dict.fromkeys(found))


def _differences(
    seen: Survey,
    scopes: Scopes,
    chosen: Chosen,
    run: set[str],
    read: ReadOff,
    settings: Mapping[str, Any],
) -> list[Difference]:
    own_data = loads_its_own_data(chosen, _place(chosen.train, seen))
    found = [own_data] if own_data else []
    found += unused_training(seen, scopes, chosen, run, frozenset(read.used))
    found += [finding for finding in read.differences if not _is_told(finding, found)]
    found += [finding for key, finding in read.unread.items() if key not in settings]
    each = dict.fromkeys(found)
    return [Difference(kind=f.kind, text=f.text, where=f.where) for f in each]


def _is_told(finding: Finding, told: list[Finding]) -> bool:
    """Whether the same argument of the same call is among those already."""
    argument = finding.text.split(" of ")[0]
    return any(d.where == finding.where and argument in d.text for d in told)


def _place(target: str, seen: Survey) -> str:
    function = _function(target, seen)
    return f"{function.file.relative_to(seen.project)}:{function.line}" if function else ""


def _function(target: str, seen: Survey) -> Function | None:
    return next((function for function in seen.functions if function.target == target), None)


# --- numbers -----------------------------------------------------------------------------------------


def _setting(
    key: str, seen: Survey, steps: Mapping[str, Choice], read: ReadOff
) -> tuple[Any, str] | None:
    """A number the project uses, and where it says so. Of its epochs one is taken a round."""
    train = steps["train"]
    if key == "num_epochs" and read.loops and train.target and not _asks_for_epochs(train):
        return 1, f"not used by {train.target}, which decides for itself"
    found = _found(key, seen, steps, read)
    if found is None or key != "num_epochs" or found[0] == 1:
        return found
    return 1, f"the project itself trains for {found[0]}: {found[1]}"


def _asks_for_epochs(train: Choice) -> bool:
    """Whether the number of epochs has a say in the train step, also by way of its own settings."""
    names = next(offer.names for offer in OFFERS["train"] if offer.key == "epochs")
    tables = {n: value for n, value in train.arguments.items() if isinstance(value, dict)}
    own = any(folded(path.split(".")[-1]) in names for path, _ in leaves(tables))
    return own or bool(train.takes & {"epochs", "epoch", "optimizer", "context", "config"})


def _found(
    key: str, seen: Survey, steps: Mapping[str, Choice], read: ReadOff
) -> tuple[Any, str] | None:
    names = next(o.names for o in OFFERS["train"] if o.key == SETTINGS[key])
    kind = float if key == "learning_rate" else int
    for value, where in _passed(key, seen, steps):
        if _fits(value, kind):
            return kind(value), where
    if key in read.settings:
        return read.settings[key]
    for values, where in _sources(seen, steps):
        for name, value in values.items():
            if name.replace("_", "").lower() in names and _fits(value, kind):
                return kind(value), where
    return None


def _fits(value: Any, kind: type) -> bool:
    number = isinstance(value, kind | int) and not isinstance(value, bool)
    return number and (value > 0 or kind is int)


def _passed(key: str, seen: Survey, steps: Mapping[str, Choice]) -> Iterator[tuple[Any, str]]:
    """What the project's own calls pass to the train step, or to the data step."""
    for step in ("train", "data"):
        function = _function(steps[step].target, seen)
        for index, parameter in enumerate(function.parameters if function else ()):
            if offered(step, parameter) != SETTINGS[key] or key == "random_seed":
                continue
            for call in seen.calls_of(steps[step].target):
                given = call.argument(index, parameter.name)
                value = None if given is None else seen.value_of(given, call.place)
                if value is not None:
                    yield value, f"what the project passes to {steps[step].target}"


def _sources(seen: Survey, steps: Mapping[str, Choice]) -> Iterator[tuple[Mapping[str, Any], str]]:
    yield seen.options, "the command line's default"
    yield seen.click_options, "the command line's default"
    for setting in seen.own.values:
        yield {setting.path[-1]: setting.value}, f"a value of {setting.where}"
    yield seen.constants, "a constant"
    for name, values in seen.constants.items():
        if isinstance(values, dict):
            yield values, f"a value of {name}"
    for step in ("train", "data"):
        if function := _function(steps[step].target, seen):
            defaults = {p.name: p.default for p in function.parameters if p.default is not None}
            yield defaults, f"a default of {function.target}"
    yield seen.fields, "a default of a class"
