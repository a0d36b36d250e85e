"""Puts all hooks on torch, once it has run."""

from __future__ import annotations

import sys
from typing import Any

from fedops_watch.ending import Ending
from fedops_watch.pytorch.answer import Answer
from fedops_watch.pytorch.backward import Backward
from fedops_watch.pytorch.copies import Copies
from fedops_watch.pytorch.evaluating import Evaluating
from fedops_watch.pytorch.loaders import Loaders
from fedops_watch.pytorch.models import Models
from fedops_watch.pytorch.optimizers import Optimizers
from fedops_watch.pytorch.put_in import PutIn
from fedops_watch.pytorch.result import Result
from fedops_watch.pytorch.schedulers import Schedulers
from fedops_watch.recorder import Recorder


def install(torch: Any, recorder: Recorder, end: Ending) -> None:
    module = sys.modules["torch.optim.optimizer"]
    if not hasattr(module, "register_optimizer_step_pre_hook"):
        recorder.refuse(
            "old_torch", f"torch {torch.__version__} cannot be watched; install 2.0 or newer"
        )
        return
    models = Models(torch, recorder)
    copies, schedulers = Copies(torch, recorder), Schedulers(recorder)
    put_in = PutIn(torch, recorder, end, models, copies, schedulers)
    result = Result(torch, recorder, models, copies)
    loaders = Loaders(torch, recorder, end, result)
    optimizers = Optimizers(torch, recorder, end, models, put_in, result, loaders)
    schedulers.on_seen = optimizers.schedule
    backward = Backward(torch, recorder, end, put_in, loaders)
    evaluating = Evaluating(torch, recorder, models, loaders)
    put_in.on_put, backward.on_first = evaluating.follow, evaluating.first_backward
    for part in (optimizers, schedulers, loaders, backward, result, evaluating):
        part.install()
    recorder.at_end(
        Answer(recorder, models, put_in, optimizers, schedulers, loaders, backward, result).fill
    )
