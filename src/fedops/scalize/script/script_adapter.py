"""A project's own command as the training of a round: the model is put in, the result is taken out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedops.config.schema import Exchange, Resources
from fedops.config.script_table import Script
from fedops.core.contracts import ParameterContract
from fedops.core.errors import Invalid
from fedops.scalize.adapter.parameter_exchange import incoming, outgoing
from fedops.scalize.adapter.protocol import EvalResult, TrainContext, TrainResult
from fedops.scalize.observing.records import Seen
from fedops.scalize.script.command import Command, command_here, not_honoured
from fedops.scalize.script.observation import Observation, matching
from fedops.scalize.script.script_data import Announced, announced
from fedops.scalize.script.script_run import (
    RESULT,
    Ran,
    SaidOnce,
    ScriptRunner,
    logger,
    require_used,
    require_whole,
)
from fedops.storage.tensors import Tensors, load

#: What goes on from round to round on a device: the steps that the script's schedulers have taken, and what
#: one of them has seen of its metric.
SCHEDULE, PATIENCE = "script.scheduler_steps", "script.patience"


@dataclass(frozen=True)
class ScriptOptions:
    """What an app's config says of its script."""

    script: Script
    exchange: Exchange
    resources: Resources
    #: Which part of the data is this device's, and of how many there are. None: all of it.
    part: tuple[int, int] | None = None


