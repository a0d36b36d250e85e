"""What this server runs with: its settings, TLS, versions, storage and health."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from typing import Any

from fedops.core.redaction import names_a_secret, redact
from fedops.processes.environment import describe_environment
from fedops.server.dashboard.live.page import Page, Panel, any_event
from fedops.server.dashboard.web.view import View
from fedops.server.database import upgrade
from fedops.server.database.last_backup import last_backup
from fedops.server.peers.who_leads import who_leads
from fedops.server.services.health import find_shortage
from fedops.server.tls.endpoint import ca_fingerprint, certificate_until, join_url

#: A backup that is older is worth a word. Seconds.
_OLD_BACKUP = 7 * 86_400.0
#: Never shown, beside what is called a secret: an account, and an address that has a password in it.
_SECRET = frozenset({"s3_access_key_id", "database_url"})


def settings(view: View) -> dict[str, Any]:
    """All settings with their values, and whether they were set. Secrets are not shown."""
    own = view.services.settings
    rows = []
    for name in type(own).model_fields:
        value = getattr(own, name)
        if name in _SECRET or names_a_secret(name):
            value = "set, not shown" if value else None
        rows.append(
            (
                name,
                "–" if value is None or value == "" else redact(str(value)),
                name in own.model_fields_set,
            )
        )
    return {"rows": rows}


def state(view: View) -> dict[str, Any]:
    """TLS, versions, storage and health."""
    own = view.services.settings
    disk, lacking = shutil.disk_usage(own.home), find_shortage(own.home)
    return {
        "version": version("fedops"),
        "environment": describe_environment(),
        "database": own.database.split(":", 1)[0].split("+", 1)[0],
        "fingerprint": ca_fingerprint(own),
        "until": certificate_until(own),
        "join_url": join_url(own),
        "tls": own.uses_tls,
        "own": own,
        "blobs": own.blobs_url or str(own.home),
        "revision": upgrade.head(),
        "disk": disk,
        "problem": f"{lacking.named()}: {lacking.remedy}" if lacking else "",
    }


def storage(view: View) -> dict[str, Any]:
    """How much is kept, by kind; counted in the background."""
    services = view.services
    return {
        "stored": services.storage.latest(),
        "backup": last_backup(services.settings.home),
        "on_sqlite": services.db.is_sqlite,
        "old_seconds": _OLD_BACKUP,
    }


def processes(view: View) -> dict[str, Any]:
    """This process and, where several serve the database, which one leads."""
    leadership = view.services.leadership
    return {
        "shared": leadership.shared,
        "leads": leadership.leads,
        "leader": who_leads(view.session, view.now) if leadership.shared else None,
        "engines": view.services.engine_why,
    }


PAGES = (
    Page(
        path="/settings",
        template="server/settings_page.html",
        section="more",
        title=lambda view: "Settings",
        panels=lambda view: (
            Panel("state", "server/settings_state.html", state),
            Panel("storage", "server/settings_storage.html", storage),
            Panel("processes", "server/settings_processes.html", processes),
            Panel("settings", "server/settings.html", settings),
        ),
        concerns=any_event,
    ),
)
