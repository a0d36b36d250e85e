"""The begin of watching, in every Python process of the command."""

from __future__ import annotations

import importlib
import os
import random
from typing import Any

from fedops_watch import ending, finder, guard, places, shield
from fedops_watch.job import Job
from fedops_watch.recorder import Recorder

#: What installs its hooks, ``install(module, recorder, end)``, once a framework's module has run.
HOOKS = {
    "torch": "fedops_watch.pytorch.install",
    "keras": "fedops_watch.keras_fit.install",
    "sklearn.base": "fedops_watch.estimators.install",
    "xgboost": "fedops_watch.boosters",
    "lightgbm": "fedops_watch.boosters",
    "catboost": "fedops_watch.boosters",
    "lightning.pytorch.trainer.trainer": "fedops_watch.trainers",
    "pytorch_lightning.trainer.trainer": "fedops_watch.trainers",
    "transformers.trainer": "fedops_watch.trainers",
}


def begin() -> None:
    job = Job(os.environ["FEDOPS_WATCH"])
    places.seen_from(job.home)
    recorder = Recorder(job)
    end = ending.Ending(recorder)
    ending.watch_end(recorder)
    shield.shielded(guard.Guard(recorder).install)()
    if job.seed is not None:
        _seed(job.seed)
    for module, hooks in HOOKS.items():
        finder.when_run(module, _installs(hooks, recorder, end))
    _keep_off_the_network(recorder)


def _installs(hooks: str, recorder: Recorder, end: ending.Ending) -> finder.Callback:
    def install(module: Any) -> None:
        importlib.import_module(hooks).install(module, recorder, end)

    return install


def _keep_off_the_network(recorder: Recorder) -> None:
    """Weights & Biases writes to the folder alone, unless the user said where to."""
    if os.environ.setdefault("WANDB_MODE", "offline") != "offline":
        return
    text = "Weights & Biases is kept off the network; set WANDB_MODE=online if rounds shall be logged there"
    finder.when_run("wandb", lambda module: recorder.note("wandb_offline", text))


def _seed(seed: int) -> None:
    random.seed(seed)
    finder.when_run("numpy.random", lambda module: module.seed(seed % 2**32))
    finder.when_run("torch", lambda module: module.manual_seed(seed))
    finder.when_run("tensorflow", lambda module: module.random.set_seed(seed))
