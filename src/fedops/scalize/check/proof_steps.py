"""What was shown of a command, step by step, in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel

from fedops.scalize.discovery.differences import Difference

_SEEDS = "random, numpy, torch, tensorflow and PYTHONHASHSEED seeded by the check"
_UNUSED = "the model that a round is given is not the one that is trained"
_PARTS = "a round of one client ends with another model than the command alone"


class ProofStep(BaseModel):
    """One thing that was shown, or could not be, of an app with a command of its own."""

    #: Names the step, for programs: "repeats", "equal", "used".
    kind: str
    ok: bool
    #: What was shown: a sentence.
    what: str
    #: What it rests on: numbers, names of tensors, a place.
    evidence: str = ""


@dataclass
class Shown:
    """What came of a proof."""

    steps: list[ProofStep] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def repeats(self, evidence: str, own: str = "") -> None:
        """Two runs alone are equal. ``own``: where two runs part that nobody seeds."""
        if own:
            what = f"the command repeats itself with {_SEEDS}; left alone, two runs differ"
            evidence = f"{evidence}; left alone, first in {own}"
        else:
            what = "the command run twice gives the same model, bit for bit"
        self._step("repeats", True, what, evidence)

    def does_not_repeat(self, apart: str) -> None:
        what = f"two runs of the command differ even with {_SEEDS}, so no equality is claimed"
        self._step("repeats", False, what, f"first in {apart}")

    def equal(self, evidence: str) -> None:
        what = "one client and one round give what the command gives alone, bit for bit"
        self._step("equal", True, what, evidence)

    def parts(self, evidence: str) -> None:
        self._step("equal", False, _PARTS, evidence)
        self.differences.append(Difference(kind="not_equal", text=f"{_PARTS}: {evidence}"))

    def used(self, evidence: str) -> None:
        what = "the model that a round is given is the one that is trained"
        self._step("used", True, what, evidence)

    def unused(self, why: str) -> None:
        self._step("used", False, _UNUSED, why)
        self.problems.append(
            f"{_UNUSED}: {why}. Does the command load or make its weights after its first forward? 'fedops "
            "init' looks again for the right moment (put_in under [script])"
        )

    def another_start(self, first: str) -> None:
        """What ``fedops init`` kept is not what the command begins with."""
        text = (
            "the first round begins with another model than the command does now: were its code or data "
            f"changed since 'fedops init'? First in {first}"
        )
        self.differences.append(
            Difference(kind="initial_model", text=text, where="federated/initial.safetensors")
        )

    def _step(self, kind: str, ok: bool, what: str, evidence: str) -> None:
        self.steps.append(ProofStep(kind=kind, ok=ok, what=what, evidence=evidence))
