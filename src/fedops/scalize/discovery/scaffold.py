"""``fedops init``: proposes how a project becomes a federated app, and writes that beside its code.

The project is only looked at, never run, and none of its files is touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedops.core.errors import Invalid
from fedops.core.plain_values import leaves
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.scalize.discovery.app_folder import (
    FOLDER,
    app_name,
    app_package,
    new_folder,
    require_free,
    write_texts,
)
from fedops.scalize.discovery.candidates import Choice
from fedops.scalize.discovery.differences import FILE, Difference, to_json
from fedops.scalize.discovery.mapping import choose_steps, chosen_by_hand
from fedops.scalize.discovery.source.survey import Survey, analyse_project
from fedops.scalize.discovery.templates import Texts
from fedops.scalize.discovery.training.command import likely_command
from fedops.scalize.discovery.training.scopes import Scopes
from fedops.scalize.discovery.training_look import Look, look_at_training


@dataclass(frozen=True)
class Plan:
    """What ``fedops init`` would write."""

    project: Path
    root: Path  #: the folder that the project's imports start from
    name: str  #: of the app
    framework: str
    steps: Mapping[str, Choice]
    seen: Survey = field(repr=False, compare=False)
    #: What was read off the project's own training, and what of it is left out.
    look: Look
    problems: tuple[str, ...] = ()
    #: Names that can be chosen for a step.
    targets: tuple[str, ...] = ()
    #: The project's top-level modules and packages that define something.
    modules: tuple[str, ...] = ()
    #: Files of settings that the code reads.
    carry: tuple[str, ...] = ()

    @property
    def settings(self) -> Mapping[str, tuple[Any, str]]:
        return self.look.settings

    @property
    def optimizer(self) -> Mapping[str, Any] | None:
        return self.look.optimizer

    @property
    def loss(self) -> Mapping[str, Any] | None:
        return self.look.loss

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What of the project's own training a run would not do, or do otherwise."""
        return self.look.differences

    @property
    def command(self) -> str:
        """The command by which the project is probably trained; '' where none was seen."""
        return self.look.command

    @property
    def ties(self) -> dict[str, tuple[str, ...]]:
        """Steps for which several are as likely: the one that is proposed, and those beside it."""
        return {s: (c.target, *c.tied) for s, c in self.steps.items() if c.tied}

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
        lines += [f"not your training: {difference.line()}" for difference in self.differences]
        needed = self.steps["data"].target and self.steps["model"].target
        if self.command and (self.differences or not needed):
            lines.append(f"to train as your own command does: {self.observed}")
        return lines + [f"open: {problem}" for problem in self.problems]

    @property
    def observed(self) -> str:
        """How the project's own command is taken instead of its functions."""
        return f"fedops init {_shown(self.project)} -- {self.command}"

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
            if target != steps[step].target or steps[step].tied:
                steps[step] = chosen_by_hand(step, target, self.seen)
        return _plan(self.project, self.seen, self.framework, steps)


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
        command = likely_command(Scopes(seen))
        watched = f"fedops init {_shown(project)} -- {command}"
        script = f"this is a script; let FedOps watch it: {watched}" if command else ""
        found = "; ".join(seen.unreadable) or script or _nothing_in(project)
        raise Invalid(f"nothing to federate was found in {project}: {found}")
    framework, steps = choose_steps(seen)
    return _plan(project, seen, framework, steps)


def _plan(project: Path, seen: Survey, framework: str, steps: Mapping[str, Choice]) -> Plan:
    look = look_at_training(seen, steps, framework)
    targets = sorted([*(f.target for f in seen.functions), *(c.target for c in seen.classes)])
    return Plan(
        project,
        seen.root,
        app_name(project),
        framework,
        steps,
        seen,
        look,
        tuple([*_problems(steps, framework), *_warnings(seen, steps)]),
        tuple(targets),
        tuple(dict.fromkeys(target.split(".")[0] for target in targets)),
        tuple(sorted(seen.settings_files | _files_given(steps))),
    )


def _files_given(steps: Mapping[str, Choice]) -> set[str]:
    """Files whose settings a step is given."""
    tables = (leaves(dict(choice.arguments)) for choice in steps.values())
    return {str(v) for found in tables for path, v in found if path.split(".")[-1] == "file_"}


def _shown(project: Path) -> str:
    return "." if project == Path.cwd() else str(project)


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
    require_free(plan.project)
    for step in ("model", "data"):
        if not plan.steps[step].target:
            by_hand = f"name it yourself: --step {step}=<module>.<name>"
            run = f"let FedOps watch your own command: {plan.observed}; or " if plan.command else ""
            raise Invalid(f"{plan.project}: {plan.steps[step].reason}; {run}{by_hand}")
    with new_folder(plan.project) as folder:
        return write_texts(folder, _files(plan))


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
        **({FILE: to_json(plan.differences)} if plan.differences else {}),
        f"{plan.package}/__init__.py": "",
        f"{plan.package}/apps.py": texts.apps(),
    }


# --- what is open ---------------------------------------------------------------------------------


def _problems(steps: Mapping[str, Choice], framework: str) -> Iterator[str]:
    for step, choice in steps.items():
        if choice.tied:
            more = f" and {len(choice.tied) - 4} more" if choice.tied[4:] else ""
            others = comma_list(choice.tied[:4]) + more
            yield (
                f"{step}: {others} would do as well as {choice.target}; say which: "
                f"--step {step}={choice.target}"
            )
        for name in choice.missing:
            yield (
                f"{choice.target} needs a value for '{name}': write {name} = ... under [{step}] in "
                f"{FOLDER}/config.toml"
            )
        found = leaves(dict(choice.arguments))
        for secret in sorted({str(v)[len("${oc.env:") : -1] for _, v in found if _is_secret(v)}):
            yield f"{choice.target} gets a secret: set {secret} in the environment of each device"
    for step in ("model", "data"):
        if not steps[step].target:
            yield steps[step].reason


def _is_secret(value: Any) -> bool:
    return str(value).startswith("${oc.env:")


def _warnings(seen: Survey, steps: Mapping[str, Choice]) -> Iterator[str]:
    for module in dict.fromkeys(choice.module for choice in steps.values()):
        if module in seen.busy:
            yield (
                f"importing '{module}' runs code (line {seen.busy[module]}); put it under "
                'if __name__ == "__main__": so that a device can import the functions alone'
            )
    yield from (f"not looked at: {line}" for line in seen.unreadable)
