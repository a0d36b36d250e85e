"""Explaining beside federated execution: one thread, at most one round waiting, failures as reports."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from fedops.explain.explainers.report import ExplainReport
from fedops.explain.service.explainer import Explainer

log = logging.getLogger("fedops.explain")


@dataclass(frozen=True)
class Order:
    """A round to be explained, with copies of its weights."""

    round: int
    run: int
    model_global: Any
    model_local: Any
    full: bool


class Background:
    """Explains while the client waits for the next round. Never holds up whoever submits.

    A round that is still waiting when a newer one comes is left out: the newest matters most.
    ``on_report`` is called in the thread with every report, failed ones included.
    """

    def __init__(self, explainer: Explainer, on_report: Callable[[ExplainReport], None]) -> None:
        self._explainer, self._on_report = explainer, on_report
        self._changed = threading.Condition()
        self._waiting: Order | None = None
        self._busy = self._closed = False
        self._thread = threading.Thread(target=self._work, name="fedops-explain", daemon=True)
        self._thread.start()

    def submit(
        self,
        model_global: Any = None,
        model_local: Any = None,
        round: int = 0,
        *,
        run: int = 0,
        full: bool = False,
    ) -> bool:
        """Explain a round soon. The weights are copied now. False: an older round was left out.

        A method that draws from the process's random state is not run beside training but at once.
        """
        order = Order(round, run, _copied(model_global), _copied(model_local), full)
        if not self._explainer.thread_safe:
            self._explain(order, keep_randomness=True)
            return True
        with self._changed:
            left_out = self._waiting
            self._waiting = order
            self._changed.notify_all()
        if left_out is not None:
            log.info("round %s is not explained: round %s came first", left_out.round, round)
        return left_out is None

    def wait(self, timeout: float | None = None) -> bool:
        """Until nothing is left to explain. False when the time was over before."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy and not self._waiting, timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Finish what was submitted and end the thread; True when it ended in time."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (order := self._next()) is not None:
            self._explain(order, keep_randomness=False)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> Order | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closed)
            order, self._waiting = self._waiting, None
            self._busy = order is not None
            return order

    def _explain(self, order: Order, keep_randomness: bool) -> None:
        report = self._explainer.attempt(
            order.model_global,
            order.model_local,
            order.round,
            run=order.run,
            full=order.full,
            keep_randomness=keep_randomness,
        )
        try:
            self._on_report(report)
        except Exception:
            log.exception("the report of round %s could not be passed on", order.round)


def _copied(model: Any) -> Any:
    """A snapshot of the weights: the model itself goes on training."""
    if isinstance(model, nn.Module):
        return {name: value.detach().clone() for name, value in model.state_dict().items()}
    if isinstance(model, Mapping):
        return {name: copy.deepcopy(value) for name, value in model.items()}
    return model
