"""The proof that a round of one client is what an app's own command does.

The command is run alone twice. If the two differ it is seeded, which is said; if they still differ nothing is
claimed. Then a round is run that begins with the same model, and compared bit for bit; and a round that
begins with another model, which has to be the one that the first ``backward`` used: to put nothing in would
pass the comparison.
"""

from __future__ import annotations

from fedops.scalize.check.foreign_model import foreign_model
from fedops.scalize.check.parting_step import first_parting_step
from fedops.scalize.check.proof_runs import Bench, Run, Until, counted
from fedops.scalize.check.proof_steps import Shown
from fedops.scalize.check.tensor_comparison import first_difference
from fedops.storage.tensors import Tensors


class ScriptProof:
    """One proof. After ``run``, ``alone`` and ``round`` are the runs that were compared."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._script = bench, bench.script
        self._seeded, self._number = False, 0
        self.shown = Shown()

    def run(self) -> Shown:
        """Prove what can be proven.

        Raises:
            Invalid: the command cannot be started, does not train, or cannot be federated: a sentence.
        """
        self.alone, apart = self._two_alone()
        if apart:
            self._seed(apart)
        else:
            self._keeps_its_start()
            self.shown.repeats(self._evidence(self.alone))
        self.round = self._one_round()
        if self._repeats and self.round.seen.used:
            self._compare()
        self._put_in_another()
        return self.shown

    # --- alone -------------------------------------------------------------------------------------

    def _two_alone(self) -> tuple[Run, str]:
        """A run alone, and the first place where a second one differs."""
        first, second = self._run_alone(), self._run_alone()
        return first, self._apart(first, second)

    def _run_alone(self) -> Run:
        self._number += 1
        return self._bench.alone(
            f"alone {self._number}{', seeded' if self._seeded else ''}",
            self._until_alone,
            seeded=self._seeded,
        )

    def _seed(self, own: str) -> None:
        """Two runs differ, first in ``own``: with seeds of ours they may not."""
        self._seeded = True
        self.alone, apart = self._two_alone()
        if apart:
            self.shown.does_not_repeat(apart)
        else:
            self.shown.repeats(self._evidence(self.alone), own)

    @property
    def _repeats(self) -> bool:
        return all(step.ok for step in self.shown.steps if step.kind == "repeats")

    def _keeps_its_start(self) -> None:
        """The command begins with what ``fedops init`` has kept of it."""
        kept = self._bench.observation
        start = {n: array for n, array in self.alone.start.items() if n not in kept.tied}
        if text := first_difference(kept.initial(), start):
            self.shown.another_start(text)

    # --- rounds ------------------------------------------------------------------------------------

    def _one_round(self) -> Run:
        return self._bench.round("one round", self.alone.start, self._until, seeded=self._seeded)

    def _compare(self) -> None:
        apart = first_difference(self._end_alone(self.alone), self._end(self.round))
        if not apart:
            self.shown.equal(f"{self._evidence(self.alone)}{self._further()}")
            return
        third = self._run_alone()
        if own := self._apart(self.alone, third):
            self._compare_seeded(own)
        else:
            step = first_parting_step(
                self._bench, self.alone.start, self.round.seen.steps, seeded=self._seeded
            )
            self.shown.parts(f"first in {apart}; {step}")

    def _compare_seeded(self, own: str) -> None:
        """Two runs alone were equal, and a third was not: the command does not repeat itself after all."""
        self.shown.steps.clear()
        if self._seeded:
            self.shown.does_not_repeat(own)
            return
        self._seed(own)
        self.round = self._one_round()
        if self._repeats and self.round.seen.used:
            self._compare()

    def _put_in_another(self) -> None:
        foreign = foreign_model(self.alone.start)
        run = self._bench.round("another model put in", foreign, self._until, seeded=self._seeded)
        if not run.seen.used:
            self.shown.unused(run.seen.first_difference or "nothing was trained")
        elif not first_difference(self._end(run), self._end(self.round)):
            self.shown.unused("two rounds that began with two models ended with the same one")
        else:
            self.shown.used(
                f"another model was put in, {len(foreign)} tensors: training began with it, and the round "
                "ended with another result"
            )

    # --- where a run ends --------------------------------------------------------------------------

    @property
    def _until(self) -> Until:
        return Until(self._script.passes, self._script.steps)

    @property
    def _until_alone(self) -> Until:
        """One pass more than a round, so that a round's end is seen in a training that goes on."""
        passes = self._script.passes
        if not passes or self._script.result == "script":
            return self._until
        return Until(passes + 1, self._script.steps, passes)

    def _apart(self, one: Run, other: Run) -> str:
        """The first place where two runs alone part."""
        if text := first_difference(one.start, other.start):
            return f"{text}, before the first step"
        return first_difference(self._end_alone(one), self._end_alone(other))

    def _end(self, run: Run) -> Tensors:
        if self._script.result == "script":
            return run.require("script", "result")
        return run.require("result")

    def _end_alone(self, run: Run) -> Tensors:
        """What a run alone held where a round ends."""
        kept = run.tensors(f"pass-{self._until_alone.keep}") if self._until_alone.keep else None
        return self._end(run) if kept is None else kept

    def _evidence(self, run: Run) -> str:
        tensors = f"{len(self._end_alone(run))} tensors, one thread, on the CPU"
        if self._script.steps:
            return f"after {counted(self._script.steps, 'step')}: {tensors}"
        if self._script.passes and self._script.result != "script":
            passes = counted(self._script.passes, "pass", "passes")
            return f"after {passes} over the training data: {tensors}"
        return f"at the command's end: {tensors}"

    def _further(self) -> str:
        """Whether the command alone trained on from where the round ended."""
        steps, more = self.round.seen.steps, self.alone.seen.steps - self.round.seen.steps
        return f"; {counted(steps, 'step')}" + (
            ", after which the command alone went on" if more > 0 else ""
        )
