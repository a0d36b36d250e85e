"""Which functions of a surveyed project are the steps of its flow, each choice with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from fedops.scalize.discovery.candidate_arguments import asks_for, fill
from fedops.scalize.discovery.candidates import Candidate, Choice, folded
from fedops.scalize.discovery.doubts import (
    abstract_classes,
    handed_on,
    is_helper,
    is_inner,
    is_no_model,
    is_private,
)
from fedops.scalize.discovery.model_makers import framework_of, why_not_averaged
from fedops.scalize.discovery.source.definitions import Class, Function
from fedops.scalize.discovery.source.survey import Survey
from fedops.scalize.discovery.training.loops import training_in
from fedops.scalize.discovery.training.scopes import Scopes
from fedops.scalize.discovery.training.unused import LIGHTNING
from fedops.scalize.flow.step_arguments import OFFERS

_MODULES = ("torch.nn.Module", "torch.nn.modules.module.Module")
_KERAS = ("keras.Model", "keras.Sequential", "keras.models.Model", "keras.models.Sequential")
_DATA_SETS = ("torch.utils.data.Dataset", "torch.utils.data.dataset.Dataset")
_DATA_MODULES = tuple(
    f"{package}.LightningDataModule"
    for package in ("lightning", "lightning.pytorch", "pytorch_lightning", "lightning.pytorch.core")
)
_SPLITTERS = (
    "torch.utils.data.TensorDataset",
    "torch.utils.data.DataLoader",
    "torch.utils.data.random_split",
    "sklearn.model_selection.train_test_split",
)

_MODEL_NAME = re.compile(
    r"(build|make|create|get|define|init|load|new)?_*(\w+_)?"
    r"(model|net|network|classifier|regressor|pipeline|estimator|clf)$"
)
_DATA_NAME = re.compile(r"(data|dataset|datasets|loader|loaders|dataloaders?|splits?)$")
_DATA_VERB = re.compile(r"(load|get|make|prepare|create|build|read|fetch)_")
_FOR_TESTS = re.compile(r"(^|_)(test|val|valid|validation|eval)(_|$)")
_TRAIN_NAME = re.compile(
    r"(train|trainer|fit|training|fine_?tune|learn|learner)(_|$)|_(train|trainer|fit)$"
)
_EVALUATE_NAME = re.compile(
    r"(eval|evaluate|evaluator|evaluation|test|tester|validate|validator|validation|score|report)(_|$)|(^|_)(test|eval|accuracy|error|metrics|mae|mse|rmse|auc)$"
)
_NOT_STEPS = {"main", "parse_args", "run", "cli"}


def choose_steps(seen: Survey) -> tuple[str, dict[str, Choice]]:
    """The framework, and a choice for each step."""
    models = _models(seen)
    scopes = Scopes(seen)
    training = {scope.name for scope in scopes if any(training_in(scope))}
    steps = {
        "data": _chosen("data", _data(seen), seen),
        "model": _chosen("model", models, seen),
        "train": _chosen("train", _loops(seen, "train", models, training), seen),
        "evaluate": _chosen("evaluate", _loops(seen, "evaluate", models, training), seen),
    }
    model = next((m for m in models if m.target == steps["model"].target), None)
    framework = model.framework if model else ""
    if framework == "lightning":
        steps |= {
            step: replace(steps[step], reason=words)
            for step, words in _OF_LIGHTNING.items()
            if not steps[step].target
        }
    return framework, steps


_OF_LIGHTNING = {
    "train": "the model's training_step and configure_optimizers are driven by the adapter; schedulers begin "
    "anew each round",
    "evaluate": "the model's validation_step is driven by the adapter (where it has one)",
}


def _chosen(step: str, candidates: list[Candidate], seen: Survey) -> Choice:
    ranked = sorted(candidates, key=partial(_rank, step, seen))
    if not ranked:
        refused = _not_averaged(seen) if step == "model" else ""
        return Choice(step, reason=refused or _NOTHING[step])
    best, *others = ranked
    first = _rank(step, seen, best)
    tied = tuple(other.target for other in others if _rank(step, seen, other) == first)
    return replace(_choice(step, best, seen), others=tuple(o.target for o in others[:3]), tied=tied)


def _not_averaged(seen: Survey) -> str:
    made = [*(call.target for call in seen.calls), *(g for f in seen.functions for g in f.gives)]
    return next(filter(None, map(why_not_averaged, made)), "")


def _rank(step: str, seen: Survey, candidate: Candidate) -> tuple[bool, bool, int]:
    """The lowest is best: what is doubtful or cannot be called never wins over what is neither."""
    _, missing, _ = fill(step, candidate, seen)
    return candidate.doubtful, bool(missing), -candidate.score


def _choice(step: str, best: Candidate, seen: Survey) -> Choice:
    arguments, missing, takes = fill(step, best, seen)
    if step == "train":
        arguments = {name: _one_epoch(value, seen) for name, value in arguments.items()}
    reason = f"{best.why} ({best.place})" if best.place else best.why
    return Choice(step, best.target, reason, arguments, missing, module=best.module, takes=takes)


def _one_epoch(settings: Any, seen: Survey) -> Any:
    """The project's own settings for the train step, with one epoch a round."""
    if not isinstance(settings, dict):
        return settings
    said = seen.own.content_of(settings)
    given = {n: 1 if folded(n) in _EPOCHS and _is_count(v) else v for n, v in settings.items()}
    given |= _epochs_in(said)
    cls = next((c for c in seen.classes if c.target == settings.get("_target_")), None)
    named = (p for p in (cls.parameters if cls else ()) if folded(p.name) in _EPOCHS)
    return given | {p.name: 1 for p in named if _is_count(p.default)}


