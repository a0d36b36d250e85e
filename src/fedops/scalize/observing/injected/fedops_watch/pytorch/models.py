"""The modules that training is about: found by the parameters that optimizers hold, by identity."""

from __future__ import annotations

import gc
from typing import Any, Iterator

from fedops_watch import tensors
from fedops_watch.recorder import Recorder

#: Wrappers, by the name of their class: what they wrap is the model.
_WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


class Owner:
    """A module that holds parameters of an optimizer, and what became of it."""

    def __init__(self, module: Any, name: str) -> None:
        self.module = module
        self.name = name
        self.kind = f"{type(module).__module__}.{type(module).__qualname__}"
        self.parameters: set[int] = {id(one) for one in module.parameters()}
        #: As training first saw it, on the CPU: a copy of ours, or views of the file that was put in.
        self.start: dict[str, Any] = {}
        #: Which of the states that forwards in training saw that was, from 1.
        self.state = 1
        #: Whether the first backward was seen and what it used compared with ``start``.
        self.proved = False
        self.where = ""
        self.steps = 0
        self.first_step = 0
        self.last_step = 0
        #: What it was at the end of its last training loop, where the program has changed it since.
        self.kept: dict[str, Any] = {}
        #: The sum of some parameters' version counters at the last step: writes in place count them up.
        self.versions = 0
        self._some = list(module.parameters())[:32]
        #: Some of its numbers at the end of the first pass after a step, and after how many steps.
        self._sample: list[Any] = []
        self._sampled = 0

    def named(self) -> dict[str, Any]:
        """Its tensors as ``state_dict`` names them, tied ones under each name. The living ones."""
        return {name: tensor for name, tensor, _ in named_tensors(self.module)}

    def count_versions(self) -> int:
        return sum(parameter._version for parameter in self._some)

    def sample(self) -> None:
        """Keep some numbers as they are where a pass over a loader ends."""
        if self.steps and self._sampled != self.steps:
            self._sample, self._sampled = self._numbers(), self.steps

    def is_another(self) -> bool:
        """Whether it was changed since, also by way of ``.data``, which nobody counts."""
        if self._sampled != self.steps:
            return False
        # A number that is none is not equal to itself.
        pairs = zip(self._sample, self._numbers())
        return any(not bool(((a == b) | ((a != a) & (b != b))).all()) for a, b in pairs)

    def _numbers(self) -> list[Any]:
        return [p.detach().flatten()[:8].cpu().clone() for p in self._some[:8]]

    def copy(self) -> dict[str, Any]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.named().items()}


def living(base: Any, having: str = "_modules") -> list[Any]:
    """All modules that live, by the class of modules; or others that have an attribute of their own."""
    # Never isinstance: it asks proxies for their class, and lazy ones run code then.
    everything = gc.get_objects()
    kinds = {kind for kind in set(map(type, everything)) if issubclass(kind, base)}
    return [one for one in everything if type(one) in kinds and having in vars(one)]


def named_tensors(module: Any) -> Iterator[tuple[str, Any, bool]]:
    """Name, tensor, whether it is a parameter. Not by ``state_dict``, which programs override."""
    for prefix, part in module.named_modules(remove_duplicate=False):
        prefix = prefix.replace("_orig_mod.", "").replace("._orig_mod", "")
        prefix = prefix + "." if prefix and prefix != "_orig_mod" else ""
        for name, tensor in part._parameters.items():
            if tensor is not None:
                yield prefix + name, tensor, True
        for name, tensor in part._buffers.items():
            if tensor is not None and name not in part._non_persistent_buffers_set:
                yield prefix + name, tensor, False


class Models:
    """All owners, in the order in which training came to hold them."""

    def __init__(self, torch: Any, recorder: Recorder) -> None:
        self._torch = torch
        self._recorder = recorder
        self.owners: list[Owner] = []
        #: Parameters of optimizers that belong to no living module: not looked for a second time.
        self.homeless: set[int] = set()
        #: Whether a file names a model's tensors by the model too.
        self.prefixed = False

    def covered(self, parameter: int) -> bool:
        return any(parameter in owner.parameters for owner in self.owners)

    def find(self, held: list[Any]) -> list[Owner]:
        """New owners of parameters that have none yet. One pass over all objects where there are any."""
        wanted = [p for p in held if not self.covered(id(p)) and id(p) not in self.homeless]
        if not wanted:
            return []
        found = [self._own(module) for module in self._choose([id(p) for p in wanted])]
        self.homeless.update(id(p) for p in wanted if not self.covered(id(p)))
        return found

    def federated(self) -> list[Owner]:
        names = self._recorder.job.models
        return [owner for owner in self.owners if not names or owner.name in names]

    def _own(self, module: Any) -> Owner:
        name = type(module).__name__
        same = sum(type(owner.module).__name__ == name for owner in self.owners)
        owner = Owner(module, name if not same else f"{name}{same + 1}")
        self.owners.append(owner)
        return owner

    def _choose(self, wanted: list[int]) -> list[Any]:
        """Outermost modules that hold most of what is wanted, and least beside it."""
        candidates = [(m, {id(p) for p in m.parameters()}) for m in self._outermost()]
        chosen, left = [], set(wanted)
        while left:
            best, most = None, (0, 0)
            for module, holds in candidates:
                score = (len(holds & left), -len(holds))
                if score[0] and (best is None or score > most):
                    best, most = (module, holds), score
            if best is None:
                break
            chosen.append(best)
            left -= best[1]
        order = {parameter: number for number, parameter in enumerate(wanted)}
        last = len(order)
        chosen.sort(key=lambda one: min((order.get(p, last) for p in one[1]), default=last))
        return [module for module, _ in chosen]

    def _outermost(self) -> list[Any]:
        every = living(self._torch.nn.Module)
        wrappers = [module for module in every if type(module).__name__ in _WRAPPERS]
        aside = {id(module) for module in wrappers}
        inner: set[int] = set()
        for module in every:
            if id(module) not in aside:
                inner.update(id(child) for child in module._modules.values() if child is not None)
        return [m for m in every if id(m) not in inner and id(m) not in aside]

    def file_names(self, owner: Owner) -> dict[str, str]:
        """The name of each of its tensors in a file, by its name in the model."""
        prefix = owner.name + "." if self.prefixed else ""
        return {name: prefix + name for name in owner.named()}


def raw(found: dict[str, Any], names: dict[str, str]) -> dict[str, tensors.Raw]:
    return {
        names[name]: tensors.from_torch(tensor) for name, tensor in found.items() if name in names
    }
