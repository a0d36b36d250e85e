"""Which pages, forms and resources this room has."""

from __future__ import annotations

from fedops.server.dashboard.live.page import Page
from fedops.server.dashboard.pages.devices import device, joining, listed, upgrading
from fedops.server.dashboard.web.forms import Form
from fedops.server.dashboard.web.resources import Resource

PAGES: tuple[Page, ...] = (*listed.PAGES, *device.PAGES, *joining.PAGES)
FORMS: tuple[Form, ...] = (*upgrading.FORMS, *listed.FORMS, *device.FORMS, *joining.FORMS)
RESOURCES: tuple[Resource, ...] = ()
