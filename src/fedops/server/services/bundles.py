"""Apps that are handed in: looked into, then known to the server, or gone again."""

from __future__ import annotations

from fedops.core.contracts import BlobRef
from fedops.core.errors import Invalid
from fedops.server.services.services import Services
from fedops.server.tasks import app_bundles


def register_bundle(server: Services, ref: BlobRef, commit: str | None) -> BlobRef:
    """Know a stored file as an app. ``Invalid``: it is none, and is not kept.

    ``commit``: the Git commit that its files were at.
    """
    try:  # whatever it holds, no transaction waits for it
        bundle = app_bundles.read_bundle(server.artifacts.path(ref.sha256))
    except Invalid:
        with server.db.write() as session:
            app_bundles.discard(session, ref, server.artifacts)
        raise
    with server.db.write() as session:
        app_bundles.register(session, ref, bundle, server.clock(), commit)
    return ref
