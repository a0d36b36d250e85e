"""Schedulers: which there are, how often they step, and going on where an earlier round left off."""

from __future__ import annotations

import functools
import math
import sys
import warnings
import weakref
from typing import Any, Callable

from fedops_watch.pytorch.models import living
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded

#: Goes by the metric that it is given, not by its steps: what it has seen of it goes on instead.
_BY_METRIC = "ReduceLROnPlateau"
_PATIENCE = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


class Schedulers:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._wanted = recorder.job.scheduler_steps
        self._kept: list[float] = list(recorder.job.patience)
        #: By the scheduler's identity: the steps that the program took itself.
        self._steps: dict[int, int] = {}
        self._kinds: dict[int, str] = {}
        #: The first that goes by a metric.
        self._by_metric: Any = None
        #: Those that were brought to where an earlier round left off.
        self._forwarded: weakref.WeakSet[Any] = weakref.WeakSet()
        self._depth = 0
        self._base: Any = None
        #: Told of each scheduler that steps: its optimizer and its kind.
        self.on_seen: Callable[[Any, str], None] = lambda optimizer, kind: None

    def install(self) -> None:
        module: Any = sys.modules["torch.optim.lr_scheduler"]
        self._base = getattr(module, "LRScheduler", None) or module._LRScheduler
        kinds = {value for value in vars(module).values() if isinstance(value, type)}
        for kind in kinds:
            if "step" in vars(kind) and (
                issubclass(kind, self._base) or kind.__name__ == _BY_METRIC
            ):
                self._watch(kind)

    def _watch(self, kind: Any) -> None:
        step, before = kind.step, shielded(self._before)

        @functools.wraps(step)
        def watched(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            before(scheduler)
            self._depth += 1
            try:
                return step(scheduler, *args, **kwargs)
            except ValueError:
                if not self._wanted or scheduler not in self._forwarded:
                    raise
                self._say_over(scheduler)  # its schedule was made for fewer rounds
                return None
            finally:
                self._depth -= 1

        kind.step = watched

    def _before(self, scheduler: Any) -> None:
        if self._depth or not getattr(scheduler, "_step_count", 1):
            return  # a part of another one's step, or the one that each takes when it is made
        if id(scheduler) not in self._steps:
            self._meet(scheduler)
        self._steps[id(scheduler)] += 1

    def _meet(self, scheduler: Any) -> None:
        kind = type(scheduler).__name__
        self._steps[id(scheduler)] = 0
        self._kinds[id(scheduler)] = kind
        if kind == _BY_METRIC and self._by_metric is None:
            self._by_metric = scheduler
        self.on_seen(getattr(scheduler, "optimizer", None), kind)
        self._forward(scheduler)

    def go_on(self) -> None:
        """Before training: bring every scheduler to where the earlier rounds left off."""
        if not self._wanted or self._base is None:
            return
        plateau = getattr(sys.modules["torch.optim.lr_scheduler"], _BY_METRIC)
        bases = [self._base] if issubclass(plateau, self._base) else [self._base, plateau]
        every = [one for base in bases for one in living(base, "optimizer")]
        inner = {id(part) for one in every for part in getattr(one, "_schedulers", [])}
        for scheduler in every:
            if id(scheduler) not in inner:
                self._forward(scheduler)

    def _forward(self, scheduler: Any) -> None:
        if not self._wanted or scheduler in self._forwarded:
            return
        self._forwarded.add(scheduler)
        if type(scheduler).__name__ == _BY_METRIC:
            self._set_patience(scheduler)
            return
        self._depth += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for _ in range(self._wanted):
                    scheduler.step()
        except ValueError:
            self._say_over(scheduler)
        finally:
            self._depth -= 1

    def _set_patience(self, scheduler: Any) -> None:
        groups = scheduler.optimizer.param_groups
        state, rates = self._kept[: len(_PATIENCE)], self._kept[len(_PATIENCE) :]
        if not state or len(rates) != len(groups):
            self._recorder.note(
                "patience", "ReduceLROnPlateau goes by metrics: its patience begins anew each round"
            )
            return
        self._kept = []  # a second one has seen nothing of the first one's metric
        for name, value in zip(_PATIENCE, state):
            setattr(scheduler, name, value if name == "best" else int(value))
        for group, rate in zip(groups, rates):
            group["lr"] = rate

    def patience(self) -> list[float]:
        """What the first scheduler that goes by a metric has seen, then the learning rates; [] for none."""
        scheduler = self._by_metric
        if scheduler is None:
            return []
        rates = [group["lr"] for group in scheduler.optimizer.param_groups]
        found = [float(value) for value in [*(getattr(scheduler, n) for n in _PATIENCE), *rates]]
        return found if all(map(math.isfinite, found)) else []

    def _say_over(self, scheduler: Any) -> None:
        self._recorder.note(
            "schedule_over",
            f"{type(scheduler).__name__} is at the end of its schedule; the learning rate stays as it is",
            weight="difference",
        )

    def steps(self) -> int:
        """All that were taken, in this round and before it."""
        taken: int = max(self._steps.values(), default=0)
        return int(self._wanted) + taken

    def say_different(self) -> None:
        if len(set(self._steps.values())) > 1:
            said = ", ".join(
                f"{self._kinds[number]} {steps} times" for number, steps in self._steps.items()
            )
            self._recorder.note(
                "schedulers_differ",
                f"schedulers step at different rates ({said}); over rounds all go on by the highest",
                weight="difference",
            )
