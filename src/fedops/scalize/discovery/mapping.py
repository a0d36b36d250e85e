"""Which functions of a surveyed project are the steps of its flow, each choice with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from fedops.scalize.discovery.candidate_arguments import asks_for, fill, is_known
from fedops.scalize.discovery.candidates import Candidate, Choice, folded
from fedops.scalize.discovery.definitions import Class, Function
from fedops.scalize.discovery.survey import Survey

_MODULES = ("torch.nn.Module", "torch.nn.modules.module.Module")
_LIGHTNING = (
    "lightning.LightningModule",
    "lightning.pytorch.LightningModule",
    "pytorch_lightning.LightningModule",
)
_KERAS = ("keras.Model", "keras.Sequential", "keras.models.Model", "keras.models.Sequential")
#: ``BertModel``, ``BertForSequenceClassification``, ``AutoModelForCausalLM.from_pretrained``
_TRANSFORMER = re.compile(r"transformers\.(\w+\.)*(?!DataCollator)\w*(Model|For[A-Z])")
_DATA_SETS = ("torch.utils.data.Dataset", "torch.utils.data.dataset.Dataset")
_SPLITTERS = (
    "torch.utils.data.TensorDataset",
    "torch.utils.data.DataLoader",
    "torch.utils.data.random_split",
    "sklearn.model_selection.train_test_split",
)
_ESTIMATORS = ("linear_model", "naive_bayes", "neural_network", "svm", "pipeline")

_MODEL_NAME = re.compile(
    r"(build|make|create|get|define|init|load|new)?_*(\w+_)?"
    r"(model|net|network|classifier|regressor|pipeline|estimator|clf)$"
)
_DATA_NAME = re.compile(r"(data|dataset|datasets|loader|loaders|dataloaders?|splits?)$")
_DATA_VERB = re.compile(r"(load|get|make|prepare|create|build|read|fetch)_")
_TRAIN_NAME = re.compile(r"(train|fit|training|fine_?tune|learn)(_|$)|_(train|fit)$")
_EVALUATE_NAME = re.compile(
    r"(eval|evaluate|evaluation|test|validate|validation|score|report)(_|$)|(^|_)(test|eval|accuracy|error|metrics|mae|mse|rmse|auc)$"
)
_NOT_STEPS = {"main", "parse_args", "run", "cli"}


def choose_steps(seen: Survey) -> tuple[str, dict[str, Choice]]:
    """The framework, and a choice for each step."""
    models = _models(seen)
    framework = models[0].framework if models else ""
    steps = {
        "data": _chosen("data", _data(seen), seen),
        "model": _chosen("model", models, seen),
        "train": _chosen("train", _loops(seen, "train", _TRAIN_NAME, models), seen),
        "evaluate": _chosen("evaluate", _loops(seen, "evaluate", _EVALUATE_NAME, models), seen),
    }
    return framework, steps


def _chosen(step: str, candidates: list[Candidate], seen: Survey) -> Choice:
    ranked = sorted(candidates, key=partial(_rank, step, seen))
    if not ranked:
        return Choice(step, reason=_NOTHING[step])
    best, *others = ranked
    first = _rank(step, seen, best)
    tied = tuple(other.target for other in others if _rank(step, seen, other) == first)
    return replace(_choice(step, best, seen), others=tuple(o.target for o in others[:3]), tied=tied)


def _rank(step: str, seen: Survey, candidate: Candidate) -> tuple[bool, bool, int]:
    """The lowest is best: what is doubtful or cannot be called never wins over what is neither."""
    _, missing, _ = fill(step, candidate, seen)
    return candidate.doubtful, bool(missing), -candidate.score


def _choice(step: str, best: Candidate, seen: Survey) -> Choice:
    arguments, missing, takes = fill(step, best, seen)
    reason = f"{best.why} ({best.place})" if best.place else best.why
    return Choice(step, best.target, reason, arguments, missing, module=best.module, takes=takes)


def chosen_by_hand(step: str, target: str, seen: Survey) -> Choice:
    """The choice of a function or class that somebody named; none, where the step is to be left out."""
    found = next((f for f in [*seen.functions, *seen.classes] if f.target == target), None)
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
    parts = _parts(classes, seen)
    found = [
        _class_candidate(cls, name, seen)
        for target, (cls, name) in classes.items()
        if target not in parts
    ]
    known = _makers({target: name for target, (_, name) in classes.items()}, seen)
    usual = next((name for _, name in classes.values()), "")
    found += [
        candidate
        for function in seen.functions
        if function.target not in parts and (candidate := _factory(function, known, usual, seen))
    ]
    return _ranked(found)


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
    yield "pytorch", (*_MODULES, *_LIGHTNING)
    yield (
        "keras",
        (*_KERAS, *tensorflow, *(name.replace("keras", "tf.keras", 1) for name in _KERAS)),
    )
    yield "huggingface", ("transformers.PreTrainedModel",)


def _class_candidate(cls: Class, framework: str, seen: Survey) -> Candidate:
    used = bool(seen.calls_of(cls.target))
    base = next(iter(cls.bases), "")
    return Candidate(
        4 + used,
        cls.target,
        cls.module,
        _place(cls, seen),
        f"a class derived from {base}",
        cls.parameters,
        framework,
    )


def _factory(
    function: Function, classes: Mapping[str, str], usual: str, seen: Survey
) -> Candidate | None:
    """``usual``: the framework of the project's own model classes."""
    made = next((g for g in function.gives if _framework_of(g, classes)), "")
    name = function.name.lower()
    named = bool(_MODEL_NAME.search(name))
    trains = bool(_TRAIN_NAME.search(name) or _EVALUATE_NAME.search(name))
    told = made or (named and function.answers and usual)  # e.g. REGISTRY[name](**kwargs)
    if not told or trains or function.name in _NOT_STEPS or asks_for(function, "model"):
        return None
    return Candidate(
        6 + 2 * named if made else 5,
        function.target,
        function.module,
        _place(function, seen),
        f"a function that returns {made}" if made else "a function named after a model",
        function.parameters,
        _framework_of(made, classes) if made else usual,
        function.open_ended,
    )


