"""From what was seen of a run to ``[script]``: every choice with its evidence, and the open questions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from fedops.config.script_table import Script
from fedops.scalize.discovery.choices import Choice, Choices, Option
from fedops.scalize.discovery.differences import Difference
from fedops.scalize.discovery.observed.argument_paths import (
    ArgumentPath,
    argument_paths,
    outputs_elsewhere,
    read_above,
    with_placeholders,
    within_project,
)
from fedops.scalize.discovery.observed.failures import failure_of, late_failure
from fedops.scalize.discovery.observed.later_training import later_training
from fedops.scalize.discovery.observed.look import Look, shown
from fedops.scalize.discovery.observed.round_length import choose_length
from fedops.scalize.discovery.observed.run_facts import facts
from fedops.scalize.discovery.observed.seen_models import choose_models, folds, stages
from fedops.scalize.observing.records import Note, Seen, SeenModel

#: What the script loads behind its loop is another result than the loop's.
OTHER_WEIGHTS = "other_weights_at_the_end"
TWO_PHASES = "two_phases"
#: What choices answer, and is not said once more.
_ASKED = (OTHER_WEIGHTS, TWO_PHASES, "several_models", "models_in_sequence")
_BEFORE = (
    "a round ends the loop before the command loads other weights into the model, such as the best of its "
    "epochs"
)
_LOST = (
    "if that is where it began, as after a learning-rate finder, the global model would be lost: switch that "
    "off by an option of your script; if the training itself made these weights, such as its best epoch, add "
    "--answer phases=whole"
)
_PYTHON = re.compile(r"python[\d.]*(\.exe)?", re.IGNORECASE)


@dataclass(frozen=True)
class ScriptProposal:
    """What ``fedops init . -- COMMAND`` would write."""

    look: Look
    models: tuple[SeenModel, ...] = ()
    choices: tuple[Choice, ...] = ()
    notes: tuple[Note, ...] = ()
    differences: tuple[Difference, ...] = ()
    #: Why the command cannot be federated; then there is nothing to write.
    problems: tuple[str, ...] = ()
    script: Script | None = None

    @property
    def framework(self) -> str:
        return self.models[0].framework if self.models else ""

    def open(self) -> list[Choice]:
        """The questions that nobody has answered."""
        return [choice for choice in self.choices if choice.open]


def propose_script(look: Look, answers: Mapping[str, str]) -> ScriptProposal:
    """Decide what can be decided from a look at the run.

    Raises:
        Invalid: an answer is to nothing that there is to choose, or cannot be.
    """
    problems = tuple(_problems(look, answers))
    differences = (*_differences(look.seen), *later_training(look))
    if problems:
        notes = tuple(n for n in look.seen.notes if n.weight not in ("refusal", "difference"))
        return ScriptProposal(look, (), (), notes, differences, problems)
    choices = Choices(answers)
    models, script, notes = _choose(look, choices)
    choices.require_used()
    differences = (*differences, *_cut_off(choices.made), *_never_used(look.seen, script))
    return ScriptProposal(look, tuple(models), tuple(choices.made), notes, differences, (), script)


def _problems(look: Look, answers: Mapping[str, str]) -> Iterator[str]:
    seen = look.seen
    failed = failure_of(seen, shown(look.command))
    if failed:
        yield failed
    for note in seen.notes:
        if note.weight == "refusal" and not failed:
            yield _placed(note)
        elif note.kind == TWO_PHASES and answers.get("phases") != "whole":
            yield f"{_placed(note)}; {_LOST}"
    known = {note.kind for note in seen.notes}
    if "folds" not in known and (why := folds(seen.models)):
        yield why
    for argument, file in outputs_elsewhere(look.command, look.project, seen.written):
        yield (
            f"the command writes {file}, outside of its folder, where a device lets it write nothing; "
            f"give it a path within the folder in place of '{argument}'"
        )
    if above := read_above(look.command, look.project, seen.read, seen.written):
        yield _above(look, above)
    if seen.models and not look.tensors.is_file():
        yield "the run left no initial model: the models were not seen before their first step"


def _above(look: Look, file: str) -> str:
    up = "/".join(part for part in PurePath(file).parts if part == "..")
    inner = look.project.relative_to((look.project / up).resolve()).as_posix()
    entered = shlex.quote(f"cd {inner} && {shown(look.command)}")
    return (
        f"the command reads {file}, which lies above the project's folder: a device has that folder only; "
        "give init the folder that holds both, and enter this one in the command, as in: "
        f"fedops init {up} -- sh -c {entered}"
    )


def _cut_off(made: Sequence[Choice]) -> Iterator[Difference]:
    """The weights that the command would load, and a round does not come so far."""
    for choice in made:
        if choice.key == "result" and choice.why == _BEFORE:
            yield Difference(kind=OTHER_WEIGHTS, text=_BEFORE, where=choice.where)


def _never_used(seen: Seen, script: Script) -> Iterator[Difference]:
    """Optimizers of a later part of the training, such as a fine-tuning, that no round comes to."""
    for optimizer in seen.optimizers:
        late = 0 < script.passes <= optimizer.passes_before
        if late or 0 < script.steps <= optimizer.steps_before:
            name = optimizer.kind.rpartition(".")[2]
            after = f"pass {optimizer.passes_before}" if late else f"step {optimizer.steps_before}"
            text = (
                f"{name} takes its first step after {after}, and a round ends before that: this part of the "
                "training is never done"
            )
            yield Difference(kind="part_of_training", text=text, where=optimizer.where)


def _placed(note: Note) -> str:
    return f"{note.where}: {note.text}" if note.where else note.text


def _differences(seen: Seen) -> Iterator[Difference]:
    for note in seen.notes:
        if note.weight == "difference":
            yield Difference(kind=note.kind, text=note.text, where=note.where)


def _choose(look: Look, choices: Choices) -> tuple[list[SeenModel], Script, tuple[Note, ...]]:
    seen = look.seen
    models = choose_models(seen.models, choices)
    all_of_them = len(models) == len(seen.models)
    paths = _choose_paths(look, choices)
    command = with_placeholders(_portable(look.command, look.project), paths)
    whole = _choose_whole(seen, choices)
    length = choose_length(command, seen, look.option, choices, whole=whole)
    said = {
        "command": length.words,
        "paths": {path.name: path.path for path in paths},
        "passes": length.passes,
        "steps": length.steps,
        "put_in": models[0].put_in,
        "evaluation_mode": look.evaluation_mode,
        "models": [] if all_of_them else [model.name for model in models],
        "result": _choose_result(look, length.cut, choices),
        "schedule": _choose_schedule(seen, choices),
        "seed": _choose_seed(choices),
        "max_seconds": look.max_seconds,
    }
    script = Script.model_validate(said)
    late = late_failure(seen)
    notes = [*length.notes, *([late] if late else []), *facts(look, models, paths), *_said(seen)]
    return models, script, tuple(notes)


def _said(seen: Seen) -> Iterator[Note]:
    """What the run's own notes say, but for what is asked elsewhere."""
    for note in seen.notes:
        if note.kind not in _ASKED and note.weight not in ("refusal", "difference"):
            yield note


