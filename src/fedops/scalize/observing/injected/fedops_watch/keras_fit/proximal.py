"""FedProx inside a Keras optimizer: mu times the way from the received weights, added to each gradient."""

from __future__ import annotations

import sys
from typing import Any

from fedops_watch.job import Job
from fedops_watch.keras_fit import weights
from fedops_watch.keras_fit.fits import Fits


class Proximal:
    def __init__(self, job: Job, fits: Fits) -> None:
        self._mu = job.proximal_mu
        self._fits = fits
        #: The received values, by the variables.
        self._anchors: dict[int, Any] = {}

    @property
    def on(self) -> bool:
        return bool(self._mu) and self._fits.now is not None

    def pulled(self, optimizer: Any, grads: Any, args: Any, kwargs: Any) -> list[Any]:
        """The gradients with the term."""
        keras: Any = sys.modules["keras"]
        told = args[0] if args else kwargs.get("trainable_variables")
        variables = told or optimizer._trainable_variables
        found = []
        for gradient, variable in zip(list(grads), variables):
            if gradient is not None:
                anchor = keras.ops.convert_to_tensor(self._anchor(variable), dtype=variable.dtype)
                way = variable - anchor
                gradient = gradient + keras.ops.cast(self._mu * way, gradient.dtype)
            found.append(gradient)
        return found

    def _anchor(self, variable: Any) -> Any:
        """The received value, a constant also where a compiler traces."""
        asked = self._fits.now
        if id(variable) not in self._anchors and asked is not None and asked.fitted is not None:
            for name, one in weights.named_variables(asked.model).items():
                self._anchors[id(one)] = (asked.fitted.given or asked.fitted.start)[name]
        return self._anchors[id(variable)]
