"""Which pages, forms and resources this room has."""

from __future__ import annotations

from fedops.server.dashboard.live.page import Page
from fedops.server.dashboard.pages.server import events, more
from fedops.server.dashboard.web.forms import Form
from fedops.server.dashboard.web.resources import Resource

PAGES: tuple[Page, ...] = (*events.PAGES, *more.PAGES)
FORMS: tuple[Form, ...] = ()
RESOURCES: tuple[Resource, ...] = ()