def _portable(command: Sequence[str], project: Path) -> list[str]:
    """The command without the places of this machine's interpreter and of the project."""
    program = PurePath(command[0].replace("\\", "/")).name
    first = "python" if _PYTHON.fullmatch(program) else command[0]
    return [first, *within_project(command, project)[1:]]


def _choose_paths(look: Look, choices: Choices) -> list[ArgumentPath]:
    """The arguments that each device's owner names; an empty answer keeps what the command says."""
    seen, kept = look.seen, []
    for path in argument_paths(look.command, look.project, seen.read, seen.written):
        key = f"paths.{path.name}"
        options = [
            Option(value="device", meaning="each device's owner names it in device.toml"),
            Option(value="command", meaning="it is the same on every device"),
        ]
        why = f"'{path.path}' is a path that is there: {{{path.name}}} in the command, named by each device"
        if choices.choose(key, "device", why, options=options) == "device":
            kept.append(path)
    return kept


def _choose_whole(seen: Seen, choices: Choices) -> str:
    """Why a round cannot be shorter than the command; empty if it can."""
    for note in seen.notes:
        if note.kind == TWO_PHASES:
            options = [Option(value="whole", meaning="the training itself made these weights")]
            choices.choose("phases", "whole", note.text, where=note.where, options=options)
            return "it trains in several phases"
    return "it trains several models one after another" if len(stages(seen.models)) > 1 else ""


def _choose_result(look: Look, cut: bool, choices: Choices) -> str:
    note = next((n for n in look.seen.notes if n.kind == OTHER_WEIGHTS), None)
    if note is None:
        return choices.choose("result", "loop", "the models at the end of the last loop")
    if cut:
        return choices.choose(
            "result", "loop", _BEFORE, where=note.where, valid=lambda v: v == "loop", takes="loop"
        )
    options = [
        Option(value="loop", meaning="the models at the end of the last training loop"),
        Option(value="script", meaning="what the command holds at its own end"),
    ]
    question = f"{note.text.rstrip('.')}. Which is a round's result?"
    return choices.choose(
        "result", "loop", note.text, where=note.where, question=question, options=options
    )


def _choose_schedule(seen: Seen, choices: Choices) -> str:
    found = [(name, o.where) for o in seen.optimizers for name in o.schedulers]
    if not found:
        return "goes_on"
    options = [
        Option(value="goes_on", meaning="it goes on from round to round"),
        Option(value="each_round", meaning="it begins anew in each round"),
    ]
    names = ", ".join(dict.fromkeys(name for name, _ in found))
    why = f"{names} was seen; it goes on over the rounds of a run"
    return choices.choose("schedule", "goes_on", why, where=found[0][1], options=options)


def _choose_seed(choices: Choices) -> str:
    options = [
        Option(value="script", meaning="the command's own random numbers"),
        Option(value="per_round", meaning="seeded by run, device and round"),
    ]
    why = "the command's own random numbers: a seed that it sets is the same in every round"
    return choices.choose("seed", "script", why, options=options)
