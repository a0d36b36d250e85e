"""``[script]``: a project that is trained by a command of its own, as ``fedops init . -- COMMAND`` saw it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedops.config.sections import Count, Seconds, Section


class Script(Section):
    """``[script]``: the project's own command trains. A device takes it from its own files alone."""

    #: The command and its arguments, run in the project's folder. ``{data}`` and the like stand for paths
    #: that each device's owner names (``[script.paths]`` in ``device.toml``).
    command: Annotated[list[str], Field(min_length=1)]
    #: The paths that ``{data}`` and the like stood for where the command was observed.
    paths: dict[str, str] = Field(default={})
    #: How often a round goes through the training data before the loop is ended; 0: to the script's own end.
    passes: Annotated[int, Field(ge=0)] = 1
    #: After how many optimizer steps a round is ended, where there are no passes to count; 0: never.
    steps: Annotated[int, Field(ge=0)] = 0
    #: At which of the distinct states of its parameters the global model goes in, as training sees them.
    put_in: Count = 1
    #: Whether the model trains in evaluation mode, so that its mode does not tell where training begins.
    evaluation_mode: bool = False
    #: Which of the models that were seen are federated, by their names; none named: all.
    models: list[str] = Field(default=[])
    #: What a round's result is: the model at the end of the last training loop, or the one that the script
    #: holds at its end (such as the best of its epochs, loaded back).
    result: Literal["loop", "script"] = "loop"
    #: Whether schedulers and patience go on from round to round, or begin anew in each.
    schedule: Literal["goes_on", "each_round"] = "goes_on"
    #: Whether the script's random numbers are its own, or seeded by run, device and round.
    seed: Literal["script", "per_round"] = "script"
    #: How many examples a device trains on, where they cannot be counted: its weight in the mean. 0: the same
    #: on all devices. Each device may have its own.
    examples: Annotated[int, Field(ge=0)] = 0
    #: How long the command may take, in seconds.
    max_seconds: Seconds = 1800.0
