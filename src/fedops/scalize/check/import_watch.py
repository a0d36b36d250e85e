"""Whether a project trains when it is imported: seen by what its modules do meanwhile, and for how long.

A thread looks at what the main thread is doing. It ends the process as soon as it is sure, since what a
project does when it is imported may take hours.
"""

from __future__ import annotations

import ast
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from fedops.core.errors import Invalid
from fedops.scalize.check.untouched import State, state_below

#: Between two looks, and how long a loop may take while a module is imported. Seconds.
_LOOK_SECONDS, _LOOP_SECONDS = 0.05, 10.0
#: Functions of these libraries that train, where the project itself calls them.
_TRAINERS = frozenset({"backward", "fit", "fit_generator", "partial_fit", "step", "train_on_batch"})
_LIBRARIES = frozenset(
    {"keras", "lightgbm", "lightning", "pytorch_lightning", "sklearn", "torch", "xgboost"}
)
#: Of scikit-learn, what fits data and no model.
_OF_DATA = ("compose", "decomposition", "feature_extraction", "impute", "preprocessing")
#: Files that models are kept in.
_MODELS = frozenset(
    {".bin", ".ckpt", ".h5", ".joblib", ".keras", ".onnx", ".pkl", ".pt", ".pth", ".safetensors"}
)
_GUARD = 'put what it does as a script under if __name__ == "__main__":'
#: Told what was found, while the project goes on.
Stop = Callable[[str], None]


@dataclass
class ImportWatch:
    """Looks on for as long as the block takes."""

    roots: Sequence[Path]
    stop: Stop
    _ended: threading.Event = field(default_factory=threading.Event)
    _looping: float = 0.0

    def __enter__(self) -> None:
        main = threading.get_ident()
        self._thread = threading.Thread(target=self._look_on, args=(main,), daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look_on(self, main: int) -> None:
        last = time.monotonic()
        while not self._ended.wait(_LOOK_SECONDS):
            now = time.monotonic()
            with contextlib.suppress(Exception):  # a frame may end while it is looked at
                self._look(sys._current_frames()[main], now - last)
            last = now

    def _look(self, frame: FrameType, seconds: float) -> None:
        stack = [*_outwards(frame)]
        own = self._running(stack)
        if not own:
            return
        place = _place(own[-1])
        if trainer := _trainer(stack):
            self.stop(
                f"importing the project trains ({place} calls {trainer}); {_way_out(own[-1])}"
            )
        loop = next((f for f in own if _in_a_loop(f.f_code.co_filename, f.f_lineno)), None)
        self._looping += seconds if loop else 0.0
        if loop and self._looping > _LOOP_SECONDS:
            self.stop(
                f"importing the project has run for {_LOOP_SECONDS:.0f} s in the loop at {_place(loop)}, as "
                f"a training does; {_way_out(own[-1])}"
            )

    def _running(self, stack: Sequence[FrameType]) -> list[FrameType]:
        """The project's frames, innermost first, where a module of its own does more than import another."""
        own = []
        for frame in stack:
            if _is_importing(frame):
                return []
            if self._is_own(frame):
                own.append(frame)
                if frame.f_code.co_name == "<module>":
                    return own
        return []

    def _is_own(self, frame: FrameType) -> bool:
        file = Path(frame.f_code.co_filename)
        return "site-packages" not in file.parts and any(file.is_relative_to(r) for r in self.roots)


@contextlib.contextmanager
def refuse_training(project: Path, roots: Sequence[Path], stop: Stop) -> Iterator[None]:
    """Look on while the modules below ``roots`` are imported in the block.

    Raises:
        Invalid: a file of a model was written below ``project``.
    """
    before = _models_below(project)
    with ImportWatch(roots, stop):
        yield
    now = _models_below(project)
    written = [name for name, state in now.items() if before.get(name) != state]
    if written:
        raise Invalid(f"importing the project writes {written[0]}, as a training does; {_GUARD}")


def _models_below(folder: Path) -> State:
    return {n: s for n, s in state_below(folder).items() if Path(n).suffix.lower() in _MODELS}


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_importing(frame: FrameType) -> bool:
    return "importlib._bootstrap" in frame.f_code.co_filename


def _trainer(stack: Sequence[FrameType]) -> str:
    """The function of a library that is training, if one is."""
    for frame in stack:
        library, _, rest = str(frame.f_globals.get("__name__", "")).partition(".")
        if frame.f_code.co_name == "<module>":
            return ""
        if frame.f_code.co_name in _TRAINERS and library in _LIBRARIES:
            of_data = library == "sklearn" and rest.startswith(_OF_DATA)
            return "" if of_data else f"{library}'s {frame.f_code.co_name}()"
    return ""


def _place(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _way_out(frame: FrameType) -> str:
    script = Path(frame.f_code.co_filename).name
    return f"{_GUARD}, or let its own command be run: fedops init . -- python {script}"


def _in_a_loop(file: str, line: int) -> bool:
    return any(first <= line <= last for first, last in _loops(file))


@cache
def _loops(file: str) -> list[tuple[int, int]]:
    """First and last line of each loop of a file."""
    tree: Any = ast.parse(Path(file).read_bytes())
    kinds = ast.For | ast.While | ast.AsyncFor
    return [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]
