"""Copies that a program made of its own start: averages, anchors, states kept to come back to."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from fedops_watch.pytorch.models import Owner, living, named_tensors
from fedops_watch.recorder import Recorder

#: Smaller tensors may be equal by chance.
_LEAST = 8


class Copies:
    """Found once, by equal bits, beside a model that is about to be trained."""

    def __init__(self, torch: Any, recorder: Recorder) -> None:
        self._torch, self._recorder = torch, recorder
        self._kept: list[tuple[Any, str]] = []

    def twins(self, owner: Owner) -> list[Any]:
        """Modules of the same structure and the same values, which are to get the same model."""
        own = owner.named()
        inside = {id(part) for part in owner.module.modules()}
        found = []
        for module in living(self._torch.nn.Module):
            if type(module) is not type(owner.module) or id(module) in inside:
                continue
            other = {name: tensor for name, tensor, _ in named_tensors(module)}
            if self._equal(own, other):
                found.append(module)
        if found:
            self._recorder.note(
                "copies",
                f"{len(found)} further {owner.name} with the same values (an average or a copy);"
                " what is put into the model is put into it too",
                owner.where,
            )
        return found

    def _equal(self, own: dict[str, Any], other: dict[str, Any]) -> bool:
        return own.keys() == other.keys() and all(
            tensor is not other[name] and self._torch.equal(tensor.detach(), other[name].detach())
            for name, tensor in own.items()
            if tensor.requires_grad  # a forward changes buffers
        )

    def look_for_tensors(self, owner: Owner, twins: list[Any], ours: list[Any]) -> None:
        """Copies outside of any module: remembered weakly, and told of if they are still there later.

        ``ours``: copies that we made.
        """
        telling = self._telling(owner)
        known = {id(t) for m in [owner.module, *twins] for _, t, _ in named_tensors(m)}
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
                if bool((plain != plain.flatten()[0]).any()):
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
