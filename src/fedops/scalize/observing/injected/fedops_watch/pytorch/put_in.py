"""The model goes in before the first forward of training, and the first backward shows what training used."""

from __future__ import annotations

from typing import Any, Callable

from fedops_watch import places, tensors
from fedops_watch.ending import Ending
from fedops_watch.pytorch import misfits
from fedops_watch.pytorch.copies import Copies
from fedops_watch.pytorch.models import Models, Owner, named_tensors
from fedops_watch.pytorch.schedulers import Schedulers
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded


class PutIn:
    """Armed while there are optimizers whose models training has not been seen to use."""

    def __init__(
        self,
        torch: Any,
        recorder: Recorder,
        end: Ending,
        models: Models,
        copies: Copies,
        schedulers: Schedulers,
    ) -> None:
        self._torch, self._recorder, self._end, self._models = torch, recorder, end, models
        self._copies, self._schedulers = copies, schedulers
        #: Each gives the parameters of one optimizer.
        self.held: list[Callable[[], list[Any]]] = []
        #: Distinct states of the parameters that forwards in training saw.
        self.states = 0
        #: Told of the module whose forward a model was put in before.
        self.on_put: Callable[[Any], None] = lambda module: None
        self._handle: Any = None
        self._armed = False
        self._inner: set[int] = set()
        self._given: dict[str, Any] = {}
        #: Whether a model that an optimizer holds went forward in evaluation mode, gradients on.
        self._evaluating = False

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
        if self._torch.is_grad_enabled():
            self._forward(module)

    @shielded
    def _forward(self, module: Any) -> None:
        if id(module) in self._inner:
            return  # a part of one that was looked at
        held = self.parameters()
        if not _holds(module, {id(parameter) for parameter in held}):
            return
        if not module.training and not self._recorder.job.evaluation_mode:
            self._evaluating = True
            return
        self._inner = {id(part) for part in module.modules() if part is not module}
        if misfits.lacks_shape(self._torch, held):
            self._recorder.refuse("lazy", misfits.LAZY, places.of_caller())
            self._disarm_forward()
            return
        self._models.find(held)
        waiting = [owner for owner in self._models.owners if not owner.proved]
        if not waiting:
            self._disarm_forward()
            return
        if all(owner.start and self._same(owner) for owner in waiting):
            return
        self.states += 1
        self._meet(waiting, module)

    def _meet(self, waiting: list[Owner], module: Any) -> None:
        """A state of the parameters that no forward has seen yet."""
        job = self._recorder.job
        for owner in waiting:
            owner.state = self.states
        if job.model is None or self.states < job.put_in:
            for owner in waiting:
                owner.start = owner.copy()
            return
        names = {owner.name for owner in self._models.federated()}
        for owner in waiting:
            if owner.name in names:
                self._put(owner)
        self.on_put(module)
        self._disarm_forward()
        self._schedulers.go_on()

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
        owner.start = owner.named()
        twins = self._copies.twins(owner, self._models.owners)
        self._copies.look_for_tensors(owner, twins, self._ours())
        with self._torch.no_grad():
            for module, prefix in [(owner.module, ""), *twins]:
                for name, tensor, _ in named_tensors(module):
                    tensor.copy_(given[prefix + name])
        owner.start = given

    def _ours(self) -> list[Any]:
        starts = [owner.start for owner in self._models.owners]
        return [tensor for found in [self._given, *starts] for tensor in found.values()]

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

    def first_difference(self, owner: Owner) -> str:
        """The first of its parameters that is not what it started from; "" if there is none.

        Buffers are left out: a forward changes them.
        """
        for name, tensor in owner.named().items():
            if id(tensor) not in owner.parameters:
                continue
            given = owner.start.get(name)
            if given is not None and not equal(self._torch, tensor, given):
                return name
        return ""

    def prove(self, root: Any = None) -> None:
        """At a backward from ``root``, or a step: what the models are now is what training uses.

        A backward that leads to no tensor of an optimizer is none of the training.
        """
        held = self.parameters()
        if root is not None and not misfits.uses(root, held):
            return
        if root is None and all(parameter.grad is None for parameter in held):
            return  # a step of nothing, such as quiets a scheduler's warning
        self._disarm_forward()
        self._armed = False
        self._models.find(held)
        self._say_homeless(held)
        waiting = [owner for owner in self._models.owners if not owner.proved]
        unseen = [owner for owner in waiting if not owner.start]
        if unseen or not self._models.owners:
            self._meet_unseen(unseen)
        numbers = {id(parameter) for parameter in held}
        for owner in waiting:
            if not _holds(owner.module, numbers):  # it did for the time of a call only
                self._recorder.refuse("functional", misfits.FUNCTIONAL, places.of_caller())
            self._prove(owner)

    def _say_homeless(self, held: list[Any]) -> None:
        lost = sum(id(parameter) in self._models.homeless for parameter in held)
        if lost and self._models.owners:
            text = f"{lost} tensors of an optimizer belong to no module; they are not federated"
            self._recorder.note("bare_parameters", text, places.of_caller(), "difference")

    def _meet_unseen(self, unseen: list[Owner]) -> None:
        """No forward in training was seen. What there is, is kept to show it."""
        if not self._recorder.has_note("lazy"):
            where = places.of_caller()
            misfits.say_unseen(self._recorder, self._models, self._evaluating, where)
        for owner in unseen:
            owner.start = owner.copy()
        if self._recorder.job.model is not None:
            self._fail("not_put_in", "no forward in training was seen before the first backward")

    def _prove(self, owner: Owner) -> None:
        owner.proved = True
        name = self.first_difference(owner)
        if self._recorder.job.model is None:
            self._copies.look_for_tensors(
                owner, self._copies.twins(owner, self._models.owners), self._ours()
            )
            if name and self._evaluating:
                misfits.say_unseen(self._recorder, self._models, True, places.of_caller())
            elif name:
                text = f"{owner.name}: '{name}' changed between the forward and the backward"
                self._recorder.refuse("changed_before_backward", text, places.of_caller())
            return
        if owner not in self._models.federated():
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
