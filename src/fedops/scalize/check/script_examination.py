"""The examination of an app with a command of its own: proven, and told as any other app is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fedops.processes.own_folder import own_folder
from fedops.scalize.check.proof_runs import Bench
from fedops.scalize.check.proof_steps import Shown
from fedops.scalize.check.script_proof import ScriptProof
from fedops.scalize.check.untouched import changes_below, state_below
from fedops.scalize.discovery.differences import Difference
from fedops.scalize.flow.project import Project
from fedops.scalize.observing.records import Note, Seen
from fedops.scalize.observing.running import watch
from fedops.storage.tensors import pack

#: What a command wrote is named up to this number.
_MOST_NAMED = 5


def examine_script(
    project: Project,
    report: dict[str, Any],
    say: Callable[[str], None],
    by: Callable[..., Seen] = watch,
) -> None:
    """Run the command as often as it takes, and add to the report what was found.

    ``by``: what runs it and tells what was seen.

    Raises:
        FedOpsError: the command cannot be federated.
    """
    with own_folder("proof") as place:
        bench = Bench(project, place, say, by)
        before = state_below(bench.home)
        proof = ScriptProof(bench)
        try:
            proof.run()
            _tell_numbers(proof, report)
            # The run that fedops init saw may have gone further than those of the proof.
            known = bench.observation.seen.notes
            _tell_notes([*known, *proof.alone.seen.notes], bench.script.result, report)
            _tell_ending(proof.alone.seen, report)
        finally:
            _add(proof.shown, report)
        if changed := changes_below(bench.home, before):
            report["notes"].append(
                f"while the command ran in copies, these files of the project changed: {changed}; if it was "
                "the command that wrote them, name a relative path for them, or one of an option"
            )


def _add(shown: Shown, report: dict[str, Any]) -> None:
    report["proof"] = [step.model_dump() for step in shown.steps]
    report["differences"] += [one.model_dump() for one in shown.differences]
    report["problems"] += shown.problems


def _tell_numbers(proof: ScriptProof, report: dict[str, Any]) -> None:
    seen = proof.round.seen
    report["examples"] = (seen.examples or 0) // max(seen.passes, 1)
    report["seconds"] = round(proof.round.seconds, 3)
    report["bytes_per_round"] = 2 * len(pack(proof.alone.start))
    report["metrics"] = {**seen.metrics, **_loss(seen)}


def _loss(seen: Seen) -> dict[str, float]:
    return {} if not seen.losses or seen.scaled_losses else {"loss": seen.losses[-1]}


def _tell_notes(notes: Sequence[Note], result: str, report: dict[str, Any]) -> None:
    """What was seen that a person should know, each once."""
    for note in notes:
        if difference := _difference(note, result):
            if (plain := difference.model_dump()) not in report["differences"]:
                report["differences"].append(plain)
        elif (text := _line(note)) not in report["notes"]:
            report["notes"].append(text)


def _tell_ending(seen: Seen, report: dict[str, Any]) -> None:
    """What came after the training of a run alone."""
    within = any(note.kind == "failed_within_training" for note in seen.notes)
    if not within and (seen.ended == "failed" or seen.exit_code not in (0, None)):
        report["notes"].append(
            f"the command ends with exit status {seen.exit_code} after its training"
            f"{f' ({seen.error})' if seen.error else ''}; a round's result is taken before"
        )
    # What lies elsewhere was a library's, in the folder for temporary files.
    if written := [name for name in seen.written if not Path(name).is_absolute()]:
        named = ", ".join(written[:_MOST_NAMED])
        more = ", ..." if len(written) > _MOST_NAMED else ""
        report["notes"].append(
            f"what the command writes ({named}{more}) goes with the folder of its round"
        )


def _difference(note: Note, result: str) -> Difference | None:
    """What differs from the command's own training, under what ``[script]`` has chosen."""
    text = note.text
    if note.kind == "other_weights_at_the_end" and result == "loop":
        text += "; a round's result is the model as it was before (result under [script])"
    elif note.kind != "two_phases" and note.weight != "difference":
        return None
    return Difference(kind=note.kind, text=text, where=note.where)


def _line(note: Note) -> str:
    return f"{note.text} ({note.where})" if note.where else note.text
