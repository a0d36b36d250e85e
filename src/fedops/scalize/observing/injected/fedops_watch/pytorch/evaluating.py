"""The model that was put in, tried on the validation loader with the training's own loss, before training."""

from __future__ import annotations

import random
import sys
from typing import Any, Iterator

from fedops_watch.pytorch.capture import Call, LossCalls, Taker, taker
from fedops_watch.pytorch.loaders import Loaders, size_of
from fedops_watch.pytorch.models import Models, Owner
from fedops_watch.recorder import Recorder

UNSEEN = "the model that was put in is not evaluated before training: %s"


class Evaluating:
    """Waits for the first backward: then the batch, the model's arguments and the loss are known."""

    def __init__(self, torch: Any, recorder: Recorder, models: Models, loaders: Loaders) -> None:
        self._torch, self._recorder, self._models, self._loaders = torch, recorder, models, loaders
        self._losses = LossCalls(torch)
        self._handle: Any = None
        self._called: Any = None
        self.wanted = recorder.job.evaluate or recorder.job.evaluate_only

    def install(self) -> None:
        if self.wanted:
            self._loaders.keeps_batch = True
            self._losses.start()

    def follow(self, module: Any) -> None:
        """The module that a model was put in before: its arguments and its output are kept."""
        if self.wanted and self._handle is None:
            self._handle = module.register_forward_hook(self._forward, with_kwargs=True)

    def _forward(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        self._called = (module, args, kwargs, output)

    def first_backward(self, root: Any) -> None:
        if not self.wanted:
            return
        self.wanted, self._loaders.keeps_batch = False, False
        call = self._losses.stop(root)
        if self._handle is not None:
            self._handle.remove()
        called, batch = self._called, self._loaders.batch
        self._called = self._loaders.batch = None
        why = self._try(call, called, batch, root)
        if why:
            self._recorder.note("not_evaluated", UNSEEN % why)

    def _try(self, call: Call | None, called: Any, batch: Any, root: Any) -> str:
        """Evaluate. Why it could not be done; "" if it was."""
        owners = self._models.federated()
        if len(owners) != 1 or called is None or batch is None:
            return "it is not one model that is trained on batches of a loader"
        module, args, kwargs, output = called
        loader = self._loader()
        if loader is None:
            return "no validation loader is made before training begins"
        takes_args = [taker(self._torch, one, batch) for one in args]
        takes_kwargs = {name: taker(self._torch, one, batch) for name, one in kwargs.items()}
        if None in takes_args or None in takes_kwargs.values():
            return "the model is called with something that is not in the batch"
        loss = self._loss(call, batch, output, root)
        if loss is None:
            return "its loss is not one that can be repeated on other batches"
        self._run(owners[0], module, (takes_args, takes_kwargs), loss, loader)
        return ""

    def _loss(self, call: Call | None, batch: Any, output: Any, root: Any) -> Any:
        """``loss(output, batch)``: its value, and how many are right of how many or None."""
        own = getattr(output, "loss", None)
        if own is not None and own is root:
            return lambda out, other: (out.loss, None)
        if call is None or len(call.args) < 2:
            return None
        of_output = taker(self._torch, call.args[0], output if not _is_tensor(output) else [output])
        of_batch = taker(self._torch, call.args[1], batch)
        if of_output is None or of_batch is None:
            return None
        return self._repeat(call, of_output, of_batch, _is_tensor(output))

    def _repeat(self, call: Call, of_output: Taker, of_batch: Taker, single: bool) -> Any:
        def loss(out: Any, other: Any) -> Any:
            given, target = of_output([out] if single else out), of_batch(other)
            value = call.run(given, target, *call.args[2:], **call.kwargs)
            return value, _right(call.name, given, target)

        return loss

    def _loader(self) -> Any:
        """The validation loader: by the place where it is made, else the only one that does not train."""
        wanted = self._recorder.job.valid_loader
        made = self._loaders.made()
        if wanted:
            return next((loader for loader, where in made if where == wanted), None)
        others = [loader for loader, _ in made if not self._loaders.is_training(loader)]
        return others[0] if len(others) == 1 else None

    def _run(self, owner: Owner, module: Any, takes: Any, loss: Any, loader: Any) -> None:
        totals = {"loss": 0.0, "right": 0, "asked": 0, "examples": 0}
        restore = self._as_it_was_put_in(owner, loader)
        try:
            with self._torch.no_grad():
                for batch in loader:
                    size = size_of(batch, loader.batch_size)
                    args = [take(batch) for take in takes[0]]
                    kwargs = {name: take(batch) for name, take in takes[1].items()}
                    value, right = loss(module(*args, **kwargs), batch)
                    totals["loss"] += float(value.mean()) * size
                    totals["examples"] += size
                    totals["right"] += right[0] if right else 0
                    totals["asked"] += right[1] if right else 0
        finally:
            restore()
        self._tell(totals)

    def _tell(self, totals: dict[str, Any]) -> None:
        examples = totals["examples"]
        if not examples:
            return
        found = {"loss": totals["loss"] / examples}
        if totals["asked"]:
            found["accuracy"] = totals["right"] / totals["asked"]
        self._recorder.answer.update(evaluated=found, evaluated_examples=examples)

    def _as_it_was_put_in(self, owner: Owner, loader: Any) -> Any:
        """Evaluation mode, and the buffers from before the first forward; nothing random is used up."""
        modes = [(part, part.training) for part in owner.module.modules()]
        buffers = list(_swap_buffers(owner))
        states = self._random_states(loader)
        owner.module.eval()
        self._recorder.inert = True  # what is fetched now is none of the training

        def restore() -> None:
            self._recorder.inert = False
            for part, mode in modes:
                part.training = mode
            for part, name, tensor in buffers:
                part._buffers[name] = tensor
            for put, state in states:
                put(state)

        return restore

    def _random_states(self, loader: Any) -> list[Any]:
        torch, numpy = self._torch, sys.modules.get("numpy.random")
        states: list[Any] = [
            (random.setstate, random.getstate()),
            (torch.set_rng_state, torch.get_rng_state()),
        ]
        if numpy is not None:
            states.append((numpy.set_state, numpy.get_state()))
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
        own = getattr(loader, "generator", None)
        if own is not None:
            states.append((own.set_state, own.get_state()))
        return states


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "data_ptr")


def _swap_buffers(owner: Owner) -> Iterator[Any]:
    """Put the buffers that the model began with in place; tells what stood there."""
    for prefix, part in owner.module.named_modules():
        for name, tensor in list(part._buffers.items()):
            start = owner.start.get(f"{prefix}.{name}" if prefix else name)
            if tensor is not None and start is not None:
                yield part, name, tensor
                part._buffers[name] = start.to(tensor.device, tensor.dtype)


def _right(name: str, given: Any, target: Any) -> Any:
    """How many are right of how many, where the loss is one of a classification."""
    if name in ("cross_entropy", "nll_loss") and given.dim() == 2 and target.dim() == 1:
        return int((given.argmax(1) == target).sum()), len(target)
    if name.startswith("binary_cross_entropy") and given.shape == target.shape:
        least = 0.0 if name.endswith("logits") else 0.5
        return int(((given > least) == (target > 0.5)).sum()), int(target.numel())
    return None
