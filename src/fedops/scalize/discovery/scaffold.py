"""``fedops init``: proposes how a project becomes a federated app, and writes that beside its code.

The project is only looked at, never run, and none of its files is touched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedops.core.errors import Conflict, Invalid
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.scalize.discovery.candidates import Choice
from fedops.scalize.discovery.definitions import Call
from fedops.scalize.discovery.mapping import choose_steps
from fedops.scalize.discovery.survey import Survey, analyse_project
from fedops.scalize.discovery.templates import Texts
from fedops.scalize.flow.step_arguments import OFFERS

FOLDER = "federated"
#: How an app's name ends, and how long Flower lets it be.
_NAME_END, _NAME_LENGTH = "-federated", 32
#: Key of the config -> key of what a train step is offered, for the names it goes by.
_SETTINGS = {
    "num_epochs": "epochs",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "random_seed": "seed",
}


@dataclass(frozen=True)
class Plan:
    """What ``fedops init`` would write."""

    project: Path
    root: Path  #: the folder that the project's imports start from
    name: str  #: of the app
    framework: str
    steps: Mapping[str, Choice]
    #: Key of the config -> value and where it was seen.
    settings: Mapping[str, tuple[Any, str]]
    optimizer: Mapping[str, Any] | None = None
    loss: Mapping[str, Any] | None = None
    problems: tuple[str, ...] = ()
    #: Names that can be chosen for a step.
    targets: tuple[str, ...] = ()
    #: The project's top-level modules and packages that define something.
    modules: tuple[str, ...] = ()
    #: Files of settings that the code reads.
    carry: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.project / FOLDER

    @property
    def package(self) -> str:
        return app_package(self.name)

    def lines(self) -> list[str]:
        """The proposal, one line a step, then what was read off and what is open."""
        lines = [f"framework: {self.framework or 'not recognised'}"]
        for step, choice in self.steps.items():
            lines.append(f"{step}: {choice.target or 'none'}: {choice.reason}")
        lines += [f"{key} = {value!r} ({where})" for key, (value, where) in self.settings.items()]
        lines += [f"goes to the server with the code: {file}" for file in self.carry]
        return lines + [f"open: {problem}" for problem in self.problems]

    def with_answers(self, answers: Mapping[str, str]) -> Plan:
        """The plan with other targets for some steps; an empty one leaves a step out.

        Raises:
            Invalid: there is no such step, or nothing of that name in the project.
        """
        steps = dict(self.steps)
        for step, target in answers.items():
            if step not in steps:
                raise Invalid(f"there is no step '{step}'{did_you_mean(step, steps)}")
            if target and target not in self.targets:
                guess = did_you_mean(target, self.targets)
                raise Invalid(
                    f"{step}: nothing in the project is called '{target}'{guess or ';'} "
                    f"there are {comma_list(self.targets[:20])}"
                )
            if target != steps[step].target:
                module = target.rpartition(".")[0]
                steps[step] = Choice(step, target, "chosen by hand", module=module)
        return replace(self, steps=steps, problems=tuple(_problems(steps, self.framework)))


def propose(path: Path) -> Plan:
    """Look at a project and propose the mapping.

    Raises:
        Invalid: there is no such folder, or no Python file in it.
    """
    project = path.expanduser().resolve()
    if not project.is_dir():
        raise Invalid(f"there is no folder {project}")
    seen = analyse_project(project)
    if not (seen.functions or seen.classes):
        found = "; ".join(seen.unreadable) or _nothing_in(project)
        raise Invalid(f"nothing to federate was found in {project}: {found}")
    framework, steps = choose_steps(seen)
    settings = {key: value for key in _SETTINGS if (value := _setting(key, seen, steps))}
    optimizer, loss = _parts(seen, steps, framework)
    return Plan(
        project,
        seen.root,
        app_name(project),
        framework,
        steps,
        settings,
        optimizer,
        loss,
        tuple([*_problems(steps, framework), *_warnings(seen, steps)]),
        targets := tuple(
            sorted([*(f.target for f in seen.functions), *(c.target for c in seen.classes)])
        ),
        tuple(dict.fromkeys(target.split(".")[0] for target in targets)),
        tuple(sorted(seen.settings_files)),
    )


def _nothing_in(project: Path) -> str:
    only = "no function or class in a Python file"
    if notebook := next(iter(sorted(project.rglob("*.ipynb"))), None):
        return (
            f"{only}; a notebook cannot be imported: export it ('jupyter nbconvert --to script "
            f"{notebook.name}') and put model and data into functions, the rest under "
            'if __name__ == "__main__":'
        )
    return f"{only}; what stands outside of functions cannot be called: put model and data into functions"


def write(plan: Plan) -> list[Path]:
    """Write the app's folder. Nothing that exists is touched.

    Raises:
        Conflict: the folder exists already.
        Invalid: no model or no data was found, so that nothing would work.
    """
    folder = plan.folder
    if folder.exists():
        raise Conflict(
            f"{folder} exists already; remove it to begin anew, or check it with: fedops check {plan.project}"
        )
    for step in ("model", "data"):
        if not plan.steps[step].target:
            raise Invalid(
                f"{plan.project}: {plan.steps[step].reason}; name it yourself: "
                f"--step {step}=<module>.<name>"
            )
    written = []
    for name, text in _files(plan).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        written.append(file)
    return written


def init_project(path: Path, answers: Mapping[str, str] | None = None) -> Plan:
    """Propose, take the answers in (step -> target), and write."""
    plan = propose(path).with_answers(answers or {})
    write(plan)
    return plan


def _files(plan: Plan) -> dict[str, str]:
    root = os.path.relpath(plan.root, plan.folder)
    home = os.path.relpath(plan.project, plan.folder)
    texts = Texts(plan.name, plan.framework, plan.package, plan.modules, root, home, plan.carry)
    return {
        "pyproject.toml": texts.pyproject(plan.steps),
        "config.toml": texts.config(plan.steps, plan.settings, plan.optimizer, plan.loss),
        f"{plan.package}/__init__.py": "",
        f"{plan.package}/apps.py": texts.apps(),
    }


def app_package(name: str) -> str:
    """The Python package of an app of this name."""
    return re.sub(r"\W", "_", name).lower()


def app_name(project: Path) -> str:
    """What the app beside a project is called: as Flower accepts it, a letter first and not too long."""
    words = re.sub(r"[^a-z0-9]+", "-", project.name.lower()).strip("-") or "project"
    words = words if words[0].isalpha() else f"app-{words}"
    return f"{words[: _NAME_LENGTH - len(_NAME_END)].rstrip('-')}{_NAME_END}"


# --- what else can be read off -------------------------------------------------------------------


def _setting(key: str, seen: Survey, steps: Mapping[str, Choice]) -> tuple[Any, str] | None:
    """A number the project uses, and where it says so."""
    names = next(o.names for o in OFFERS["train"] if o.key == _SETTINGS[key])
    kind = float if key == "learning_rate" else int
    for values, where in _sources(seen, steps):
        for name, value in values.items():
            fits = isinstance(value, kind | int) and not isinstance(value, bool)
            if name.replace("_", "").lower() in names and fits and (value > 0 or kind is int):
                return kind(value), where
    return None


def _sources(seen: Survey, steps: Mapping[str, Choice]) -> Iterator[tuple[Mapping[str, Any], str]]:
    yield seen.options, "the command line's default"
    yield seen.constants, "a constant"
    for name, values in seen.constants.items():
        if isinstance(values, dict):
            yield values, f"a value of {name}"
    for step in ("train", "data"):
        for found in seen.functions:
            if found.target == steps[step].target:
                defaults = {p.name: p.default for p in found.parameters if p.default is not None}
                yield defaults, f"a default of {found.target}"
    yield seen.fields, "a default of a class"


def _parts(
    seen: Survey, steps: Mapping[str, Choice], framework: str
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Optimizer and loss of a torch project, where its own train step does not make them."""
    train = steps["train"]
    if framework != "pytorch":
        return None, None
    wants_optimizer = not train.target or "optimizer" in train.takes
    wants_loss = "loss" in train.takes or not (train.target and steps["evaluate"].target)
    optimizers = (c for c in seen.calls if re.fullmatch(r"torch\.optim\.[A-Z]\w+", c.target))
    losses = (c for c in seen.calls if _LOSS.fullmatch(c.target))
    return (
        _part(optimizers, seen, without=("lr", "params")) if wants_optimizer else None,
        _part(losses, seen) if wants_loss else None,
    )


