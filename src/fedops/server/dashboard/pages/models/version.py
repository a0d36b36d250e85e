"""A version of a model: whether one ships it. What it is worth, where it comes from, who has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedops.core.contracts import AliasRead, ModelVersionRead
from fedops.core.contracts.models import SERVING
from fedops.server.dashboard.live.page import Page, Panel
from fedops.server.dashboard.web.view import View
from fedops.server.delivery.serving.serving_views import serving_read
from fedops.server.events.news import EventNews
from fedops.server.models import aliases, versions

#: How many devices a table shows.
_MOST = 30


def version_of(view: View) -> ModelVersionRead:
    """The version that the page is about."""
    task, name = view.path["task"], view.path["version"]
    return view.once("version", lambda: versions.read_version(view.session, task, name))


def aliases_of(view: View) -> list[AliasRead]:
    """The aliases of its task."""
    task = view.path["task"]
    return view.once("aliases", lambda: aliases.list_aliases(view.session, task))


def head(view: View) -> dict[str, Any]:
    """What it is, and its buttons."""
    version = version_of(view)
    return {
        "version": version,
        "here": path_of(version),
        "file_state": _file_state(view, version),
        "back": [name for name in version.aliases if _moves(view, name) > 1],
        "verdict": _verdict(version),
        "ships": ships(view, version),
    }


def ships(view: View, version: ModelVersionRead) -> str:
    """Whether one would ship it, in a sentence."""
    serving = _named(view, SERVING)
    if version.quarantine:
        return f"Not to be shipped: it is quarantined, {version.quarantine}."
    if serving == version.version:
        return "It is the version that is serving."
    if version.version == 0:
        return "The initial model, which no device has trained."
    now = f"V{serving} is serving" if serving is not None else "no version is serving yet"
    if versions.LATEST in version.aliases:
        return f"The newest sound version of the task; {now}."
    return f"Sound, and not the newest; {now}."


def _verdict(version: ModelVersionRead) -> str:
    return str(version.lineage.get("gate") or "")


def _file_state(view: View, version: ModelVersionRead) -> str:
    """What is wrong with its file, as far as that is seen without reading it."""
    store = view.services.artifacts
    if not store.exists(version.sha256):
        return "its file is missing: bring it back from a backup"
    size = store.size(version.sha256)
    return "" if size == version.size else f"its file has {size:,} bytes, not {version.size:,}"


def _moves(view: View, name: str) -> int:
    found = [alias for alias in aliases_of(view) if alias.name == name != versions.LATEST]
    return sum(move.undone_at is None for alias in found for move in alias.moves)


def _named(view: View, name: str) -> int | None:
    return next((alias.version for alias in aliases_of(view) if alias.name == name), None)


def metrics(view: View) -> dict[str, Any]:
    """Its metrics beside those of its parent and of the version that is serving."""
    version = version_of(view)
    others = [(version.parent, "parent"), (_named(view, SERVING), SERVING)]
    beside = [
        (versions.read_version(view.session, version.task, f"V{number}"), word)
        for number, word in others
        if number is not None and number != version.version
    ]
    if len(beside) == 2 and beside[0][0].version == beside[1][0].version:
        beside = [(beside[0][0], f"parent and {SERVING}")]
    names = sorted({name for one in (version, *(b for b, _ in beside)) for name in one.metrics})
    return {"version": version, "beside": beside, "names": names}


def lineage(view: View) -> dict[str, Any]:
    """Where it comes from: versions, run, code, data, devices."""
    version = version_of(view)
    devices = version.lineage.get("devices") or {}
    ranked = sorted(devices.items(), key=lambda one: (-int(one[1].get("examples", 0)), one[0]))
    return {
        "version": version,
        "line": versions.ancestors(view.session, version.task, version.version),
        "lineage": version.lineage,
        "devices": ranked[:_MOST],
        "device_count": len(devices),
        "examples": sum(int(one.get("examples", 0)) for one in devices.values()),
        "config": sorted(_flat(version.lineage.get("config") or {})),
    }


def _flat(config: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", str(value)))
    return found


def served(view: View) -> dict[str, Any]:
    """The devices that have it, or are to have it, and how far they are."""
    version = version_of(view)
    found = [
        one
        for one in serving_read(view.session, version.task, view.now)
        if version.version in (one.desired, one.actual)
    ]
    trouble = sorted(found, key=lambda one: (one.synced, one.device))
    names = {one.alias for one in found} | set(version.aliases)
    return {
        "version": version,
        "serving": trouble[:_MOST],
        "total": len(found),
        "synced": sum(one.synced for one in found),
        "moves": [
            (alias.name, move)
            for alias in aliases_of(view)
            if alias.name in names
            for move in alias.moves[:5]
        ],
    }


def ways(view: View) -> dict[str, Any]:
    """How one takes it elsewhere, and what it can be compared with."""
    version = version_of(view)
    near = versions.newest_versions(view.session, version.task, view.tasks, 30)
    return {
        "version": version,
        "here": path_of(version),
        "others": [one for one in near if one.version != version.version],
    }


def path_of(version: ModelVersionRead) -> str:
    """The page of a version."""
    return f"/tasks/{version.task}/models/V{version.version}"


def _concerns(view: View) -> Callable[[EventNews], bool]:
    version = version_of(view)
    ours = (f"model {version.task} V{version.version}", f"alias {version.task} ")
    return lambda event: event.subject.startswith(ours)


def title_of(view: View) -> str:
    """What the page is called."""
    version = version_of(view)
    return f"V{version.version} of {version.task}"


PAGES = (
    Page(
        path="/tasks/{task}/models/{version}",
        template="model/page.html",
        section="models",
        title=title_of,
        panels=lambda view: (
            Panel("head", "model/head.html", head),
            Panel("metrics", "model/metrics.html", metrics),
            Panel("served", "model/served.html", served),
            Panel("lineage", "model/lineage.html", lineage),
            Panel("ways", "model/ways.html", ways),
        ),
        concerns=_concerns,
    ),
)
