"""What is said to a watched command, and what it says of itself: two JSON files in a folder of its own.

The folder also holds tensors, as safetensors files: ``v0`` (the models as training first saw them),
``result`` (at the end of the last training loop), ``script`` (at the script's end, where that differs) and
``pass-N`` (after the N-th pass over the training data). A tensor is named ``<model>.<name in the model>``
where several models are federated, else by its name in the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

JOB, SEEN, CLAIM = "job.json", "seen.json", "claim"
#: The variable that names the job's file to every Python that the command starts.
VARIABLE = "FEDOPS_WATCH"


class Record(BaseModel):
    """Frozen; what another release added is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Job(Record):
    """What the hooks are to do beside recording."""

    #: Where the answer and the tensors go: the folder of the job's file.
    folder: Path
    #: Where the command is started: what it does is told as seen from there. None: where each process begins.
    home: Path | None = None
    #: The models to put in, a safetensors file; None: nothing is put in.
    model: Path | None = None
    #: At which of the distinct states of the parameters, as forwards in training see them, from 1.
    put_in: int = 1
    #: Whether any forward counts as one in training, not those in training mode alone.
    evaluation_mode: bool = False
    #: By name, as an earlier look named them; empty: all that training holds.
    models: list[str] = []
    #: End the training loop after so many passes, or optimizer steps; 0: never.
    passes: int = 0
    steps: int = 0
    #: But not before the process has run for so many seconds: what is over sooner is seen to its own end.
    earliest_end: float = 0.0
    #: Keep the models as they are after this pass, as ``pass-N``; 0: none.
    keep_pass: int = 0
    #: Take the result from the end of the last loop, or from the script's end.
    result: Literal["loop", "script"] = "loop"
    #: Seeds ``random``, ``numpy`` and ``torch`` when they are imported; None: they stay as they are.
    seed: int | None = None
    #: For FedProx: the weight of the proximal term; 0: none.
    proximal_mu: float = 0.0
    #: Which part of the training loader's examples is this device's, and of how many; None: all.
    part: tuple[int, int] | None = None
    #: Where the loaders that train and validate are made, as an earlier look told (``SeenLoader.where``).
    train_loader: str = ""
    valid_loader: str = ""
    #: Steps that schedulers have already taken in earlier rounds.
    scheduler_steps: int = 0
    #: What a scheduler that goes by a metric saw in earlier rounds, as ``Seen.patience`` told it.
    patience: list[float] = []
    #: Evaluate the models that were put in on the validation loader, before training.
    evaluate: bool = False
    #: Only evaluate: end before the first training step.
    evaluate_only: bool = False
    #: End with the first step: whether the command comes so far on this device.
    only_begin: bool = False
    #: Paths that the command may write to beside its working folder; None: anywhere.
    writable: list[str] | None = None


class SeenTensor(Record):
    name: str
    shape: list[int]
    dtype: str  #: as numpy calls it; "bfloat16" too
    #: parameter: held by an optimizer or frozen; buffer: other state.
    kind: Literal["parameter", "buffer"] = "parameter"
    #: The name of the same tensor that stands before it, where two names share one.
    tied_to: str = ""


class SeenModel(Record):
    name: str  #: the class's, with a number from the second of one class on
    kind: str  #: its class, dotted
    framework: Literal["pytorch", "keras", "sklearn"] = "pytorch"
    #: Where the optimizer that holds it was made, or its fit called: file:line of the project's own code.
    where: str = ""
    tensors: list[SeenTensor] = []
    steps: int = 0
    #: Numbers of the first and last step of the run that moved it: sequences of models do not overlap.
    first_step: int = 0
    last_step: int = 0
    #: At which of the distinct states of the parameters its training began: ``Job.put_in``.
    put_in: int = 1


class SeenOptimizer(Record):
    kind: str
    where: str = ""
    settings: dict[str, float | int | bool | str] = {}
    models: list[str] = []
    schedulers: list[str] = []
    #: How much of the training there was before its first step.
    steps_before: int = 0
    passes_before: int = 0


class SeenLoader(Record):
    """Something that examples were fetched from, by its data set."""

    kind: str  #: of the data set, dotted
    where: str = ""
    examples: int | None = None  #: of the data set; None: it has no length
    batch_size: int | None = None
    passes: int = 0  #: that trained
    trains: bool = False
    evaluates: bool = False
    #: Whether it can be cut into parts: its data set is indexable and its sampler known.
    divisible: bool = False


class Note(Record):
    """Something that a person should know or decide, with its evidence."""

    #: Names the kind, for programs: "several_models", "other_weights_at_the_end", "two_phases", ...
    kind: str
    text: str
    where: str = ""
    #: A refusal: this command cannot be federated. Otherwise a difference, a question or a fact.
    weight: Literal["refusal", "question", "difference", "fact"] = "fact"


class Seen(Record):
    """What was seen of one run."""

    #: How it ended: by itself, by us, by an error after or before the training, by a signal, too late.
    ended: Literal["script", "passes", "steps", "evaluated", "begun", "failed"] = "script"
    exit_code: int | None = None
    #: The last line of the traceback, and where in the project's code it came from (file:line).
    error: str = ""
    error_where: str = ""
    #: Frameworks that were imported: torch, keras, sklearn, lightning, transformers, accelerate, xgboost...
    frameworks: list[str] = []
    python: str = ""
    models: list[SeenModel] = []
    optimizers: list[SeenOptimizer] = []
    loaders: list[SeenLoader] = []
    #: Distinct states of the parameters that forwards in training saw up to the first backward.
    states: int = 0
    #: Whether the first backward used what was put in; None: nothing was put in or nothing trained.
    used: bool | None = None
    first_difference: str = ""
    #: Examples whose batch was followed by a backward, each once; None: unknown.
    examples: int | None = None
    batches: int = 0
    passes: int = 0
    #: Whether the last of them was left before its last batch.
    unfinished: bool = False
    steps: int = 0
    scheduler_steps: int = 0
    #: Of ``ReduceLROnPlateau``: the best metric, its counters, then the learning rates.
    patience: list[float] = []
    losses: list[float] = []  #: the first, the last and the mean
    scaled_losses: bool = False  #: by a scaler, or divided by accumulation
    metrics: dict[str, float] = {}  #: of the training, as it logged or returned them
    evaluated: dict[str, float] = {}  #: of the model that was put in, on the validation loader
    evaluated_examples: int = 0
    #: Options of the command that set the epochs, when one was seen to.
    written: list[str] = []  #: files, seen from the working folder or absolute
    read: list[str] = []
    notes: list[Note] = []
    seconds: float = 0.0
    files: list[str] = []  #: of tensors, that were written