def _epochs_in(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of epochs among settings, however deep, as what is to take their place."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if folded(str(name)) in _EPOCHS and _is_count(value):
            found[name] = 1
        elif isinstance(value, Mapping) and (inner := _epochs_in(value)):
            found[name] = inner
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1


_EPOCHS = next(offer.names for offer in OFFERS["train"] if offer.key == "epochs")


def chosen_by_hand(step: str, target: str, seen: Survey) -> Choice:
    """The choice of a function or class that somebody named; none, where the step is to be left out."""
    defined: list[Function | Class] = [*seen.functions, *seen.classes]
    found = next((one for one in defined if one.target == target), None)
    if found is None:
        return Choice(step, reason="left out by hand")
    open_ended = isinstance(found, Function) and found.open_ended
    candidate = Candidate(
        0, target, found.module, "", "chosen by hand", found.parameters, open_ended=open_ended
    )
    return _choice(step, candidate, seen)


_NOTHING = {
    "data": "no function was found that gives data, nor a data set class (what is done inside a main() "
    "cannot be called; def load_data(): return train_set, test_set in a file beside it can)",
    "model": "no model was found: neither a class of a known framework nor a function that makes one "
    "(what is made inside a main() cannot be called; def make_model(): return model in a file beside it can)",
    "train": "no function was found that trains a given model: the adapter's own loop does",
    "evaluate": "no function was found that evaluates a given model and returns how good it is: the "
    "adapter's own loop does",
}


# --- models ------------------------------------------------------------------------------------


def _models(seen: Survey) -> list[Candidate]:
    classes = {c.target: (c, name) for name, bases in _bases() for c in seen.subclasses(*bases)}
    parts = _parts(classes, seen) | handed_on(seen)
    abstract = abstract_classes(seen)
    found = [
        _class_candidate(cls, name, seen)
        for target, (cls, name) in classes.items()
        if target not in parts and not is_no_model(cls, abstract)
    ]
    known = _makers({target: name for target, (_, name) in classes.items()}, seen)
    usual = next((name for _, name in classes.values()), "") or _imported(seen)
    found += [
        candidate
        for function in seen.functions
        if function.target not in parts and (candidate := _factory(function, known, usual, seen))
    ]
    return found


def _imported(seen: Survey) -> str:
    """The one framework that the project imports, as an adapter is called; '' where there are several."""
    packages = {name.split(".")[0] for name in seen.imports}
    frameworks = {_PACKAGES[package] for package in packages if package in _PACKAGES}
    return frameworks.pop() if len(frameworks) == 1 else ""


_PACKAGES = {
    "torch": "pytorch",
    "torchvision": "pytorch",
    "keras": "keras",
    "tensorflow": "keras",
    "sklearn": "sklearn",
}


def _parts(classes: Mapping[str, Any], seen: Survey) -> set[str]:
    """The classes and functions that are only ever called inside models, or inside such functions."""
    defined = {*classes, *(function.target for function in seen.functions)}
    callers = {
        target: {f"{call.module}.{call.scope}" for call in seen.calls_of(target)} - {target}
        for target in defined
    }
    inner = set(classes)
    while more := {t for t, by in callers.items() if by and by <= inner} - inner:
        inner |= more
    return {target for target in inner if callers[target] and callers[target] <= inner}


def _makers(known: Mapping[str, str], seen: Survey) -> dict[str, str]:
    """The framework of each class and of each function that returns a model, also by way of another."""
    known = dict(known)
    while True:
        more = {
            function.target: framework
            for function in seen.functions
            if function.target not in known
            and (
                framework := next(
                    filter(None, (_framework_of(g, known) for g in function.gives)), ""
                )
            )
        }
        if not more:
            return known
        known |= more


def _bases() -> Iterable[tuple[str, tuple[str, ...]]]:
    tensorflow = tuple(f"tensorflow.{name}" for name in _KERAS)
    yield "pytorch", _MODULES
    yield "lightning", LIGHTNING
    yield (
        "keras",
        (*_KERAS, *tensorflow, *(name.replace("keras", "tf.keras", 1) for name in _KERAS)),
    )
    yield "huggingface", ("transformers.PreTrainedModel",)


def _class_candidate(cls: Class, framework: str, seen: Survey) -> Candidate:
    used = bool(seen.calls_of(cls.target))
    base = next(iter(cls.bases), "")
    return Candidate(
        4 + used + 2 * _used_by_main(cls, seen) - 2 * (is_inner(cls) and not used),
        cls.target,
        cls.module,
        _place(cls, seen),
        f"a class derived from {base}",
        cls.parameters,
        framework,
        doubtful=is_private(cls.name),
    )


def _factory(
    function: Function, classes: Mapping[str, str], usual: str, seen: Survey
) -> Candidate | None:
    """``usual``: the framework of the project's own model classes."""
    made = next((g for g in function.gives if _framework_of(g, classes)), "")
    name = function.name.lower()
    named = bool(_MODEL_NAME.search(name))
    trains = bool(_TRAIN_NAME.search(name) or _EVALUATE_NAME.search(name))
    told = made or (named and function.answers and not _refused(function))
    if not told or trains or function.name in _NOT_STEPS or asks_for(function, "model"):
        return None
    why = "a function named after a model: fedops check calls it and looks at what it returns"
    return Candidate(
        (6 + 2 * named if made else 5 if usual else 3) + _used_by_main(function, seen),
        function.target,
        function.module,
        _place(function, seen),
        f"a function that returns {made}" if made else why,
        function.parameters,
        _framework_of(made, classes) if made else usual,
        function.open_ended,
        doubtful=is_private(function.name),
    )


def _refused(function: Function) -> bool:
    return any(why_not_averaged(given) for given in function.gives)


def _framework_of(made: str, classes: Mapping[str, str]) -> str:
    """The framework of a class or constructor by its dotted name; '' when it makes no model."""
    return classes[made] if made in classes else framework_of(made)


# --- data and loops ----------------------------------------------------------------------------


def _data(seen: Survey) -> list[Candidate]:
    found = []
    sets = {*_SPLITTERS, *(c.target for c in seen.subclasses(*_DATA_SETS))}
    for function in seen.functions:
        name = function.name.lower()
        verb, noun = bool(_DATA_VERB.match(name)), bool(_DATA_NAME.search(name))
        gives = bool(set(function.gives) & sets)
        if not (noun or (verb and (function.elements > 1 or gives))) or name in _NOT_STEPS:
            continue
        if asks_for(function, "model") or _MODEL_NAME.search(name):
            continue
        if not function.answers or is_helper(name):
            continue
        score = int("train" in name) - bool(_FOR_TESTS.search(name))
        score += 2 * noun + verb + 2 * (function.elements > 1) + 3 * _used_by_main(function, seen)
        why = "a function named after data"
        why += f" that returns {function.elements} things" if function.elements > 1 else ""
        place, parameters = _place(function, seen), function.parameters
        doubtful = is_private(function.name)
        found.append(
            Candidate(
                score, function.target, function.module, place, why, parameters, doubtful=doubtful
            )
        )
    return [*found, *_data_sets(seen)]


def _data_sets(seen: Survey) -> Iterable[Candidate]:
    """The project's data modules, and its own data set classes where no function gives data."""
    modules = {cls.target for cls in seen.subclasses(*_DATA_MODULES)}
    for cls in seen.subclasses(*_DATA_SETS, *_DATA_MODULES):
        score = (5 if cls.target in modules else -6) + bool(seen.calls_of(cls.target))
        why = f"a class derived from {next(iter(cls.bases), '')}"
        place = _place(cls, seen)
        yield Candidate(score, cls.target, cls.module, place, why, cls.parameters)


def _loops(seen: Survey, step: str, models: list[Candidate], training: set[str]) -> list[Candidate]:
    """``training``: the names of the functions in which something is trained."""
    found = []
    pattern = _TRAIN_NAME if step == "train" else _EVALUATE_NAME
    names = {folded(model.target.rpartition(".")[2]) for model in models}
    made = {model.target for model in models}
    names |= {folded(name) for name, target in seen.made.items() if target in made}
    for function in seen.functions:
        named, trains = bool(pattern.search(function.name.lower())), function.target in training
        if function.name in _NOT_STEPS or not (named or (step == "train" and trains)):
            continue
        if not asks_for(function, "model", step) and not _begins_with(function, names):
            continue
        if step == "evaluate" and (trains or not function.answers):
            continue  # what it prints nobody else can know
        score = 2 * bool(pattern.match(function.name.lower())) + 3 * _used_by_main(function, seen)
        score += 2 * (step == "train" and trains)
        why = f"a function that takes the model, named after {step}"
        found.append(
            Candidate(
                score,
                function.target,
                function.module,
                _place(function, seen),
                why if named else "a function that takes a model and trains it",
                function.parameters,
                doubtful=is_private(function.name),
            )
        )
    return _outermost(found, seen)


def _outermost(found: list[Candidate], seen: Survey) -> list[Candidate]:
    """Who calls another of them comes before it."""
    targets = {candidate.target for candidate in found}

    def inner(candidate: Candidate) -> bool:
        callers = {f"{c.module}.{c.scope}" for c in seen.calls_of(candidate.target)}
        return bool(callers & (targets - {candidate.target}))

    return [replace(c, score=c.score - 1) if inner(c) else c for c in found]


def _begins_with(function: Function, names: set[str]) -> bool:
    """Whether the first parameter is called as the project calls its model: ``train(gan, loader)``."""
    return bool(function.parameters) and folded(function.parameters[0].name) in names


def _used_by_main(function: Function | Class, seen: Survey) -> bool:
    return any(call.scope in ("", "main", "run") for call in seen.calls_of(function.target))


def _place(found: Function | Class, seen: Survey) -> str:
    return f"{found.file.relative_to(seen.project)}, line {found.line}"
