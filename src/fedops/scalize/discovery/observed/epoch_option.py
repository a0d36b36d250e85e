"""Which word of a command says how many epochs the script trains."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fedops.scalize.discovery.observed.declared_options import DeclaredOption

_NAMES = {
    "epoch",
    "epochs",
    "nepoch",
    "nepochs",
    "numepoch",
    "numepochs",
    "maxepoch",
    "maxepochs",
    "trainepochs",
    "numtrainepochs",
    "totalepochs",
    "numberofepochs",
}
#: ``--epochs=3`` and ``trainer.max_epochs=3``.
_JOINED = re.compile(r"(?P<name>-{0,2}\+{0,2}[\w.-]+)=(?P<number>\d+)(\.0*)?")


@dataclass(frozen=True)
class EpochOption:
    """The option, and the place of its number among the command's words; None: the default holds."""

    name: str  #: as it is written: ``--epochs``, ``-e``, ``trainer.max_epochs``
    value: int
    place: int | None
    where: str = ""  #: file:line of its declaration, if one was found
    prefix: str = ""  #: what stands before the number in the same word

    def in_command(self, words: Sequence[str], epochs: int) -> list[str]:
        """The command with this number of epochs."""
        if self.place is None:
            return [*words, self.name, str(epochs)]
        return [*words[: self.place], f"{self.prefix}{epochs}", *words[self.place + 1 :]]


def find_epoch_option(
    words: Sequence[str], declared: Sequence[DeclaredOption]
) -> EpochOption | None:
    """The option that sets the epochs, in the command or by its default; None where none is seen."""
    known = [option for option in declared if any(map(_means_epochs, option.flags))]
    flags = {flag: option for option in known for flag in option.flags}
    for place, word in enumerate(words):
        found = _here(place, word, words, flags)
        if found is not None:
            return found
    defaults = [option for option in known if _whole(option.default)]
    if len(defaults) == 1:
        only = defaults[0]
        return EpochOption(only.long, int(only.default), None, only.where)
    return None


def _here(
    place: int, word: str, words: Sequence[str], flags: dict[str, DeclaredOption]
) -> EpochOption | None:
    joined = _JOINED.fullmatch(word)
    if joined and (joined["name"] in flags or _means_epochs(joined["name"])):
        name, number = joined["name"], int(joined["number"])
        return EpochOption(name, number, place, _where(flags, name), f"{name}=")
    follows = words[place + 1] if place + 1 < len(words) else ""
    if (word in flags or (word.startswith("--") and _means_epochs(word))) and _is_number(follows):
        return EpochOption(word, int(float(follows)), place + 1, _where(flags, word))
    short = next((f for f in flags if len(f) == 2 and re.fullmatch(rf"{f}\d+", word)), None)
    if short:
        return EpochOption(short, int(word[2:]), place, _where(flags, short), short)
    return None


def _where(flags: dict[str, DeclaredOption], name: str) -> str:
    return flags[name].where if name in flags else ""


def _means_epochs(name: str) -> bool:
    last = name.lstrip("-+").rpartition(".")[2]
    return re.sub(r"[_-]", "", last).lower() in _NAMES


def _is_number(word: str) -> bool:
    return re.fullmatch(r"\d+(\.0*)?", word) is not None


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
