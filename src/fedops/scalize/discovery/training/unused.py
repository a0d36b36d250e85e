"""What of the project's own training is not used by the chosen steps, with file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from fedops.scalize.discovery.source.survey import Survey
from fedops.scalize.discovery.training.findings import Chosen, Finding
from fedops.scalize.discovery.training.loops import made_by, training_in
from fedops.scalize.discovery.training.parts import library_loop, parts_of
from fedops.scalize.discovery.training.scopes import Scope, Scopes
from fedops.scalize.flow.step_arguments import TRAINING_DATA


def run_of(scopes: Scopes, chosen: Chosen) -> set[str]:
    """The names of the scopes that belong to the project's own run of these steps.

    What leads to a step, all that this reaches, and what stands in one file with a step.
    """
    targets = chosen.names
    leading = scopes.leading_to(targets)
    files = {scopes.by_name[t].source.path for t in targets if t in scopes.by_name}
    beside = {scope.name for scope in scopes if scope.source.path in files}
    return scopes.reached({*leading, *targets}) | leading | beside


def unused_training(
    seen: Survey,
    scopes: Scopes,
    chosen: Chosen,
    run: set[str],
    read: frozenset[int],
) -> Iterator[Finding]:
    """One difference for each loop, and for each part of a training, that the steps leave out."""
    driven = asked_of_lightning(scopes) if chosen.lightning else set()
    driven |= _asked_by_fit(scopes) if chosen.framework == "keras" else set()
    used = scopes.reached(chosen.names | driven)
    known = {cls.target for cls in seen.subclasses(*_TRAINERS)}
    project = {cls.target for cls in seen.classes} - known
    live = _live(scopes, chosen)
    elsewhere: dict[str, list[tuple[Scope, Finding]]] = {}
    for scope in sorted(scopes, key=lambda s: (s.source.path, s.line)):
        if scope.name in used:
            continue
        if scope.name not in run:
            if found := _loop(scope, chosen, project):
                elsewhere.setdefault(scope.source.path, []).append((scope, found))
            continue
        whole = scope.owner == chosen.targets.get("data")  # a data module, used as Lightning does
        loop = library_loop(scope) if scope.owner and not whole else None
        yield from filter(None, (loop,))
        yield from filter(None, (_loop(scope, chosen, project),))
        if scope.name in live or loop:
            yield from _parts(scope, read)
    yield from _elsewhere(elsewhere)


def _elsewhere(files: Mapping[str, list[tuple[Scope, Finding]]]) -> Iterator[Finding]:
    """What is trained in files that have nothing to do with the steps: a finding each, if they are few."""
    found = [others[0] for others in files.values()]
    for scope, finding in found[:_MOST_FILES]:
        text = f"what is trained in this file is not used: {scope.words}"
        yield Finding(kind="not_used", text=text, where=finding.where)
    if rest := [scope.source.path for scope, _ in found[_MOST_FILES:]]:
        named = ", ".join(rest[:3]) + (", ..." if rest[3:] else "")
        text = f"nor is what is trained in {len(rest)} more: {named}"
        yield Finding(kind="not_used", text=text, where="")


_MOST_FILES = 4


def _live(scopes: Scopes, chosen: Chosen) -> set[str]:
    """The scopes that have to do with a training: all, where none is seen."""
    trains = {scope.name for scope in scopes if any(training_in(scope))}
    trains |= {chosen.train} if chosen.train else set()
    if not trains:
        return {scope.name for scope in scopes}
    leading = scopes.leading_to(trains)
    return scopes.reached(leading | trains) | leading | trains


def asked_of_lightning(scopes: Scopes) -> set[str]:
    """The methods of the project's LightningModules that the adapter's own loop calls."""
    classes = scopes.seen.subclasses(*LIGHTNING)
    methods = (scope for cls in classes for scope in scopes.methods.get(cls.target, ()))
    return {scope.name for scope in methods if scope.method in _ASKED}


def _asked_by_fit(scopes: Scopes) -> set[str]:
    """What Keras' ``fit`` calls of a model of one's own."""
    methods = {"train_step", "test_step", "compute_loss"}
    return {scope.name for scope in scopes if scope.method in methods}


_TRAINERS = ("transformers.Trainer", "transformers.Seq2SeqTrainer", "trl.SFTTrainer")
LIGHTNING = (
    "lightning.LightningModule",
    "lightning.pytorch.LightningModule",
    "pytorch_lightning.LightningModule",
)
_ASKED = {"training_step", "configure_optimizers", "validation_step", "test_step"}


def _parts(scope: Scope, read: frozenset[int]) -> Iterator[Finding]:
    """Weights that are loaded after the training are its result, not its begin."""
    first = next((call.lineno for call, _ in training_in(scope)), None)
    for part in parts_of(scope, read):
        line = int(part.where.rpartition(":")[2])
        if part.kind == "weights" and first is not None and line > first:
            continue
        yield part


def _loop(scope: Scope, chosen: Chosen, project: set[str]) -> Finding | None:
    """The first call in a scope that trains; not where it asks an object of the project to do so."""
    own = re.compile(f"(?:{'|'.join(map(re.escape, sorted(project)))})$")
    objects = set(made_by(scope, own)) if project else set()
    found = [
        (call, words)
        for call, words in training_in(scope)
        if words.split(".")[0] not in objects and not _is_the_same(words, scope, chosen)
    ]
    if not found:
        return None
    call, words = found[0]
    instead = f"{chosen.train} is trained with" if chosen.train else "the adapter's own loop trains"
    text = f"{scope.words} trains ({words}) and is not used: {instead}"
    return Finding(kind="not_used", text=text, where=scope.place(call))


def _is_the_same(words: str, scope: Scope, chosen: Chosen) -> bool:
    """Whether the adapter's own loop does what this call does."""
    if chosen.lightning:
        return words == "Trainer.fit()"
    on, _, method = words.partition(".")
    model = re.compile(re.escape(chosen.targets.get("model", "-")) + "$")
    held = on in set(made_by(scope, model)) or bool(_A_MODEL.fullmatch(on.lower()))
    return chosen.fits and method == "fit()" and held


_A_MODEL = re.compile(r"(\w+_)?(model|net|clf|classifier|regressor|pipe|pipeline|estimator)\d?")


def loads_its_own_data(chosen: Chosen, place: str) -> Finding | None:
    """A train step that takes no data: it can be neither cut into parts nor held out of."""
    if not chosen.train or chosen.takes & {*TRAINING_DATA, "context"}:
        return None
    text = (
        f"{chosen.train} takes no training data and loads its own: [dataset.partition] and "
        "validation_split do nothing for it, it may be judged on what it was trained on, and its weight "
        "is the number of examples counted at its DataLoader, or that of the data step where it has none"
    )
    return Finding(kind="own_data", text=text, where=place)
