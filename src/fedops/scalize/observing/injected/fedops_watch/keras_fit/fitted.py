"""One Keras model that was fitted, with its weights before and after."""

from __future__ import annotations

import weakref
from typing import Any

from fedops_watch import tensors
from fedops_watch.job import Job
from fedops_watch.keras_fit import weights


class Fitted:
    def __init__(self, model: Any, name: str, where: str, federated: bool) -> None:
        self.of = weakref.ref(model)
        kind = type(model)
        self.kind = f"{kind.__module__}.{kind.__qualname__}"
        self.name = name
        self.where = where
        self.federated = federated
        self.start: weights.Arrays = {}
        #: As the last epoch left it.
        self.result: weights.Arrays = {}
        #: At the program's end, where that differs.
        self.script: weights.Arrays = {}
        self.tensors: list[dict[str, Any]] = []
        self.optimizer: dict[str, Any] = {}
        self.steps = self.first_step = self.last_step = 0
        self.used = self.proved = False
        self.given: weights.Arrays = {}

    def meet(self, job: Job) -> str:
        """Before its first batch: keep what it is, put in what is given. "" or how that does not fit."""
        model = self.of()
        self.tensors = weights.seen_tensors(model)
        self.optimizer = _optimizer(model, self)
        self.start = weights.read(model)
        if job.model is None or not self.federated:
            self.proved = True
            return ""
        self.given = self._received(job.model)
        wrong = weights.write(model, self.given)
        if not wrong:
            changed = weights.first_difference(model, self.given)
            wrong = f"'{changed}' does not take the values that are put in" if changed else ""
        self.used = not wrong
        return wrong

    def _received(self, path: str) -> weights.Arrays:
        every = {name: tensors.to_numpy(raw) for name, raw in tensors.read(path).items()}
        mine = self.name + "."
        named = {name[len(mine) :]: array for name, array in every.items() if name.startswith(mine)}
        return named or every

    def prove(self) -> str:
        """At the first gradients: "" or the first weight that is not what was put in."""
        self.proved = True
        model = self.of()
        changed = weights.first_difference(model, self.given, trainable_only=True)
        self.used = not changed
        return changed

    def keep(self) -> None:
        """Its weights as they are now are its result."""
        model = self.of()
        if model is not None:
            sync(model)
            self.result = weights.read(model)

    def look_back(self) -> bool:
        """At the program's end: whether it now holds other weights than training left."""
        model = self.of()
        if model is None or not self.result:
            return False
        held = weights.read(model)
        changed = any(held[n].tobytes() != a.tobytes() for n, a in self.result.items() if n in held)
        self.script = held if changed else {}
        return changed

    def seen(self) -> dict[str, Any]:
        """As ``SeenModel``."""
        return {
            "name": self.name,
            "kind": self.kind,
            "framework": "keras",
            "where": self.where,
            "tensors": self.tensors,
            "steps": self.steps,
            "first_step": self.first_step,
            "last_step": self.last_step,
        }


def sync(model: Any) -> None:
    """On JAX the weights of a model that trains are held elsewhere."""
    held = getattr(model, "jax_state_sync", None)
    if held is not None:
        held()


def _optimizer(model: Any, fitted: Fitted) -> dict[str, Any]:
    """As ``SeenOptimizer``."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if optimizer is None:
        return {}
    config = optimizer.get_config()
    rate = config.get("learning_rate")
    kind = type(optimizer)
    return {
        "kind": f"{kind.__module__}.{kind.__qualname__}",
        "where": fitted.where,
        "settings": {n: v for n, v in config.items() if isinstance(v, (bool, int, float, str))},
        "models": [fitted.name],
        "schedulers": [str(rate.get("class_name"))] if isinstance(rate, dict) else [],
    }
