"""Which pages, forms and resources this room has."""

from __future__ import annotations

from fedops.server.dashboard.live.page import Page
from fedops.server.dashboard.pages.server import (
    account,
    events,
    join_tokens,
    more,
    notifications,
    settings,
    users,
)
from fedops.server.dashboard.web.forms import Form
from fedops.server.dashboard.web.resources import Resource

PAGES: tuple[Page, ...] = (
    *events.PAGES,
    *more.PAGES,
    *users.PAGES,
    *account.PAGES,
    *join_tokens.PAGES,
    *settings.PAGES,
    *notifications.PAGES,
)
FORMS: tuple[Form, ...] = (
    *users.FORMS,
    *account.FORMS,
    *join_tokens.FORMS,
    *notifications.FORMS,
)
RESOURCES: tuple[Resource, ...] = events.RESOURCES
