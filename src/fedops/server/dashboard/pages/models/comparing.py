"""Two versions side by side: metrics, clients, config, lineage, tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from fedops.core.contracts import ModelComparison, ModelVersionRead
from fedops.core.errors import NotFound
from fedops.server.dashboard.live.page import Page, Panel
from fedops.server.dashboard.web.view import View
from fedops.server.events.news import EventNews
from fedops.server.models import clients_of_versions, comparison, versions

#: How many clients a table shows, and how many tensors.
_CLIENTS, _TENSORS = 20, 20
#: Larger files are not read for a page. Bytes of both.
_LARGEST = 64_000_000


def both(view: View) -> tuple[ModelVersionRead, ModelVersionRead]:
    """The versions that the page is about."""
    task = view.path["task"]

    def read() -> tuple[ModelVersionRead, ModelVersionRead]:
        names = view.path["version"], view.path["other"]
        first, second = (versions.read_version(view.session, task, name) for name in names)
        return first, second

    return view.once("both", read)


def compared(view: View) -> dict[str, Any]:
    """Their metrics, and what led to them."""
    first, second = both(view)
    names = sorted({*first.metrics, *second.metrics})
    return {
        "first": first,
        "second": second,
        "names": names,
        "identical": first.sha256 == second.sha256,
        "facts": _facts(first, second),
        "config": comparison.config_differences(
            first.lineage.get("config") or {}, second.lineage.get("config") or {}
        ),
    }


def _facts(first: ModelVersionRead, second: ModelVersionRead) -> list[tuple[str, str, str]]:
    """Where they come from, in words."""
    words = ("seed", "dataset", "commit", "bundle", "rounds")

    def of(version: ModelVersionRead) -> list[str]:
        devices = version.lineage.get("devices") or {}
        known = [str(version.lineage.get(word) or "–")[:16] for word in words]
        parent = "–" if version.parent is None else f"V{version.parent}"
        run = "–" if version.run_id is None else f"run {version.run_id}"
        return [parent, run, *known, f"{len(devices):,}" if devices else "–"]

    names = ["began from", "made by", "seed", "data set", "commit", "bundle", "rounds", "devices"]
    return list(zip(names, of(first), of(second), strict=True))


def clients(view: View) -> dict[str, Any]:
    """What each client said of both."""
    first, second = both(view)
    found = view.once(
        "clients", lambda: clients_of_versions.client_differences(view.session, first, second)
    )
    name = view.query.get("metric") or next(iter(found), "")
    rows = found.get(name, [])
    return {
        "first": first,
        "second": second,
        "metrics": list(found),
        "metric": name,
        "rows": rows[:_CLIENTS],
        "total": len(rows),
    }


def tensors(view: View) -> dict[str, Any]:
    """How far apart their tensors are."""
    first, second = both(view)
    found = _of(view)
    apart = sorted(found.tensors, key=lambda one: -(one.relative or 0.0)) if found else []
    return {
        "first": first,
        "second": second,
        "found": found,
        "tensors": apart[:_TENSORS],
        "most": max((one.relative or 0.0 for one in apart), default=0.0),
    }


def _of(view: View) -> ModelComparison | None:
    """The comparison of the files. None: they are too large to be read for a page, or not there."""
    first, second = both(view)
    store = view.services.artifacts
    if first.size + second.size > _LARGEST:
        return None
    try:
        paths = store.path(first.sha256), store.path(second.sha256)
    except NotFound:
        return None
    return _compared(_Key(first), _Key(second), paths)


class _Key:
    """A version by what never changes of it."""

    def __init__(self, version: ModelVersionRead) -> None:
        self.version = version
        self._key = version.task, version.version, version.sha256

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=64)
def _compared(first: _Key, second: _Key, files: tuple[Path, Path]) -> ModelComparison:
    return comparison.compare_versions(first.version, second.version, files)


def _title(view: View) -> str:
    first, second = both(view)
    return f"V{first.version} and V{second.version} of {first.task}"


def _concerns(view: View) -> Callable[[EventNews], bool]:
    task = view.path["task"]
    ours = (f"model {task} ", f"alias {task} ")
    return lambda event: event.subject.startswith(ours)


PAGES = (
    Page(
        path="/tasks/{task}/models/{version}/compare/{other}",
        template="model/compare.html",
        section="models",
        title=_title,
        panels=lambda view: (
            Panel("compared", "model/compared.html", compared),
            Panel("clients", "model/compared_clients.html", clients),
            Panel("tensors", "model/compared_tensors.html", tensors),
        ),
        concerns=_concerns,
    ),
)
