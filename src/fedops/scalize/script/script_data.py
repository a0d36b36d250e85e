"""A device's data as a script has it: loaded by the script itself, so that only its size is known here."""

from __future__ import annotations

from dataclasses import dataclass

from fedops.scalize.observing.records import Seen


class ScriptData:
    """Stands for what the command trains or evaluates on. It holds no example.

    ``len`` raises ``TypeError`` where the number of examples is not known.
    """

    def __init__(self, name: str, examples: int | None) -> None:
        self.name = name
        self._examples = examples

    def __len__(self) -> int:
        if self._examples is None:
            raise TypeError(f"how many examples the script {self.name} on is not known")
        return self._examples

    def __repr__(self) -> str:
        return f"<what the script {self.name} on>"


@dataclass(frozen=True)
class Announced:
    """How much data a device has, by a run that ended with its first step."""

    train: ScriptData
    validation: ScriptData | None
    #: What is to be said of the number of training examples; "": it was counted.
    said: str = ""

    @property
    def examples(self) -> int:
        return len(self.train)


def announced(seen: Seen, named: int) -> Announced:
    """What a run says of this device's data. ``named``: the examples that the config names, or 0."""
    counted = sum(loader.examples or 0 for loader in seen.loaders if loader.trains)
    validation = None
    if seen.evaluated_examples:
        validation = ScriptData("evaluates", seen.evaluated_examples)
    if named or not counted:
        return Announced(ScriptData("trains", named or 1), validation, "" if named else _UNKNOWN)
    return Announced(ScriptData("trains", counted), validation)


_UNKNOWN = (
    "how many examples the command trains on cannot be counted, since it has no loader: this device weighs as"
    " much as any other, unless examples under [script] says how many there are"
)
