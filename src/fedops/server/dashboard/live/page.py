"""A page is made of panels, a panel of page data and a template. Each is drawn again when it changes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fedops.server.dashboard.web.templates import render
from fedops.server.dashboard.web.view import View
from fedops.server.events.news import EventNews

Data = Mapping[str, Any]
#: What only grows older is no change: a script of the page lets it go on.
_AGE = re.compile(r"(<time [^>]*>)[^<]*")


@dataclass(frozen=True)
class Panel:
    """A part of a page that is drawn on its own."""

    #: The id of its element, unique in its page.
    name: str
    template: str
    read: Callable[[View], Data]
    #: It is drawn again for events whose names begin with one of these. Empty: for every event of its page.
    #: Whatever is no event (progress, logs, time) is seen by the sweep.
    on: tuple[str, ...] = ()
    #: What all that it shows is read from, told cheaply: for events it is drawn only if this is another.
    stamp: Callable[[View], object] | None = None

    def concerns(self, events: list[EventNews]) -> bool:
        """Whether it may look different after these events of its page."""
        return not self.on or any(event.name.startswith(self.on) for event in events)


@dataclass(frozen=True)
class Page:
    """A page with an address of its own."""

    #: Such as ``/runs/{run_id}``; its rule is that of ``GET`` this path.
    path: str
    #: The page around its panels.
    template: str
    #: The place in the navigation: "overview", "tasks", "runs", "devices", "models", "delivery", "more".
    section: str
    title: Callable[[View], str]
    panels: Callable[[View], tuple[Panel, ...]]
    #: Whether an event may change what this page shows.
    concerns: Callable[[View], Callable[[EventNews], bool]]
    #: What is told to the page around the panels, once.
    around: Callable[[View], Data] = lambda view: {}
    #: It shows what is this user's alone: nobody shares what is drawn.
    personal: bool = False


@dataclass(frozen=True)
class Drawn:
    """A panel as it was drawn."""

    html: str
    #: Another one whenever the text is.
    digest: str
    #: What its panel's was then.
    stamp: object = None


def draw(panel: Panel, view: View) -> Drawn:
    """A panel with what it shows now."""
    html = render(panel.template, view=view, **panel.read(view))
    digest = hashlib.sha256(_AGE.sub(r"\1", html).encode()).hexdigest()[:16]
    return Drawn(html, digest, panel.stamp(view) if panel.stamp else None)


def any_event(_: View) -> Callable[[EventNews], bool]:
    """For pages that every event may change."""
    return lambda event: True


def event_of_run(view: View) -> Callable[[EventNews], bool]:
    """For the page of a run."""
    run_id = int(view.path["run_id"])
    return lambda event: event.run_id == run_id


def draw_anew(
    panels: Iterable[Panel],
    view: View,
    events: list[EventNews] | None,
    before: Mapping[str, Drawn],
) -> dict[str, Drawn]:
    """The panels that may look different after these events (None: all) than they did before."""
    return {
        panel.name: draw(panel, view)
        for panel in panels
        if events is None
        or (panel.concerns(events) and not _is_as_before(panel, view, before.get(panel.name)))
    }


def _is_as_before(panel: Panel, view: View, before: Drawn | None) -> bool:
    return panel.stamp is not None and before is not None and panel.stamp(view) == before.stamp
