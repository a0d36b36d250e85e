"""What a proof concludes from runs that are equal, that differ, and that use another model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fedops.config.script_table import Script
from fedops.scalize.check.proof_runs import Until
from fedops.scalize.check.proof_steps import Shown
from fedops.scalize.check.script_proof import ScriptProof
from fedops.scalize.observing.records import Seen

Weights = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """A run that has ended, as ``proof_runs.Run`` has it."""

    seen: Seen
    left: dict[str, Weights]
    seconds: float = 0.0

    @property
    def start(self) -> Weights:
        return self.left["v0"]

    def tensors(self, *names: str) -> Weights | None:
        return next((self.left[name] for name in names if name in self.left), None)

    def require(self, *names: str) -> Weights:
        return next(self.left[name] for name in names if name in self.left)


@dataclass
class Begins:
    start: Weights
    tied: dict[str, str] = field(default_factory=dict)

    def initial(self) -> Weights:
        return {name: array for name, array in self.start.items() if name not in self.tied}


@dataclass
class Steps:
    """Runs of a training that adds 1 in each of four steps. ``alone`` and ``round`` bend that."""

    #: By how much the n-th run is off, unseeded and seeded.
    noise: Callable[[int, bool], float] = lambda number, seeded: 0.0
    #: By how much a round is off at its end, and from which step on.
    off: float = 0.0
    off_from: int = 1
    used: bool = True
    script: Script = field(default_factory=lambda: Script(command=["train"], passes=1))
    kept: float = 0.5
    tied: dict[str, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def observation(self) -> Begins:
        return Begins(_weights(self.kept), self.tied)

    def alone(self, what: str, until: Until, *, seeded: bool) -> Ran:
        self.runs.append(what)
        at = 0.5 + self.noise(len(self.runs), seeded)
        steps = until.steps or 4
        left = {"v0": _weights(0.5), "result": _weights(at + 2 * steps)}
        if until.keep:
            left["pass-1"] = _weights(at + steps)
        elif until.steps:
            left["result"] = _weights(at + steps)
        return Ran(Seen(steps=2 * steps, passes=2), left)

    def round(self, what: str, start: Weights, until: Until, *, seeded: bool) -> Ran:
        self.runs.append(what)
        steps = until.steps or 4
        begins = start if self.used or "another" not in what else _weights(0.5)
        off = self.off if steps >= self.off_from else 0.0
        result = {name: array + np.float32(steps + off) for name, array in begins.items()}
        same = self.used or "another" not in what
        seen = Seen(
            steps=steps, passes=1, used=same, first_difference="" if same else "'w' was changed"
        )
        return Ran(seen, {"v0": begins, "result": result})


def _weights(value: float) -> Weights:
    return {"w": np.full(3, value, np.float32), "b": np.zeros(1, np.float32) + np.float32(value)}


def _proven(bench: Steps) -> Shown:
    return ScriptProof(bench).run()  # type: ignore[arg-type]


def _steps(shown: Shown) -> dict[str, bool]:
    return {step.kind: step.ok for step in shown.steps}


def test_a_command_that_repeats_itself_is_proven() -> None:
    bench = Steps()
    shown = _proven(bench)
    assert _steps(shown) == {"repeats": True, "equal": True, "used": True}
    assert (shown.differences, shown.problems) == ([], [])
    assert bench.runs == ["alone 1", "alone 2", "one round", "another model put in"]
    assert "after which the command alone went on" in shown.steps[1].evidence


def test_a_command_that_draws_its_own_seed_is_seeded_and_that_is_said() -> None:
    bench = Steps(noise=lambda number, seeded: 0.0 if seeded else float(number))
    shown = _proven(bench)
    assert _steps(shown) == {"repeats": True, "equal": True, "used": True}
    assert "seeded by the check" in shown.steps[0].what
    assert "left alone, first in 'w'" in shown.steps[0].evidence
    assert bench.runs[2:4] == ["alone 3, seeded", "alone 4, seeded"]


def test_of_one_that_never_repeats_itself_nothing_is_claimed() -> None:
    shown = _proven(Steps(noise=lambda number, seeded: float(number)))
    assert _steps(shown) == {"repeats": False, "used": True}
    assert "no equality is claimed" in shown.steps[0].what


def test_a_third_run_that_differs_is_believed_before_two_equal_ones() -> None:
    bench = Steps(noise=lambda number, seeded: 1.0 if number == 4 and not seeded else 0.0, off=0.25)
    bench.off_from = 99
    shown = _proven(bench)
    assert _steps(shown) == {"repeats": True, "equal": True, "used": True}

    bench = Steps(noise=lambda number, seeded: 1.0 if number == 4 else 0.0, off=0.25)
    shown = _proven(bench)
    assert bench.runs[3:6] == ["alone 3", "alone 4, seeded", "alone 5, seeded"]
    assert _steps(shown) == {"repeats": True, "equal": False, "used": True}


@pytest.mark.parametrize("step", [1, 3, 4])
def test_the_step_is_found_at_which_a_round_parts(step: int) -> None:
    shown = _proven(Steps(off=0.25, off_from=step))
    assert _steps(shown) == {"repeats": True, "equal": False, "used": True}
    assert shown.steps[1].evidence.startswith("first in 'w': 3 of 3 values differ, by up to 0.25")
    assert f"they part at step {step}" in shown.steps[1].evidence
    assert [one.kind for one in shown.differences] == ["not_equal"]


def test_a_model_that_is_put_in_and_not_used_is_a_problem() -> None:
    shown = _proven(Steps(used=False))
    assert _steps(shown) == {"repeats": True, "equal": True, "used": False}
    assert "is not the one that is trained: 'w' was changed." in shown.problems[0]


def test_another_start_than_the_one_that_was_kept_is_a_difference() -> None:
    shown = _proven(Steps(kept=0.75))
    assert [one.kind for one in shown.differences] == ["initial_model"]


def test_a_tensor_with_two_names_is_kept_under_one_of_them() -> None:
    assert not _proven(Steps(tied={"b": "w"})).differences
