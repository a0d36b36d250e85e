"""Tells when a module has run. Looking for it, as ``importlib.util.find_spec`` does, uses nothing up."""

from __future__ import annotations

import sys
from typing import Any, Callable

from fedops_watch import shield

Callback = Callable[[Any], None]


class Finder:
    """Stands first among the finders and leaves finding to the others: it only wraps the running."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Callback]] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in self.waiting:
            return None
        for finder in list(sys.meta_path):
            look = getattr(finder, "find_spec", None)
            spec = look(name, path, target) if look is not None and finder is not self else None
            if spec is not None:
                self._watch(name, spec.loader)
                return spec
        return None

    def _watch(self, name: str, loader: Any) -> None:
        run = getattr(loader, "exec_module", None)
        if run is None:
            return

        def exec_module(module: Any) -> None:
            loader.__dict__.pop("exec_module", None)
            run(module)
            self.has_run(name, module)

        try:
            loader.exec_module = exec_module
        except AttributeError as error:  # a loader of another kind: what it loads is not seen
            shield.record("finder " + name, error)

    def has_run(self, name: str, module: Any) -> None:
        for callback in self.waiting.pop(name, []):
            shield.shielded(callback)(module)
        if not self.waiting and self in sys.meta_path:
            sys.meta_path.remove(self)


_finder = Finder()


def when_run(name: str, callback: Callback) -> None:
    """Call ``callback(module)`` once the module of this name has run; at once, where it already has."""
    module = sys.modules.get(name)
    if module is not None and not _is_running(module):
        shield.shielded(callback)(module)
        return
    _finder.waiting.setdefault(name, []).append(callback)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def _is_running(module: Any) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
