"""FedProx: pulls each step towards the model that was put in."""

from __future__ import annotations

from typing import Any

from fedops_watch.pytorch.models import Models


class Proximal:
    """Adds ``mu * (parameter - start)`` to the gradients, the gradient of ``mu / 2 * |difference|^2``."""

    def __init__(self, torch: Any, models: Models, mu: float) -> None:
        self._torch, self._models, self._mu = torch, models, mu
        #: By the parameter's identity, where the parameter lies.
        self._starts: dict[int, Any] = {}

    def before_step(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        """New arguments where the step has a closure, which computes its own gradients."""
        closure = kwargs.get("closure")
        if closure is not None:
            return args, dict(kwargs, closure=self._closure(optimizer, closure))
        if len(args) > 1 and callable(args[1]):
            return (args[0], self._closure(optimizer, args[1]), *args[2:]), kwargs
        self._pull(optimizer)
        return None

    def _closure(self, optimizer: Any, closure: Any) -> Any:
        def pulled() -> Any:
            loss = closure()
            self._pull(optimizer)
            return loss

        return pulled

    def _pull(self, optimizer: Any) -> None:
        with self._torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    start = self._start(parameter)
                    if start is not None and parameter.grad is not None:
                        parameter.grad.add_(parameter - start, alpha=self._mu)

    def _start(self, parameter: Any) -> Any:
        if id(parameter) not in self._starts:
            self._starts[id(parameter)] = self._look(parameter)
        return self._starts[id(parameter)]

    def _look(self, parameter: Any) -> Any:
        for owner in self._models.owners:
            if id(parameter) in owner.parameters:
                for name, tensor in owner.named().items():
                    if tensor is parameter and name in owner.start:
                        return owner.start[name].to(parameter.device, parameter.dtype)
        return None
