"""Which pages, forms and resources this room has."""

from __future__ import annotations

from fedops.server.dashboard.live.page import Page
from fedops.server.dashboard.pages.tasks import (
    changing,
    scheduling,
    sources,
    starting,
    task,
    tasks_list,
    uploading,
)
from fedops.server.dashboard.web.forms import Form
from fedops.server.dashboard.web.resources import Resource

PAGES: tuple[Page, ...] = (
    *task.PAGES,
    *tasks_list.PAGES,
)
FORMS: tuple[Form, ...] = (
    *starting.FORMS,
    *changing.FORMS,
    *sources.FORMS,
    *uploading.FORMS,
    *scheduling.FORMS,
)
RESOURCES: tuple[Resource, ...] = ()
