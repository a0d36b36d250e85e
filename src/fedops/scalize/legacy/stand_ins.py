"""What a FedOps 1 project imports from its ``fedops``, in a process that runs such a project.

FedOps 2 has the same name, so modules that only FedOps 1 had are made here: those that take what a project
registers do that and no more; what belongs to other modules says, when it is used, that it is not there.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from fedops.core.errors import Invalid

#: Modules that a project may import from, and what of them works.
PROVIDED: Mapping[str, tuple[str, ...]] = {
    "fedops.client.app": ("FLClientTask",),
    "fedops.client.client_utils": (
        "FLClientStatus",
        "download_local_model",
        "get_hostname",
        "get_mac_address",
        "local_model_directory",
    ),
    "fedops.server.app": ("FLServer",),
    "fedops.utils": (),
}
#: Ours has a module of that name, which the stand-in hides only while a project's main runs.
_SHARED = "fedops.server.app"
_HYDRA_ERRORS = "HYDRA_FULL_ERROR"


@dataclass
class Registrations:
    """What the project's two programs have registered."""

    client: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)


_taken = Registrations()


class FLClientTask:
    """Takes what ``client_main.py`` registers. Starting it does nothing: FedOps 2 calls its parts."""

    def __init__(
        self, cfg: Any, fl_task: Mapping[str, Any] | None = None, xai: bool = False
    ) -> None:
        _taken.client = {**(fl_task or {}), "cfg": cfg}

    def start(self) -> None: ...


class FLServer:
    """Takes what ``server_main.py`` gives: the model, its validation data and the test function."""

    def __init__(self, cfg: Any = None, model: Any = None, *rest: Any, **named: Any) -> None:
        _taken.server = {"cfg": cfg, "model": model, **named}

    def start(self) -> None: ...


class FLClientStatus:
    """The state that FedOps 1 kept of a client."""

    task_id = client_mac = client_name = ""
    client_num = gl_model = 0
    client_online, client_start, client_fail = True, False, False
    server_IP: str | None = None


def _local_model_directory(task_id: str) -> list[str]:
    """FedOps 2 sends the model of each round: there are no local ones to begin from."""
    return []


def _download_local_model(
    model_type: str = "", task_id: str = "", listdir: Any = (), model: Any = None
) -> Any:
    return model


_NAMES: Mapping[str, Mapping[str, Any]] = {
    "fedops.client.app": {"FLClientTask": FLClientTask},
    "fedops.client.client_utils": {
        "FLClientStatus": FLClientStatus,
        "download_local_model": _download_local_model,
        "get_hostname": lambda: "",
        "get_mac_address": lambda: "",
        "local_model_directory": _local_model_directory,
    },
    _SHARED: {"FLServer": FLServer},
    "fedops.utils": {},
}


def _module(name: str) -> ModuleType:
    made = ModuleType(name, f"What FedOps 1 had as {name}.")
    made.__dict__.update(_NAMES[name])
    if name == "fedops.utils":
        made.__path__ = []

    def missing(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        raise ImportError(_not_there(f"{name}.{attribute}"), name=name)

    made.__dict__["__getattr__"] = missing
    return made


def _not_there(name: str) -> str:
    return (
        f"'{name}' of FedOps 1 is not in FedOps 2; 'fedops init' names what to write in its place"
    )


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the stand-ins, last: what FedOps 2 has itself is not hidden."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name in _NAMES and name != _SHARED:
            return importlib.util.spec_from_loader(name, self, is_package=name == "fedops.utils")
        if name.startswith(("fedops.utils.", "fedops.client.client_", "fedops.simulation")):
            raise ModuleNotFoundError(_not_there(name), name=name)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _module(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...


_finder = _Finder()


def install() -> None:
    """From now on this process finds the stand-ins, also when a step imports one only as it runs."""
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)


@contextmanager
def running(arguments: Sequence[str]) -> Iterator[Registrations]:
    """While a project's main runs: with these arguments, and the stand-in for the server first.

    What it registers is in the answer. Hydra lets its errors through, and does not end the process.
    """
    global _taken
    install()
    _taken = taken = Registrations()
    before, here, argv = sys.modules.get(_SHARED), os.getcwd(), sys.argv
    errors = os.environ.get(_HYDRA_ERRORS)
    os.environ[_HYDRA_ERRORS] = "1"
    sys.modules[_SHARED] = _module(_SHARED)
    sys.argv = list(arguments)
    try:
        yield taken
    finally:
        os.environ.pop(_HYDRA_ERRORS)
        if errors is not None:
            os.environ[_HYDRA_ERRORS] = errors
        sys.argv = argv
        os.chdir(here)
        if before is None:
            del sys.modules[_SHARED]
        else:
            sys.modules[_SHARED] = before


def require(found: Mapping[str, Any], keys: Sequence[str], program: str) -> None:
    """``Invalid`` when a program has registered nothing, or without one of these."""
    if not found:
        raise Invalid(
            f"{program} registered nothing: it ended before FLClientTask(...) or FLServer(...)"
        )
    for key in keys:
        if key not in found:
            raise Invalid(f"{program} registers no '{key}', which FedOps 2 needs")
