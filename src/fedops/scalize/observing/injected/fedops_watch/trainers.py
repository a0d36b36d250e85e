"""Trainers of Lightning and transformers: what the generic hooks on torch do not see or cannot settle."""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable

from fedops_watch import places
from fedops_watch.ending import Ending
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded

_SHARDED = ("fsdp", "deepspeed")


def install(module: Any, recorder: Recorder, end: Ending) -> None:
    """``module``: where a class ``Trainer`` is defined."""
    if module.__name__ == "transformers.trainer":
        hooks: Any = _Transformers(recorder)
        _before(module.Trainer, "train", hooks.train)
        _before(module.Trainer, "log", hooks.log)
    else:
        hooks = _Lightning(recorder)
        _before(module.Trainer, "__init__", hooks.make)
        _after(module.Trainer, "fit", hooks.fitted)


def _before(owner: Any, name: str, hook: Callable[..., Any]) -> None:
    """``hook(self, args, kwargs)`` is called first, and may change ``kwargs``."""
    plain, safe = getattr(owner, name), shielded(hook)

    @functools.wraps(plain)
    def call(one: Any, *args: Any, **kwargs: Any) -> Any:
        safe(one, args, kwargs)
        return plain(one, *args, **kwargs)

    setattr(owner, name, call)


def _after(owner: Any, name: str, hook: Callable[[Any], Any]) -> None:
    """``hook(self)`` is called at the end, however that comes."""
    plain, safe = getattr(owner, name), shielded(hook)

    @functools.wraps(plain)
    def call(one: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return plain(one, *args, **kwargs)
        finally:
            safe(one)

    setattr(owner, name, call)


class _Hooks:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def _report(self, found: Any) -> None:
        metrics = self._recorder.answer.setdefault("metrics", {})
        for name, value in found.items():
            try:
                metrics[str(name)] = float(value)
            except (TypeError, ValueError):
                continue

    def _refuse_sharded(self, told: str) -> None:
        if told:
            text = f"{told} splits the model over processes, which cannot be federated; train in one process"
            self._recorder.refuse("sharded", text, places.of_caller())

    def _tell_steps(self, steps: Any) -> None:
        if isinstance(steps, int) and steps > 0:
            text = f"max_steps={steps} ends the training before its epochs do"
            self._recorder.note("max_steps", text, places.of_caller())


class _Transformers(_Hooks):
    def train(self, trainer: Any, args: Any, kwargs: Any) -> None:
        told = trainer.args
        self._tell_steps(told.max_steps)
        self._refuse_sharded(next((name for name in _SHARDED if getattr(told, name, None)), ""))
        if args or not kwargs.get("resume_from_checkpoint"):
            return
        text = (
            "the Trainer goes on from a checkpoint; a round starts from the model that it is given"
        )
        self._recorder.note("resumes", text, places.of_caller(), "difference")
        if self._recorder.job.model is not None:
            kwargs["resume_from_checkpoint"] = None

    def log(self, trainer: Any, args: Any, kwargs: Any) -> None:
        self._report(args[0] if args else kwargs.get("logs", {}))


class _Lightning(_Hooks):
    def make(self, trainer: Any, args: Any, kwargs: Any) -> None:
        """A Trainer is about to be made: it trains on one device, in this process."""
        strategy = kwargs.get("strategy", "auto")
        name = strategy if isinstance(strategy, str) else type(strategy).__name__
        self._refuse_sharded(next((part for part in _SHARDED if part in name.lower()), ""))
        self._tell_steps(kwargs.get("max_steps"))
        if not self._several(kwargs.get("devices", "auto")) and "ddp" not in name.lower():
            return
        kwargs.update(devices=1, strategy="auto", num_nodes=1)
        text = "the Trainer is set to one device: a round trains in one process"
        self._recorder.note("one_device", text, places.of_caller(), "difference")

    def _several(self, devices: Any) -> bool:
        if isinstance(devices, (list, tuple)):
            return len(devices) > 1
        if devices in ("auto", -1, "-1", None):
            torch = sys.modules["torch"]
            return bool(torch.cuda.is_available() and torch.cuda.device_count() > 1)
        return str(devices) != "1" and not (isinstance(devices, str) and "," not in devices)

    def fitted(self, trainer: Any) -> None:
        self._report(trainer.callback_metrics)
