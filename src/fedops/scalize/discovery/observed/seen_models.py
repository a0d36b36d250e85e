"""Which of the models that a run trained are federated."""

from __future__ import annotations

from collections.abc import Sequence

from fedops.core.errors import Invalid
from fedops.scalize.discovery.choices import Choices, Option
from fedops.scalize.observing.records import SeenModel

#: So many of one kind, one after another, are the folds of a cross-validation.
_FOLDS = 3


def stages(models: Sequence[SeenModel]) -> list[list[SeenModel]]:
    """The models in groups: those of one group were stepped alternately, the groups one after another."""
    groups: list[list[SeenModel]] = []
    end = -1
    for model in sorted(models, key=lambda one: one.first_step):
        if groups and model.first_step <= end:
            groups[-1].append(model)
        else:
            groups.append([model])
        end = max(end, model.last_step)
    return groups


def folds(models: Sequence[SeenModel]) -> str:
    """Why models that were trained one after another cannot be federated together; empty if they can."""
    groups = stages(models)
    alike = {(m.kind, tuple((t.name, tuple(t.shape)) for t in m.tensors)) for m in models}
    if len(groups) < _FOLDS or len(alike) > 1 or any(len(group) > 1 for group in groups):
        return ""
    return (
        f"the command trains {len(groups)} models of the class {models[0].kind} one after another, as for "
        "the folds of a cross-validation; choose one of them by an option of your script, and give that to "
        "'fedops init'"
    )


def choose_models(models: Sequence[SeenModel], choices: Choices) -> list[SeenModel]:
    """The federated ones: all that train alternately; of several stages, the one that is asked for.

    Raises:
        Invalid: the answer names other models, or they begin to train at different times.
    """
    groups = stages(models)
    if len(groups) == 1:
        why = "the model that the optimizer holds" if len(models) == 1 else "trained alternately"
        if models[0].framework != "pytorch":
            why = "the model that is fitted"
        named = _chosen(_names(models), why, models, choices)
    else:
        options = [Option(value=_names(group), meaning=_steps(group)) for group in groups]
        named = choices.choose(
            "models",
            _names(groups[-1]),
            f"{len(groups)} stages were seen, one after another; the last is proposed",
            where=groups[-1][0].where,
            question="The command trains several models one after another. Which are federated?",
            options=options,
        )
    names = [name.strip() for name in named.split(",")]
    chosen = [model for model in models if model.name in names]
    if len({model.put_in for model in chosen}) > 1:
        raise Invalid(
            f"{named} begin to train at different times, and a global model goes in at one: choose one of "
            f"them with --answer models={chosen[0].name}"
        )
    return chosen


def _chosen(default: str, why: str, models: Sequence[SeenModel], choices: Choices) -> str:
    known = {model.name for model in models}
    return choices.choose(
        "models",
        default,
        why,
        where=models[0].where,
        valid=lambda value: {name.strip() for name in value.split(",")} <= known,
        takes=f"some of {default}, separated by commas",
    )


def _names(models: Sequence[SeenModel]) -> str:
    return ",".join(model.name for model in models)


def _steps(group: Sequence[SeenModel]) -> str:
    first, last = min(m.first_step for m in group), max(m.last_step for m in group)
    where = f", {group[0].where}" if group[0].where else ""
    return f"steps {first} to {last}{where}"
