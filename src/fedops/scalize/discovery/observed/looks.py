"""Runs the user's command under observation, a second time where the first look does not tell enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedops.core.errors import Invalid
from fedops.scalize.discovery.observed.declared_options import declared_options, script_of
from fedops.scalize.discovery.observed.epoch_option import EpochOption, find_epoch_option
from fedops.scalize.discovery.observed.look import Look
from fedops.scalize.discovery.observed.round_length import FIRST_SECONDS, first_limits
from fedops.scalize.discovery.observed.seen_models import stages
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
    #: What runs it and tells what was seen: ``watch``.
    by: Callable[..., Seen] = watch


def look_at(project: Path, command: Sequence[str], how: Watching) -> Look:
    """Run the command in the project's folder and look at its training.

    Raises:
        Invalid: there is no such folder, no Python in it, or the command cannot be started.
    """
    folder = project.expanduser().resolve()
    require_command(folder, command)
    option = find_epoch_option(command, declared_options(folder, script_of(command, folder)))
    job = _limited(how.folder / "first", option)
    seen = _watch(folder, command, how, job)
    look = Look(folder, tuple(command), seen, job.folder / TENSORS, option, max_seconds=how.seconds)
    return _second(look, how)


def _second(look: Look, how: Watching) -> Look:
    """The look of a second run, where the first did not see enough.

    That is where it did not see the model before it trained, or was ended while several models are trained
    one after another: a round is the whole of such a command, and there may be more of them behind.
    """
    evaluation = any(note.kind == _EVALUATION_MODE for note in look.seen.notes)
    whole = look.seen.ended in ("passes", "steps") and len(stages(look.seen.models)) > 1
    if any(note.weight == "refusal" for note in look.seen.notes):
        whole = False  # a longer run would not change that
    if not (evaluation or whole):
        return look
    how.on_look(
        "the model trains in evaluation mode"
        if evaluation
        else "it trains several models one after another, so it is run to its own end"
    )
    folder = how.folder / "second"
    job = Job(folder=folder) if whole else _limited(folder, look.option)
    job = job.model_copy(update={"evaluation_mode": evaluation})
    seen = _watch(look.project, look.command, how, job)
    return replace(look, seen=seen, tensors=job.folder / TENSORS, evaluation_mode=evaluation)


def _limited(folder: Path, option: EpochOption | None) -> Job:
    passes, steps = first_limits(option)
    return Job(folder=folder, passes=passes, steps=steps, earliest_end=FIRST_SECONDS)


def _watch(project: Path, command: Sequence[str], how: Watching, job: Job) -> Seen:
    job.folder.mkdir(parents=True)
    return how.by(list(command), project, job, seconds=how.seconds, on_output=how.on_output)


def require_command(project: Path, command: Sequence[str]) -> None:
    """There is something to run, and a project to run it in. ``Invalid`` otherwise."""
    if not project.is_dir():
        raise Invalid(f"there is no folder {project}")
    if not command:
        raise Invalid(
            "there is nothing behind --: write your command there, as in: fedops init . -- python main.py"
        )
    named = script_of(command, project) is not None  # whatever it is called, such as step_test.py
    if not named and not python_files(project) and not any(project.rglob("*.ipynb")):
        raise Invalid(f"there is no Python file in {project}")
