"""Copies that a program made of its own start: averages, anchors, states kept to come back to."""

from __future__ import annotations

import gc
import weakref
from typing import Any, Tuple

from fedops_watch.pytorch.models import Owner, living, named_tensors
from fedops_watch.recorder import Recorder

#: Smaller tensors may be equal by chance.
_LEAST = 8

#: A module, and the prefix of its tensors' names in the owner: "" for a copy of all of it.
Twin = Tuple[Any, str]


class Copies:
    """Found once, by equal bits, beside a model that is about to be trained."""

    def __init__(self, torch: Any, recorder: Recorder) -> None:
        self._torch, self._recorder = torch, recorder
        self._kept: list[tuple[Any, str]] = []

    def twins(self, owner: Owner, owners: list[Owner]) -> list[Twin]:
        """Modules of the same structure and the same values, which are to get the same model.

        A copy may be of a part only, such as of the encoder, or of the net that Lightning keeps in
        ``hparams``. ``owners``: all that are trained, which get models of their own.
        """
        parts = self._parts(owner)
        known = {id(part) for one in owners for part in one.module.modules()}
        found: list[Twin] = []
        others = [one for one in living(self._torch.nn.Module) if id(one) not in known]
        alike = [one for one in others if _shapes(one) in parts]
        for module in sorted(alike, key=lambda one: -sum(1 for _ in one.modules())):
            if id(module) in known:
                continue  # a part of one that was found
            for prefix, part in parts[_shapes(module)]:
                if self._equal(part, module):
                    found.append((module, prefix))
                    known |= {id(inner) for inner in module.modules()}
                    break
        self._say(owner, found)
        return found

    def _parts(self, owner: Owner) -> dict[Any, list[tuple[str, Any]]]:
        """The owner and its parts with values of their own, by class and shapes."""
        found: dict[Any, list[tuple[str, Any]]] = {}
        for name, part in owner.module.named_modules():
            if "_orig_mod" in name:
                continue  # a compiled part, whose tensors go by other names
            if any(_tells(one) for one in part.parameters() if one.requires_grad):
                found.setdefault(_shapes(part), []).append((name + "." if name else "", part))
        return found

    def _say(self, owner: Owner, found: list[Twin]) -> None:
        if found:
            parts = "" if all(not prefix for _, prefix in found) else ", or parts of it,"
            self._recorder.note(
                "copies",
                f"{len(found)} further {owner.name}{parts} with the same values (an average or a copy);"
                " what is put into the model is put into it too",
                owner.where,
            )

    def _equal(self, part: Any, module: Any) -> bool:
        other = {name: tensor for name, tensor, _ in named_tensors(module)}
        return all(
            tensor is not other[name] and self._torch.equal(tensor.detach(), other[name].detach())
            for name, tensor, _ in named_tensors(part)
            if tensor.requires_grad  # a forward changes buffers
        )

    def look_for_tensors(self, owner: Owner, twins: list[Twin], ours: list[Any]) -> None:
        """Copies outside of any module: remembered weakly, and told of if they are still there later.

        ``ours``: copies that we made.
        """
        telling = self._telling(owner)
        known = {
            id(t)
            for m in [owner.module, *(one for one, _ in twins)]
            for _, t, _ in named_tensors(m)
        }
        places = {tensor.data_ptr() for tensors in telling.values() for tensor in tensors}
        places.update(tensor.data_ptr() for tensor in ours)
        kinds = (self._torch.Tensor, self._torch.nn.Parameter)
        for one in gc.get_objects():
            if type(one) not in kinds or id(one) in known:
                continue
            same = telling.get((tuple(one.shape), one.dtype, one.device))
            if not same or one.layout is not self._torch.strided:
                continue  # a sparse one lies in no one place
            if one.data_ptr() not in places and self._is_one_of(one, same):
                self._kept.append((weakref.ref(one), owner.name))

    def _telling(self, owner: Owner) -> dict[Any, list[Any]]:
        """By shape and dtype: parameters whose values are their own, not all zeros or ones."""
        found: dict[Any, list[Any]] = {}
        for name, tensor in owner.named().items():
            value = owner.start.get(name)
            if id(tensor) in owner.parameters and value is not None and tensor.numel() >= _LEAST:
                plain = tensor.detach()
                if _tells(plain):
                    found.setdefault((tuple(plain.shape), plain.dtype, plain.device), []).append(
                        plain
                    )
        return found

    def _is_one_of(self, one: Any, same: list[Any]) -> bool:
        return any(self._torch.equal(one.detach(), tensor) for tensor in same)

    def tell(self) -> None:
        """After a pass: whether copies that stand outside of modules are still kept."""
        kept, self._kept = self._kept, []
        for name in {name for _, name in kept}:
            count = sum(alive() is not None for alive, of in kept if of == name)
            if count:
                self._recorder.note(
                    "kept_start",
                    f"the command keeps a copy of the start of {name} ({count} tensors): on a device"
                    " it stays the script's own, not the model that is put in",
                    weight="difference",
                )


def _shapes(module: Any) -> Any:
    tensors = ((name, *_kind(one)) for name, one, _ in named_tensors(module))
    return (type(module), *tensors)


def _kind(tensor: Any) -> tuple[Any, ...]:
    try:
        return tuple(tensor.shape), tensor.dtype, tensor.device
    except RuntimeError:  # a lazy one has no shape yet
        return (id(tensor),)


def _tells(tensor: Any) -> bool:
    """Whether it has values of its own: not all zeros or ones, nor so few that they are equal by chance."""
    plain = tensor.detach()
    if plain.is_meta or str(plain.layout) != "torch.strided":
        return False
    return plain.numel() >= _LEAST and bool((plain != plain.flatten()[0]).any())
