"""How much of the command's training a round is: passes over the data, steps, or the whole command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedops.core.errors import Invalid
from fedops.scalize.discovery.choices import Choices
from fedops.scalize.discovery.observed.epoch_option import EpochOption
from fedops.scalize.observing.records import Note, Seen

#: A run without an option for its epochs is ended by ``fedops init`` after these, but not before it has run
#: for some seconds: a short one is seen to its own end, with all that follows its loop.
FIRST_PASSES, FIRST_STEPS, FIRST_SECONDS = 2, 500, 30.0
_STEPS_A_ROUND = 100


@dataclass(frozen=True)
class RoundLength:
    """The words of the command in a round, and where the loop is ended (0: not)."""

    words: list[str]
    passes: int = 0
    steps: int = 0
    #: Whether that is before the command's own end.
    cut: bool = False
    notes: tuple[Note, ...] = ()


def first_limits(option: EpochOption | None) -> tuple[int, int]:
    """After how many passes and steps the observed run is ended; 0: at its own end.

    A number that stands in the command is the user's, and so is a small default.
    """
    own_end = option is not None and (option.place is not None or option.value <= FIRST_PASSES)
    return (0, 0) if own_end else (FIRST_PASSES, FIRST_STEPS)


def choose_length(
    words: Sequence[str],
    seen: Seen,
    option: EpochOption | None,
    choices: Choices,
    *,
    whole: str = "",
) -> RoundLength:
    """The length of a round, by default one pass over the data. ``whole``: why it is the whole command.

    Raises:
        Invalid: the answer is no number that the command can do.
    """
    if not seen.passes:
        return _by_steps(words, seen, choices)
    if whole:
        why = f"{whole}, so a round is the whole of the command"
        choices.choose("epochs", "0", why, valid=lambda v: v == "0", takes="0")
        return RoundLength(list(words))
    if option is not None and seen.passes == option.value and seen.ended not in ("passes", "steps"):
        return _by_option(words, seen, option, choices)
    why = f"one pass over the training data a round; the run made {seen.passes}"
    if seen.ended in ("passes", "steps"):
        why += f" before init ended it: {_why_ended(option)}"
    elif option is not None:
        why += f", though {option.name} is {option.value}"
    wanted = int(_wanted(choices, why, option.where if option else ""))
    cut = seen.ended in ("passes", "steps") or wanted < seen.passes
    return RoundLength(list(words), wanted, cut=cut, notes=(_ended(wanted),) if cut else ())


def _why_ended(option: EpochOption | None) -> str:
    if option is None:
        return "no option for the epochs was seen"
    return f"{option.name} is not in the command, and its default is {option.value}"


def _by_option(
    words: Sequence[str], seen: Seen, option: EpochOption, choices: Choices
) -> RoundLength:
    saw = f"{option.name} {option.value} made {seen.passes} {_passes(seen.passes)}"
    wanted = int(_wanted(choices, f"one pass over the training data a round; {saw}", option.where))
    if wanted == option.value:
        return RoundLength(list(words), wanted)
    if wanted > option.value and _scheduled(seen):
        raise Invalid(
            f"--answer epochs={wanted}: with a scheduler the command stays as it is, and it makes "
            f"{option.value} {_passes(option.value)}; give init a command with more"
        )
    if not _scheduled(seen):
        return RoundLength(option.in_command(words, wanted), wanted)
    text = (
        f"{option.name} {option.value} stays, since a scheduler's schedule may depend on it, and the loop is "
        f"ended after pass {wanted}"
    )
    kept = Note(kind="schedule_kept", text=text, where=_scheduler_place(seen))
    return RoundLength(list(words), wanted, cut=True, notes=(kept, _ended(wanted)))


def _wanted(choices: Choices, why: str, where: str) -> str:
    return choices.choose("epochs", "1", why, where=where, valid=_positive, takes="1 or more")


def _by_steps(words: Sequence[str], seen: Seen, choices: Choices) -> RoundLength:
    if seen.ended == "steps":
        steps = choices.choose(
            "steps",
            str(_STEPS_A_ROUND),
            f"there are no passes over a data set, and init ended the run after {seen.steps} steps",
            question="After how many optimizer steps does a round end?",
            valid=_positive,
            takes="1 or more",
        )
        ended = Note(kind="loop_ended", text=f"a round is ended after step {steps}")
        return RoundLength(list(words), steps=int(steps), cut=True, notes=(ended,))
    why = f"a round is the whole command, which took {seen.steps} {'step' if seen.steps == 1 else 'steps'}"
    steps = choices.choose("steps", "0", why, valid=str.isdecimal, takes="0 or more")
    cut = 0 < int(steps) < seen.steps
    return RoundLength(list(words), steps=int(steps), cut=cut)


def _ended(passes: int) -> Note:
    text = f"a round ends the loop after pass {passes}; what the command does behind its loop is then skipped"
    return Note(kind="loop_ended", text=text)


def _scheduled(seen: Seen) -> bool:
    return any(optimizer.schedulers for optimizer in seen.optimizers)


def _scheduler_place(seen: Seen) -> str:
    return next((o.where for o in seen.optimizers if o.schedulers), "")


def _positive(value: str) -> bool:
    return value.isdecimal() and int(value) > 0


def _passes(number: int) -> str:
    return "pass" if number == 1 else "passes"