_LOSS = re.compile(r"torch\.nn\.\w+Loss|torch\.nn\.functional\.(\w+_loss|\w*cross_entropy\w*)")


def _part(
    calls: Iterator[Call], seen: Survey, without: tuple[str, ...] = ()
) -> Mapping[str, Any] | None:
    call = next(calls, None)
    if call is None:
        return None
    given = {name: seen.value_of(node) for name, node in call.kwargs.items() if name not in without}
    function = "functional" in call.target
    kept = {} if function else {name: value for name, value in given.items() if value is not None}
    return {"_target_": call.target, **kept}


def _problems(steps: Mapping[str, Choice], framework: str) -> Iterator[str]:
    for step, choice in steps.items():
        for name in choice.missing:
            yield (
                f"{choice.target} needs a value for '{name}': write {name} = ... under [{step}] in "
                f"{FOLDER}/config.toml"
            )
    for step in ("model", "data"):
        if not steps[step].target:
            yield steps[step].reason


def _warnings(seen: Survey, steps: Mapping[str, Choice]) -> Iterator[str]:
    for module in dict.fromkeys(choice.module for choice in steps.values()):
        if module in seen.busy:
            yield (
                f"importing '{module}' runs code (line {seen.busy[module]}); put it under "
                'if __name__ == "__main__": so that a device can import the functions alone'
            )
    yield from (f"not looked at: {line}" for line in seen.unreadable)
