"""Trainings that cannot be federated by putting a model in, each with its reason and what works instead."""

from __future__ import annotations

import sys
from typing import Any, Iterable

from fedops_watch.pytorch.models import Models
from fedops_watch.recorder import Recorder

#: Nodes of a graph that are looked at before it is taken to use the model.
_MOST_NODES = 200_000
#: Nodes that hide what they run.
_OPAQUE = ("Checkpoint",)
_SHARDED = ("FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine")

DIRECT = (
    "the model's forward is called directly; call the model itself, model(x) instead of"
    " model.forward(x), so that a model can be put in before it"
)
FUNCTIONAL = (
    "training uses other tensors than the module's own (a functional call); train the module's"
    " parameters with an optimizer"
)
BARE = "the optimizer holds tensors that belong to no module; make them parameters of a torch.nn.Module"
LAZY = (
    "the model has layers that get their shapes in the first forward; run it once on an example"
    " before the optimizer is made, as PyTorch asks for"
)
NO_OPTIMIZER = (
    "the command computes gradients, but no optimizer of torch takes a step; update the parameters"
    " with an optimizer such as torch.optim.SGD"
)
NO_STEP = (
    "an optimizer was made, but it took no step; check that the command trains with these arguments"
)
NOTHING = (
    "torch was imported, but no training was seen: no optimizer and no backward; name the command"
    " that trains"
)
SEVERAL = "the command trains in %d processes; start it with one, such as --nproc_per_node 1"
SHARDED = (
    "%s shards the model over processes, so that no process holds all of it; train without sharding"
)


def leaves(root: Any) -> tuple[set[int], bool]:
    """Tensors that a loss leads back to, by identity; whether some part could not be looked into."""
    found: set[int] = set()
    seen: set[Any] = set()
    nodes: list[Any] = [getattr(root, "grad_fn", None)]
    if nodes[0] is None:
        return {id(root)}, False
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = type(node).__name__
        if len(seen) > _MOST_NODES or any(part in name for part in _OPAQUE):
            return found, True
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.add(id(variable))
        nodes.extend(before for before, _ in node.next_functions)
    return found, False


def uses(root: Any, held: Iterable[Any]) -> bool:
    """Whether a loss leads back to one of the tensors. They are held while this is asked."""
    found, unsure = leaves(root)
    return unsure or any(id(one) in found for one in held)


def lacks_shape(torch: Any, parameters: Iterable[Any]) -> bool:
    return any(torch.nn.parameter.is_lazy(parameter) for parameter in parameters)


def say_unseen(recorder: Recorder, models: Models, evaluating: bool, where: str) -> None:
    """Training uses the model, but no forward of it in training was seen."""
    if not models.owners:
        recorder.refuse("bare_parameters", BARE, where)
    elif evaluating:
        recorder.note("evaluation_mode", "the model is trained in evaluation mode", where)
    else:
        recorder.refuse("direct_forward", DIRECT, where)


def say_nothing_trained(recorder: Recorder, optimizers: int, backwards: int, where: str) -> None:
    """The process is at its end and took no step."""
    if optimizers:
        recorder.refuse("no_step", NO_STEP, where)
    elif backwards:
        recorder.refuse("no_optimizer", NO_OPTIMIZER, where)
    else:
        recorder.refuse("nothing_seen", NOTHING)


def say_sharing(torch: Any, recorder: Recorder, models: Models) -> None:
    """At the first step: other processes that train along."""
    distributed = getattr(torch, "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        size = distributed.get_world_size()
        if size > 1:
            recorder.refuse("several_processes", SEVERAL % size)
    for owner in models.owners:
        kinds = {kind.__name__ for kind in type(owner.module).__mro__}
        for kind in kinds.intersection(_SHARDED):
            recorder.refuse("sharded", SHARDED % kind, owner.where)
    if "deepspeed" in sys.modules and any(
        type(one).__name__ == "DeepSpeedEngine" for one in _engines()
    ):
        recorder.refuse("sharded", SHARDED % "DeepSpeed")


def _engines() -> list[Any]:
    import gc

    return [o for o in gc.get_objects() if type(o).__name__ == "DeepSpeedEngine"]
