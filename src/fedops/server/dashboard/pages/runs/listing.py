"""Which pages, forms and resources this room has."""

from __future__ import annotations

from fedops.server.dashboard.live.page import Page
from fedops.server.dashboard.pages.runs import (
    compare,
    export,
    follow_ups,
    run,
    runs_list,
    who_did_what,
)
from fedops.server.dashboard.web.forms import Form
from fedops.server.dashboard.web.resources import Resource

PAGES: tuple[Page, ...] = (
    *compare.PAGES,  # before the run, whose path has room for any word
    *run.PAGES,
    *runs_list.PAGES,
)
FORMS: tuple[Form, ...] = (
    *run.FORMS,
    *follow_ups.FORMS,
)
RESOURCES: tuple[Resource, ...] = (
    *who_did_what.RESOURCES,
    *export.RESOURCES,
)
