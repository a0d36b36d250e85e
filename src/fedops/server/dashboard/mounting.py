"""The dashboard as a part of the Server Manager's app: every page, every form, the WebSocket, the assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import FastAPI
from starlette.routing import Match, Route, WebSocketRoute

from fedops.server.dashboard import serving
from fedops.server.dashboard.live.hub import LiveHub
from fedops.server.dashboard.live.page import Page
from fedops.server.dashboard.live.socket import Finder, LiveSocket
from fedops.server.dashboard.pages.delivery import listing as delivery
from fedops.server.dashboard.pages.devices import listing as devices
from fedops.server.dashboard.pages.home import listing as home
from fedops.server.dashboard.pages.models import listing as models
from fedops.server.dashboard.pages.runs import listing as runs
from fedops.server.dashboard.pages.server import listing as server
from fedops.server.dashboard.pages.server import sign_in, theme
from fedops.server.dashboard.pages.tasks import listing as tasks
from fedops.server.dashboard.web import assets
from fedops.server.dashboard.web.forms import Form
from fedops.server.dashboard.web.resources import Resource
from fedops.server.services.services import Services

_ROOMS = (home, runs, tasks, devices, models, delivery, server)
PAGES: tuple[Page, ...] = tuple(page for room in _ROOMS for page in room.PAGES)
FORMS: tuple[Form, ...] = tuple(form for room in _ROOMS for form in room.FORMS)
RESOURCES: tuple[Resource, ...] = tuple(one for room in _ROOMS for one in room.RESOURCES)
EVERYTHING = "/{path:path}"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def mount(app: FastAPI, services: Services) -> LiveHub:
    """Add the dashboard to the Server Manager's app. Whoever ends the app closes the hub."""
    hub = LiveHub(services)
    services.measures.also(hub.levels)
    shown = [Route(page.path, serving.page_endpoint(page), methods=["GET"]) for page in PAGES]
    live = LiveSocket(services, hub, _finder(PAGES, shown))
    app.router.routes.extend(
        [
            *sign_in.router.routes,
            *theme.router.routes,
            Route(f"{assets.PREFIX}/{{name}}", assets.serve_asset, methods=["GET"]),
            *(Route(one.path, serving.resource_endpoint(one)) for one in RESOURCES),
            *_form_routes(FORMS),
            *shown,
            WebSocketRoute("/live", live.answer),
            Route(EVERYTHING, serving.otherwise(), methods=_METHODS),
        ]
    )
    return hub


def _form_routes(forms: Sequence[Form]) -> list[Route]:
    routes = []
    for form in forms:
        show, take = serving.form_endpoints(form)
        routes += [
            Route(form.path, show, methods=["GET"]),
            Route(form.path, take, methods=["POST"]),
        ]
    return routes


def _finder(pages: Sequence[Page], routes: Sequence[Route]) -> Finder:
    """Which page is at a path."""

    def find(path: str) -> tuple[Page, Mapping[str, str]] | None:
        scope = {"type": "http", "path": path, "method": "GET", "headers": []}
        for page, route in zip(pages, routes, strict=True):
            match, found = route.matches(scope)
            if match is Match.FULL:
                return page, found["path_params"]
        return None

    return find