def _framework_of(made: str, classes: Mapping[str, str]) -> str:
    """The framework of a class or constructor by its dotted name; '' when it makes no model."""
    if made in classes:
        return classes[made]
    if made.split(".")[0] == "peft" or _TRANSFORMER.match(made):
        return "huggingface"
    if made.removeprefix("tensorflow.").removeprefix("tf.") in _KERAS:
        return "keras"
    parts = made.split(".")
    if parts[0] == "sklearn" and len(parts) > 2 and parts[1] in _ESTIMATORS:
        return "sklearn"
    return "pytorch" if made == "torch.nn.Sequential" else ""


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
        score = 2 * noun + verb + 2 * (function.elements > 1) + 3 * _used_by_main(function, seen)
        score -= 4 * any(not is_known("data", p, seen) for p in function.parameters if p.required)
        why = "a function named after data"
        why += f" that returns {function.elements} things" if function.elements > 1 else ""
        place = _place(function, seen)
        found.append(
            Candidate(score, function.target, function.module, place, why, function.parameters)
        )
    return _ranked([*found, *_data_sets(seen)])


def _data_sets(seen: Survey) -> Iterable[Candidate]:
    """The project's own data set classes: what there is where no function gives data."""
    for cls in seen.subclasses(*_DATA_SETS):
        score = -6 + bool(seen.calls_of(cls.target))
        why = f"a class derived from {next(iter(cls.bases), '')}"
        place = _place(cls, seen)
        yield Candidate(score, cls.target, cls.module, place, why, cls.parameters)


def _loops(
    seen: Survey, step: str, pattern: re.Pattern[str], models: list[Candidate]
) -> list[Candidate]:
    found = []
    names = {folded(model.target.rpartition(".")[2]) for model in models}
    names |= {
        folded(name) for name, made in seen.made.items() if made in {m.target for m in models}
    }
    for function in seen.functions:
        if not pattern.search(function.name.lower()) or function.name in _NOT_STEPS:
            continue
        if not asks_for(function, "model", step) and not _begins_with(function, names):
            continue
        if step == "evaluate" and not function.answers:
            continue  # it prints what it finds; nobody else can know it
        score = 2 * bool(pattern.match(function.name.lower())) + 3 * _used_by_main(function, seen)
        why = f"a function that takes the model, named after {step}"
        place = _place(function, seen)
        found.append(
            Candidate(score, function.target, function.module, place, why, function.parameters)
        )
    return _ranked(found)


def _begins_with(function: Function, names: set[str]) -> bool:
    """Whether the first parameter is called as the project calls its model: ``train(gan, loader)``."""
    return bool(function.parameters) and folded(function.parameters[0].name) in names


def _used_by_main(function: Function, seen: Survey) -> bool:
    return any(call.scope in ("", "main", "run") for call in seen.calls_of(function.target))


def _ranked(candidates: list[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: -c.score)


def _place(found: Function | Class, seen: Survey) -> str:
    return f"{found.file.relative_to(seen.project)}, line {found.line}"


# --- parameters --------------------------------------------------------------------------------
