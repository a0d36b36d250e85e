"""One estimator that was fitted, with its arrays before and after."""

from __future__ import annotations

from typing import Any

from fedops_watch import tensors
from fedops_watch.estimators import kinds
from fedops_watch.job import Job


class Fitted:
    """An estimator that goes on from arrays, from its first fit on."""

    def __init__(self, estimator: Any, name: str, where: str, federated: bool) -> None:
        self.estimator = estimator
        self.name = name
        self.where = where
        self.federated = federated
        #: As training first saw them, and as it left them.
        self.start: kinds.Arrays = {}
        self.result: kinds.Arrays = {}
        self.losses: list[float] = []
        self.steps = self.first_step = self.last_step = 0
        #: How often it began from weights of its own making.
        self.anew = 0
        #: Steps that its schedule of the learning rate took in this run.
        self.ticks = 0
        self.used = False
        #: How what was given does not fit; "" while nothing speaks against it.
        self.difference = ""
        self._given: kinds.Arrays | None = None
        self._by_steps = False
        self._earlier = 0

    def before(self, call: Any, job: Job) -> None:
        """The fit is about to begin: what starts from its attributes gets them now."""
        self._by_steps = call.name == "partial_fit" and kinds.is_sgd(self.estimator)
        had = kinds.copies(kinds.read(self.estimator))
        goes_on = bool(had) and (call.name == "partial_fit" or _warm(self.estimator))
        if not goes_on:
            self.anew += 1
        if self.steps:
            return
        if goes_on:
            self.start = had
            given = self._received(job)
            if given is not None:
                self._put(given)
        elif kinds.starts_warm(self.estimator):
            self._start_warm(call, job)

    def _start_warm(self, call: Any, job: Job) -> None:
        given = self._received(job)
        if given is None:
            return
        self.difference = kinds.misfit(self.estimator, given, call.x, call.y)
        if self.difference:
            return
        estimator, plain = self.estimator, self.estimator.warm_start
        kinds.give(estimator, given)
        estimator.warm_start = True
        call.undone.append(lambda: setattr(estimator, "warm_start", plain))
        self.used = True

    def first_weights(self, job: Job) -> None:
        """The estimator has just made its own first weights."""
        if self.steps or self.start:
            return
        self.start = kinds.copies(kinds.read(self.estimator))
        if self._by_steps and job.scheduler_steps:
            # Its learning rate falls with the steps it counts, over all rounds.
            self._earlier = job.scheduler_steps
            self.estimator.t_ = 1.0 + self._earlier
        given = self._received(job)
        if given is not None:
            self._put(given)

    def _put(self, given: kinds.Arrays) -> None:
        self.difference = kinds.put(self.estimator, given)
        self.used = not self.difference

    def _received(self, job: Job) -> kinds.Arrays | None:
        """This model's part of the file that was received."""
        if job.model is None:
            return None
        if self._given is None:
            every = {n: tensors.to_numpy(raw) for n, raw in tensors.read(job.model).items()}
            mine = self.name + "."
            named = {n[len(mine) :]: a for n, a in every.items() if n.startswith(mine)}
            self._given = named or every
        fits = any(name.startswith(("coef_", "coefs_.")) for name in self._given)
        return self._given if fits else None

    def after(self, number: int) -> None:
        """The fit is over: its result is kept as it is now."""
        numpy: Any = __import__("numpy")
        self.steps += 1
        self.first_step = self.first_step or number
        self.last_step = number
        self.result = kinds.copies(kinds.read(self.estimator))
        if not self.start:
            self.start = {n: numpy.zeros_like(a) for n, a in self.result.items()}
        shaped = {n: a.shape for n, a in self.result.items()}
        self.start = {n: a.reshape(shaped[n]) for n, a in self.start.items()}
        curve = getattr(self.estimator, "loss_curve_", None)
        if curve:
            self.losses = [float(loss) for loss in curve]
        if self._by_steps:
            self.ticks = int(getattr(self.estimator, "t_", 1)) - 1 - self._earlier

    def seen(self) -> dict[str, Any]:
        """As ``SeenModel``."""
        kind = type(self.estimator)
        return {
            "name": self.name,
            "kind": f"{kind.__module__}.{kind.__qualname__}",
            "framework": "sklearn",
            "where": self.where,
            "tensors": [
                {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
                for name, array in self.result.items()
            ],
            "steps": self.steps,
            "first_step": self.first_step,
            "last_step": self.last_step,
        }

    def optimizer(self) -> dict[str, Any]:
        """As ``SeenOptimizer``: the estimator is its own."""
        kind = type(self.estimator)
        return {
            "kind": f"{kind.__module__}.{kind.__qualname__}",
            "where": self.where,
            "settings": kinds.settings(self.estimator),
            "models": [self.name],
        }


def _warm(estimator: Any) -> bool:
    return bool(getattr(estimator, "warm_start", False))
