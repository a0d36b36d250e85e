"""The model goes in before the first forward of training, and the first backward shows what training used."""

from __future__ import annotations

from typing import Any, Callable

from fedops_watch import tensors
from fedops_watch.ending import Ending
from fedops_watch.pytorch.models import Models, Owner
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded


class PutIn:
    """Armed while there are optimizers whose models training has not been seen to use."""

    def __init__(self, torch: Any, recorder: Recorder, end: Ending, models: Models) -> None:
        self._torch, self._recorder, self._end, self._models = torch, recorder, end, models
        #: Each gives the parameters of one optimizer.
        self.held: list[Callable[[], list[Any]]] = []
        #: Distinct states of the parameters that forwards in training saw.
        self.states = 0
        self._handle: Any = None
        self._armed = False
        self._inner: set[int] = set()
        self._given: dict[str, Any] = {}
        self._waiting: list[Owner] = []

    @property
    def armed(self) -> bool:
        return self._armed

    def arm(self) -> None:
        """An optimizer came to hold parameters."""
        self._armed = True
        self._inner = set()
        if self._handle is None:
            register = self._torch.nn.modules.module.register_module_forward_pre_hook
            self._handle = register(self._hook)

    def _disarm_forward(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _hook(self, module: Any, args: Any) -> None:
        # Compilers trace this far, find a constant, and see nothing of the rest.
        if _is_compiling(self._torch):
            return
        if self._torch.is_grad_enabled() and (
            module.training or self._recorder.job.evaluation_mode
        ):
            self._forward(module)

    @shielded
    def _forward(self, module: Any) -> None:
        if id(module) in self._inner:
            return  # a part of one that was looked at
        held = self.parameters()
        if not _holds(module, {id(parameter) for parameter in held}):
            return
        self._inner = {id(part) for part in module.modules() if part is not module}
        self._waiting += self._models.find(held)
        waiting = [owner for owner in self._models.owners if not owner.proved]
        if not waiting:
            self._disarm_forward()
            return
        if all(owner.start and self._same(owner) for owner in waiting):
            return
        self.states += 1
        self._meet(waiting)

    def _meet(self, waiting: list[Owner]) -> None:
        """A state of the parameters that no forward has seen yet."""
        job = self._recorder.job
        if job.model is None or self.states < job.put_in:
            for owner in waiting:
                owner.start = owner.copy()
            return
        names = {owner.name for owner in self._models.federated()}
        for owner in waiting:
            if owner.name in names:
                self._put(owner)
        self._disarm_forward()

    def parameters(self) -> list[Any]:
        return [parameter for give in self.held for parameter in give()]

    def _put(self, owner: Owner) -> None:
        if not self._given:
            raws = tensors.read(str(self._recorder.job.model))
            self._given = {name: tensors.to_torch(raw) for name, raw in raws.items()}
        prefix = owner.name + "."
        plain = all(name in self._given for name in owner.named())
        given = {name: self._given.get(name if plain else prefix + name) for name in owner.named()}
        if not plain:
            self._models.prefixed = True
        self._check(owner, given)
        with self._torch.no_grad():
            for name, tensor in owner.named().items():
                if given[name] is not None:
                    tensor.copy_(given[name])
        owner.start = {name: tensor for name, tensor in given.items() if tensor is not None}

    def _check(self, owner: Owner, given: dict[str, Any]) -> None:
        for name, tensor in owner.named().items():
            other = given[name]
            wrong = ""
            if other is None:
                wrong = f"{owner.name}: '{name}' is not among the tensors that were put in"
            elif tuple(other.shape) != tuple(tensor.shape):
                wrong = f"{owner.name}: '{name}' has shape {list(tensor.shape)}, not {list(other.shape)}"
            if wrong:
                self._fail("model_differs", wrong)

    def _fail(self, kind: str, text: str) -> None:
        self._recorder.answer.update(used=False, first_difference=text)
        self._recorder.refuse(kind, text)
        self._end.end("failed")

    def _same(self, owner: Owner) -> bool:
        return not self.first_difference(owner)

    def first_difference(self, owner: Owner, parameters_only: bool = False) -> str:
        """The first of its tensors that is not what it started from; "" if there is none."""
        for name, tensor in owner.named().items():
            if parameters_only and id(tensor) not in owner.parameters:
                continue
            given = owner.start.get(name)
            if given is not None and not equal(self._torch, tensor, given):
                return name
        return ""

    def prove(self) -> None:
        """At a backward: what the models that wait are now is what training uses."""
        self._disarm_forward()
        self._armed = False
        for owner in self._models.owners:
            if not owner.proved and owner.start:
                self._prove(owner)

    def _prove(self, owner: Owner) -> None:
        owner.proved = True
        name = self.first_difference(owner, parameters_only=True)
        if self._recorder.job.model is None:
            if name:
                self._recorder.refuse(
                    "changed_before_backward",
                    f"{owner.name}: '{name}' changed between the forward and the backward",
                )
            return
        if name:
            text = f"{owner.name}: '{name}' was changed after the model was put in"
            self._fail("not_used", text)
        elif self._recorder.answer.get("used") is None:
            self._recorder.answer["used"] = True


def equal(torch: Any, one: Any, other: Any) -> bool:
    """Whether two tensors have the same bits, once the second has the first one's dtype."""
    one = one.detach().cpu()
    other = other.to(one.dtype)
    if one.shape != other.shape:
        return False
    return bool(torch.equal(one, other)) or bool(
        torch.equal(one.isnan(), other.isnan())
        and torch.equal(one.nan_to_num(), other.nan_to_num())
    )


def _holds(module: Any, held: set[int]) -> bool:
    return any(id(parameter) in held for parameter in module.parameters())


def _is_compiling(torch: Any) -> bool:
    compiler = getattr(torch, "compiler", None)
    asks = getattr(compiler, "is_compiling", None)
    return bool(asks()) if asks is not None else False
