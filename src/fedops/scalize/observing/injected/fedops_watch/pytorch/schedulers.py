"""Schedulers: which there are, how often they step, and going on where an earlier round left off."""

from __future__ import annotations

import functools
import sys
import warnings
import weakref
from typing import Any, Callable

from fedops_watch.pytorch.models import living
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded

#: Goes by the metric that it is given, not by its steps.
_BY_METRIC = "ReduceLROnPlateau"


class Schedulers:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._wanted = recorder.job.scheduler_steps
        #: By the scheduler's identity: the steps that the program took itself.
        self._steps: dict[int, int] = {}
        self._kinds: dict[int, str] = {}
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
        self.on_seen(getattr(scheduler, "optimizer", None), kind)
        self._forward(scheduler)

    def go_on(self) -> None:
        """Before training: bring every scheduler to where the earlier rounds left off."""
        if not self._wanted or self._base is None:
            return
        every = living(self._base, "optimizer")
        inner = {id(part) for one in every for part in getattr(one, "_schedulers", [])}
        for scheduler in every:
            if id(scheduler) not in inner:
                self._forward(scheduler)

    def _forward(self, scheduler: Any) -> None:
        if not self._wanted or scheduler in self._forwarded:
            return
        self._forwarded.add(scheduler)
        if type(scheduler).__name__ == _BY_METRIC:
            self._recorder.note(
                "patience", "ReduceLROnPlateau goes by metrics: its patience begins anew each round"
            )
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
