"""Which pages, forms and resources this room has."""

from __future__ import annotations

from fedops.server.dashboard.live.page import Page
from fedops.server.dashboard.pages.models import (
    comparing,
    contribution,
    explanations,
    version,
    version_forms,
    versions,
)
from fedops.server.dashboard.web.forms import Form
from fedops.server.dashboard.web.resources import Resource

PAGES: tuple[Page, ...] = (
    *versions.PAGES,
    *version.PAGES,
    *comparing.PAGES,
    *contribution.PAGES,
    *explanations.PAGES,
)
FORMS: tuple[Form, ...] = (*version_forms.FORMS,)
RESOURCES: tuple[Resource, ...] = (
    *versions.RESOURCES,
    *version_forms.RESOURCES,
    *explanations.RESOURCES,
)
