"""Runs the user's command under observation, a second time where the first look does not tell enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedops.core.errors import Invalid
from fedops.scalize.discovery.observed.declared_options import declared_options, script_of
from fedops.scalize.discovery.observed.epoch_option import find_epoch_option
from fedops.scalize.discovery.observed.look import Look
from fedops.scalize.discovery.observed.round_length import first_limits
from fedops.scalize.discovery.source.source_files import python_files
from fedops.scalize.observing.records import Job, Seen
from fedops.scalize.observing.running import watch

#: Notes that a look in which any forward counts, not those in training mode alone, may answer.
_EVALUATION_MODE = "evaluation_mode"
TENSORS = "v0.safetensors"


@dataclass(frozen=True)
class Watching:
    """How a command is looked at."""

    #: Where the records of the runs go.
    folder: Path
    #: How long a run may take.
    seconds: float
    on_output: Callable[[str], None] | None = None
    #: Is told why the command is run a second time.
    on_look: Callable[[str], None] = lambda why: None


def look_at(project: Path, command: Sequence[str], how: Watching) -> Look:
    """Run the command in the project's folder and look at its training.

    Raises:
        Invalid: there is no such folder, no Python in it, or the command cannot be started.
    """
    folder = project.expanduser().resolve()
    _require_command(folder, command)
    option = find_epoch_option(command, declared_options(folder, script_of(command, folder)))
    passes, steps = first_limits(option)
    first = how.folder / "first"
    seen = _watch(folder, command, how, Job(folder=first, passes=passes, steps=steps))
    look = Look(folder, tuple(command), seen, first / TENSORS, option, max_seconds=how.seconds)
    return _second(look, how)


def _second(look: Look, how: Watching) -> Look:
    """The look of a second run, where the first was not at the state that training begins with."""
    seen = look.seen
    evaluation = any(note.kind == _EVALUATION_MODE for note in seen.notes)
    states = max(seen.states, 1)
    if not evaluation and states == 1:
        return look
    how.on_look(
        "the model trains in evaluation mode" if evaluation else "training begins at a later state"
    )
    folder = how.folder / "second"
    passes, steps = first_limits(look.option)
    job = Job(folder=folder, passes=passes, steps=steps, put_in=states, evaluation_mode=evaluation)
    again = _watch(look.project, look.command, how, job)
    return replace(
        look, seen=again, tensors=folder / TENSORS, put_in=states, evaluation_mode=evaluation
    )


def _watch(project: Path, command: Sequence[str], how: Watching, job: Job) -> Seen:
    job.folder.mkdir(parents=True)
    return watch(list(command), project, job, seconds=how.seconds, on_output=how.on_output)


def _require_command(project: Path, command: Sequence[str]) -> None:
    if not project.is_dir():
        raise Invalid(f"there is no folder {project}")
    if not command:
        raise Invalid(
            "there is nothing behind --: write your command there, as in: fedops init . -- python main.py"
        )
    if not python_files(project) and not any(project.rglob("*.ipynb")):
        raise Invalid(f"there is no Python file in {project}")
