"""The step of the optimizer after which a round and the command alone differ for the first time."""

from __future__ import annotations

from fedops.core.errors import Invalid
from fedops.scalize.check.proof_runs import Bench, Until, counted
from fedops.scalize.check.tensor_comparison import first_difference
from fedops.storage.tensors import Tensors

#: So many pairs of runs at most.
_PAIRS = 10
#: And none more after this time.
_MOST_SECONDS = 300.0


def first_parting_step(bench: Bench, start: Tensors, steps: int, *, seeded: bool) -> str:
    """Found by ending both after a number of steps, which is halved or doubled. "" where it cannot be told.

    ``steps``: after so many they differ.
    """
    equal, apart, at, first = 0, max(steps, 1), 1, ""
    until = bench.seconds + _MOST_SECONDS
    try:
        for _ in range(_PAIRS):
            if bench.seconds > until:
                break
            if text := _apart_after(bench, start, at, seeded=seeded):
                apart, first = at, text
            else:
                equal = at
            if apart - equal <= 1:
                return f"they part at step {apart}" + (f", in {first}" if first else "")
            at = min(2 * at, apart - 1) if not first else (equal + apart) // 2
    except Invalid:
        pass
    return f"they part between step {equal} and step {apart}"


def _apart_after(bench: Bench, start: Tensors, steps: int, *, seeded: bool) -> str:
    until = Until(steps=steps)
    number = counted(steps, "step")
    alone = bench.alone(f"alone, {number}", until, seeded=seeded)
    run = bench.round(f"one round, {number}", start, until, seeded=seeded)
    return first_difference(alone.require("result"), run.require("result"))