class ScriptAdapter:
    """The models of a script, which trains them in a process of its own in each round."""

    def __init__(
        self, observation: Observation, options: ScriptOptions, runner: ScriptRunner
    ) -> None:
        self._observation, self._options, self._runner = observation, options, runner
        self._contract = observation.contract(options.exchange)
        self._infos = observation.tensors()
        self._own_dtypes = {info.name: info.dtype for info in self._infos}
        self._tensors: Tensors = {n: np.array(a) for n, a in observation.initial().items()}
        self._schedule = 0
        self._patience: list[float] = []
        self._say = SaidOnce()

    @property
    def contract(self) -> ParameterContract:
        return self._contract

    @property
    def tied(self) -> dict[str, str]:
        """Names of tensors that travel under another name."""
        return self._observation.tied

    def get_tensors(self) -> Tensors:
        return outgoing(self._contract, self._tensors)

    def set_tensors(self, tensors: Tensors) -> None:
        self._tensors.update(incoming(self._contract, tensors, self._own_dtypes))

    def device_state(self) -> Tensors:
        state: Tensors = {SCHEDULE: np.array([self._schedule], np.int64)}
        return {**state, PATIENCE: np.array(self._patience)} if self._patience else state

    def set_device_state(self, state: Tensors) -> None:
        self._schedule = int(state[SCHEDULE][0])
        self._patience = [float(value) for value in state.get(PATIENCE, ())]

    # --- runs of the command -----------------------------------------------------------------------

    def look(self) -> Announced:
        """Run the command up to its first step: whether it comes so far here, and with how much data.

        Raises:
            Invalid: it does not.
        """
        asked = {**self._asked(None), "only_begin": True, "evaluate": True}
        with self._runner.run(self._command(), asked, self._whole()) as ran:
            require_used(ran)
            found = announced(ran.seen, self._options.script.examples)
        self._say(found.said)
        self._remark_on(ran.seen, {"not_evaluated"})
        return found

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        """Run the command, with the model put in, to the end of the round.

        Raises:
            Cancelled: it was told to stop.
            Invalid: the command failed before it trained, or trained another model.
        """
        context.check()
        script = self._options.script
        asked = {**self._asked(context), "passes": script.passes, "steps": script.steps}
        asked["proximal_mu"] = context.proximal_mu
        if script.schedule == "goes_on":
            asked |= {"scheduler_steps": self._schedule, "patience": self._patience}
        with self._runner.run(self._command(), asked, self._whole(), context.cancelled) as ran:
            require_used(ran)
            require_whole(ran, script, self._observation.seen)
            self._take(ran)
        if script.schedule == "goes_on":
            self._schedule, self._patience = ran.seen.scheduler_steps, ran.seen.patience
        self._remark(ran.seen)
        return TrainResult(self._examples(ran.seen, data), _metrics(ran.seen))

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        """Evaluate the model on what the script itself evaluates on."""
        context.check()
        asked = {**self._asked(context), "evaluate": True, "evaluate_only": True}
        with self._runner.run(self._command(), asked, self._whole(), context.cancelled) as ran:
            return EvalResult(ran.seen.evaluated_examples, _finite(ran.seen.evaluated))

    def _whole(self) -> Tensors:
        """The models with all their names, also those that two of a tensor share."""
        return {**self._tensors, **{n: self._tensors[first] for n, first in self.tied.items()}}

    def _command(self) -> Command:
        options = self._options
        self._say(not_honoured(options.resources))
        return command_here(options.script, options.resources, self._runner.project)

    def _asked(self, context: TrainContext | None) -> dict[str, Any]:
        """What every run of the command has in common."""
        script = self._options.script
        seeded = context is not None and script.seed == "per_round"
        return {
            "put_in": script.put_in,
            "evaluation_mode": script.evaluation_mode,
            "models": list(script.models),
            "result": script.result,
            "part": self._part(),
            "train_loader": self._loader(trains=True),
            "valid_loader": self._loader(trains=False),
            "seed": context.seed % 2**32 if context is not None and seeded else None,
        }

    def _loader(self, *, trains: bool) -> str:
        """Where the script makes the loader that it trains on, or the one it evaluates on; "": not known."""
        loaders = self._observation.seen.loaders
        fitting = [one for one in loaders if (one.trains if trains else one.evaluates)]
        return next((one.where for one in fitting if one.where), "")

    def _part(self) -> tuple[int, int] | None:
        """This device's part of the data.

        Raises:
            Invalid: no loader was seen that can be cut.
        """
        part = self._options.part
        loaders = [one for one in self._observation.seen.loaders if one.trains]
        if part is not None and not (loaders and all(one.divisible for one in loaders)):
            raise Invalid(
                "[dataset.partition] needs a loader over a data set that can be indexed, and the command"
                " trains without: give each device data of its own"
            )
        return part

    def _take(self, ran: Ran) -> None:
        """Take the result over: all of it, or nothing."""
        path = ran.tensors(RESULT)
        if not path.is_file():
            raise Invalid(f"the command left no result{_because(ran.seen)}")
        found = matching(self._infos, load(path), "the result")
        self._tensors = {name: np.array(array) for name, array in found.items()}

    def _examples(self, seen: Seen, data: Any) -> int:
        """Of one pass: how often a script goes through its data is no reason to weigh more."""
        if self._options.script.examples:
            return self._options.script.examples
        if seen.examples:
            return max(1, math.ceil(seen.examples / max(seen.passes, 1)))
        try:
            return max(1, len(data))
        except TypeError:
            return 1

    def _remark_on(self, seen: Seen, facts: set[str]) -> None:
        """Say what differs from the command alone, and these kinds of facts."""
        for note in seen.notes:
            if note.weight in ("question", "difference") or note.kind in facts:
                self._say(f"{note.text} ({note.where})" if note.where else note.text)

    def _remark(self, seen: Seen) -> None:
        """What is no failure, and ought to be known."""
        if seen.ended == "failed" or seen.exit_code not in (0, None):
            self._say(
                f"the command failed after it had trained (exit code {seen.exit_code}){_because(seen)}; the"
                " round's result was taken before"
            )
        # Those with whole paths are temporary files, and what is kept for the next run.
        if written := [name for name in seen.written if not Path(name).is_absolute()]:
            shown = ", ".join(written[:5]) + (", ..." if len(written) > 5 else "")
            self._say(
                f"what the command wrote ({shown}) was removed with the folder that it ran in: from round to"
                " round only the model goes on"
            )
        self._remark_on(seen, {"patience"})
        logger.info(
            "the command took %d steps in %d passes and %.1f s",
            seen.steps,
            seen.passes,
            seen.seconds,
        )


def _because(seen: Seen) -> str:
    return f": {seen.error}" if seen.error else ""


def _metrics(seen: Seen) -> dict[str, float]:
    found = dict(seen.metrics)
    if seen.losses:
        found.setdefault("scaled_loss" if seen.scaled_losses else "loss", seen.losses[-1])
    return _finite(found)


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
