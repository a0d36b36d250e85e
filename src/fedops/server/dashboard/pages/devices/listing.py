"""Which pages, forms and resources this room has."""

from __future__ import annotations

from fedops.server.dashboard.live.page import Page
from fedops.server.dashboard.pages.devices import device, devices_list
from fedops.server.dashboard.web.forms import Form
from fedops.server.dashboard.web.resources import Resource

PAGES: tuple[Page, ...] = (
    *device.PAGES,
    *devices_list.PAGES,
)
FORMS: tuple[Form, ...] = (*device.FORMS,)
RESOURCES: tuple[Resource, ...] = ()
