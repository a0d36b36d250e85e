"""Each backward: the loss, the batch it used, and the first one's proof."""

from __future__ import annotations

import functools
from typing import Any, Callable

from fedops_watch import places
from fedops_watch.ending import Ending
from fedops_watch.pytorch.loaders import Loaders
from fedops_watch.pytorch.put_in import PutIn
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded

#: Losses that are kept as tensors before they are added up.
_MOST = 256


class Backward:
    def __init__(
        self, torch: Any, recorder: Recorder, end: Ending, put_in: PutIn, loaders: Loaders
    ) -> None:
        self._torch, self._recorder, self._end = torch, recorder, end
        self._put_in, self._loaders = put_in, loaders
        self._inside = False
        #: Called with the first loss whose training a model was seen to be put into.
        self.on_first: Callable[[Any], None] = lambda root: None
        self.calls = 0
        self.scaled = False
        self._first: float | None = None
        #: Of the first loss.
        self.where = ""
        self._last: Any = None
        self._sum, self._count = 0.0, 0
        self._new: list[Any] = []

    def install(self) -> None:
        autograd = self._torch.autograd
        run, before = autograd.backward, shielded(self._before)

        @functools.wraps(run)
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if self._inside:  # one that a backward runs itself, such as of a checkpoint
                return run(tensors, *args, **kwargs)
            before(tensors)
            self._inside = True
            try:
                return run(tensors, *args, **kwargs)
            finally:
                self._inside = False

        autograd.backward = backward

    def _before(self, tensors: Any) -> None:
        root = tensors[0] if isinstance(tensors, (list, tuple)) and tensors else tensors
        if self._put_in.armed:
            self._prove(root)
        self.calls += 1
        self._loaders.used()
        if root.numel() == 1:
            self._lose(root)

    def _prove(self, root: Any) -> None:
        self._put_in.prove(root)
        if not self._put_in.armed:
            shielded(self.on_first)(root)
            if self._recorder.job.evaluate_only:
                self._recorder.claim()
                self._end.end("evaluated")

    def _lose(self, root: Any) -> None:
        self._last = root.detach()
        if self._first is None:
            self._first, self.where = float(self._last), places.of_caller()
            self.scaled = _is_scaled(root)
        self._new.append(self._last)
        if len(self._new) >= _MOST:
            self._add_up()

    def _add_up(self) -> None:
        if self._new:
            self._sum += sum(float(loss) for loss in self._new)
            self._count += len(self._new)
            self._new = []

    def losses(self) -> list[float]:
        """The first, the last, the mean."""
        if self._first is None:
            return []
        self._add_up()
        return [self._first, float(self._last), self._sum / self._count]


def _is_scaled(root: Any) -> bool:
    made = getattr(root, "grad_fn", None)
    return made is not None and type(made).__name__ in ("DivBackward0", "MulBackward0")
