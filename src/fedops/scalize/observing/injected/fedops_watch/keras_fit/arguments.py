"""The arguments of one ``fit``: our callback goes first, a device's part of the examples is cut out."""

from __future__ import annotations

import inspect
import sys
from typing import Any, Callable


class Arguments:
    """Raises TypeError where ``fit`` would not take them either."""

    def __init__(self, fit: Callable[..., Any], model: Any, args: Any, kwargs: Any) -> None:
        self._bound = inspect.signature(fit).bind(model, *args, **kwargs)
        self._bound.apply_defaults()

    @property
    def args(self) -> tuple[Any, ...]:
        return self._bound.args

    @property
    def kwargs(self) -> dict[str, Any]:
        return self._bound.kwargs

    def get(self, name: str) -> Any:
        return self._bound.arguments.get(name)

    def put_first(self, callback: Any) -> None:
        """Ours sees the end of an epoch before others load other weights."""
        told = self.get("callbacks")
        listed = getattr(told, "callbacks", None)
        if isinstance(listed, list):  # a CallbackList of the user's
            listed.insert(0, callback)
            return
        theirs = list(told) if isinstance(told, (list, tuple)) else [told] if told else []
        self._bound.arguments["callbacks"] = [callback, *theirs]

    def callback_names(self) -> list[str]:
        told = self.get("callbacks")
        listed = getattr(told, "callbacks", told)
        every = listed if isinstance(listed, (list, tuple)) else [listed] if listed else []
        return [type(one).__name__ for one in every]

    def rows(self) -> int | None:
        """How many examples there are to train on; None where the data does not tell."""
        first = self.get("x")
        while isinstance(first, (list, tuple, dict)) and first:
            first = next(iter(first.values())) if isinstance(first, dict) else first[0]
        shape = getattr(first, "shape", None)
        if not shape or hasattr(self.get("x"), "element_spec"):
            return None
        share = (
            1.0
            if self.get("validation_data") is not None
            else 1.0 - (self.get("validation_split") or 0)
        )
        return int(int(shape[0]) * share)

    def kind(self) -> str:
        kind = type(self.get("x"))
        return f"{kind.__module__}.{kind.__qualname__}"

    def cut(self, part: tuple[int, int]) -> bool:
        """Leave every ``part[1]``-th example, from ``part[0]`` on. False: the data is not divisible."""
        if self.rows() is None:
            return False
        keras: Any = sys.modules["keras"]
        for name in ("x", "y", "sample_weight"):
            value = self.get(name)
            if value is not None:
                chosen = keras.tree.map_structure(lambda one: one[part[0] :: part[1]], value)
                self._bound.arguments[name] = chosen
        return True

    def evaluation(self) -> dict[str, Any] | None:
        """Arguments of ``evaluate`` for the validation data that was given; None without."""
        data = self.get("validation_data")
        if data is None:
            return None
        batch = self.get("validation_batch_size") or self.get("batch_size")
        found = {"batch_size": batch, "steps": self.get("validation_steps"), "verbose": 0}
        if isinstance(data, (list, tuple)):
            found.update(zip(("x", "y", "sample_weight"), data))
        else:
            found["x"] = data
        return found
