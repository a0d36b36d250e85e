"""The models at the end of the last training loop, and what a program does to them after it."""

from __future__ import annotations

import functools
from typing import Any

from fedops_watch.pytorch.models import Models, Owner, raw
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded


class Result:
    def __init__(self, torch: Any, recorder: Recorder, models: Models) -> None:
        self._torch, self._recorder, self._models = torch, recorder, models
        self._passes: set[int] = set()

    def install(self) -> None:
        module = self._torch.nn.Module
        load, before = module.load_state_dict, shielded(self._before_load)

        @functools.wraps(load)
        def load_state_dict(one: Any, *args: Any, **kwargs: Any) -> Any:
            before(one)
            return load(one, *args, **kwargs)

        module.load_state_dict = load_state_dict

    def _before_load(self, module: Any) -> None:
        """Keep what training made of the models that are about to be overwritten."""
        for owner in self._models.owners:
            if owner.steps and not owner.kept and _touches(module, owner):
                owner.kept = owner.copy()

    def stepped(self, owners: list[Owner]) -> None:
        for owner in owners:
            if owner.kept:
                owner.kept = {}
                self._recorder.note(
                    "two_phases",
                    f"{owner.name} is trained, other weights are loaded into it, and it is trained again",
                    owner.where,
                    "question",
                )

    def keep_pass(self, number: int) -> None:
        """The models as they are after so many passes."""
        self._passes.add(number)
        self._write(f"pass-{number}", self.at_end_of_loop())

    def at_end_of_loop(self) -> dict[str, dict[str, Any]]:
        return {o.name: o.kept or o.named() for o in self._models.federated()}

    def write(self, last_pass: int) -> None:
        """All files of tensors, at the end."""
        owners = [owner for owner in self._models.federated() if owner.start]
        if not owners:
            return
        if self._recorder.job.model is None:
            self._models.prefixed = len(owners) > 1
            self._write("v0", {owner.name: owner.start for owner in owners})
        trained = self.at_end_of_loop()
        keep = self._recorder.job.keep_pass
        if keep and keep == last_pass and keep not in self._passes:
            self.keep_pass(keep)
        changed = [owner for owner in owners if self._changed(owner)]
        held = {owner.name: owner.named() for owner in owners}
        self._write("result", held if self._recorder.job.result == "script" else trained)
        if changed:
            self._write("script", held)
            names = ", ".join(owner.name for owner in changed)
            self._recorder.note(
                "other_weights_at_the_end",
                f"after its training the command loads other weights into {names}",
                changed[0].where,
                "question",
            )

    def _changed(self, owner: Owner) -> bool:
        equal = self._torch.equal
        return bool(owner.kept) and not all(
            equal(tensor.detach().cpu(), owner.kept[name]) for name, tensor in owner.named().items()
        )

    def _write(self, stem: str, found: dict[str, dict[str, Any]]) -> None:
        parts: dict[str, Any] = {}
        for owner in self._models.federated():
            if owner.name in found:
                parts.update(raw(found[owner.name], self._models.file_names(owner)))
        self._recorder.write_tensors(stem, parts)


def _touches(module: Any, owner: Owner) -> bool:
    return any(id(parameter) in owner.parameters for parameter in module.parameters())
