"""The models at the end of the last training loop, and what a program does to them after it."""

from __future__ import annotations

import functools
from typing import Any, Iterator

from fedops_watch import places
from fedops_watch.pytorch.copies import Copies
from fedops_watch.pytorch.models import Models, Owner, named_tensors, raw
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded


class Result:
    def __init__(self, torch: Any, recorder: Recorder, models: Models, copies: Copies) -> None:
        self._torch, self._recorder, self._models = torch, recorder, models
        self._copies = copies
        self._passes: set[int] = set()

    def install(self) -> None:
        module = self._torch.nn.Module
        load, before = module.load_state_dict, shielded(self._before_load)

        @functools.wraps(load)
        def load_state_dict(one: Any, *args: Any, **kwargs: Any) -> Any:
            before(one)
            return load(one, *args, **kwargs)

        module.load_state_dict = load_state_dict
        self._watch_saving()

    def _watch_saving(self) -> None:
        save, before = self._torch.save, shielded(self._before_save)

        @functools.wraps(save)
        def watched(obj: Any, f: Any = None, *args: Any, **kwargs: Any) -> Any:
            self._recorder.writes(f)
            before(obj)
            return save(obj, f, *args, **kwargs)

        self._torch.save = watched

    def _before_save(self, obj: Any) -> None:
        """What is saved under a model's names should be the model."""
        for owner in self._models.owners:
            if not owner.steps:
                continue
            own = owner.named()
            for found in _states(obj, set(own), 0):
                if not all(self._same(own[name], found[name]) for name in own):
                    self._recorder.note(
                        "saves_other_weights",
                        f"the command saves other weights for {owner.name} than the model holds,"
                        " such as the best of its epochs or an average",
                        places.of_caller(),
                        "difference",
                    )

    def _same(self, one: Any, other: Any) -> bool:
        other = other.detach().to(one.device)
        return one.shape == other.shape and bool(self._torch.equal(one.detach(), other))

    def _before_load(self, module: Any) -> None:
        """Keep what training made of the models that are about to be overwritten."""
        for owner in self._models.owners:
            if owner.steps and not owner.kept and _touches(module, owner):
                owner.kept = owner.copy()

    def stepped(self, owners: list[Owner]) -> None:
        for owner in owners:
            owner.versions = owner.count_versions()
            if owner.kept:
                owner.kept = {}
                self._recorder.note(
                    "two_phases",
                    f"{owner.name} is trained, other weights are loaded into it, and it is trained again",
                    owner.where,
                    "question",
                )

    def pass_over(self) -> None:
        self._copies.tell()

    def pass_ends(self) -> None:
        for owner in self._models.owners:
            owner.sample()

    def keep_pass(self, number: int) -> None:
        """The models as they are after so many passes."""
        self._passes.add(number)
        self._write(f"pass-{number}", self.at_end_of_loop())

    def at_end_of_loop(self) -> dict[str, dict[str, Any]]:
        return {o.name: o.kept or o.named() for o in self._models.federated() if o.start}

    def write(self, last_pass: int) -> None:
        """All files of tensors, at the end."""
        owners = [owner for owner in self._models.federated() if owner.start]
        if not owners:
            return
        if self._recorder.job.model is None:
            self._write("v0", {owner.name: owner.start for owner in owners})
        trained = self.at_end_of_loop()
        keep = self._recorder.job.keep_pass
        if keep and keep == last_pass and keep not in self._passes:
            self.keep_pass(keep)
        self._copies.tell()
        self._say_changed(owners)
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

    def _say_changed(self, owners: list[Owner]) -> None:
        for owner in owners:
            counted = owner.versions != owner.count_versions()
            if owner.steps and not owner.kept and (counted or owner.is_another()):
                self._recorder.note(
                    "changed_after_training",
                    f"weights of {owner.name} are changed in place after the last step; the result"
                    " is what they are at the end",
                    owner.where,
                    "difference",
                )

    def _changed(self, owner: Owner) -> bool:
        equal = self._torch.equal
        return bool(owner.kept) and not all(
            equal(tensor.detach().cpu(), owner.kept[name]) for name, tensor in owner.named().items()
        )

    def _write(self, stem: str, found: dict[str, dict[str, Any]]) -> None:
        parts: dict[str, Any] = {}
        if self._recorder.job.model is None:
            self._models.prefixed = len(found) > 1
        for owner in self._models.federated():
            if owner.name in found:
                parts.update(raw(found[owner.name], self._models.file_names(owner)))
        self._recorder.write_tensors(stem, parts)


def _touches(module: Any, owner: Owner) -> bool:
    return any(id(parameter) in owner.parameters for parameter in module.parameters())


def _states(value: Any, names: set[str], depth: int) -> Iterator[dict[str, Any]]:
    """Mappings in what is saved that have a model's names, whatever stands before each of them."""
    named = getattr(value, "named_parameters", None)
    if callable(named):
        value = {name: tensor for name, tensor, _ in named_tensors(value)}
    if not isinstance(value, dict) or depth > 3:
        return
    keys = [key for key in value if isinstance(key, str)]
    for prefix in ("", "module.", "_orig_mod.", "model.", "net.", "ema_model."):
        if names and names <= {key[len(prefix) :] for key in keys if key.startswith(prefix)}:
            yield {name: value[prefix + name] for name in names}
            return
    for inner in value.values():
        yield from _states(inner, names, depth + 1)
