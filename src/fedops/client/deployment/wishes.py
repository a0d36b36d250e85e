"""What the server wants of this device, looked at before any of it names a file here."""

from __future__ import annotations

import re

from fedops.core.contracts import BlobRef, DesiredDeployment, Work
from fedops.core.errors import Invalid
from fedops.storage.app_archives import is_inside
from fedops.storage.blobs import is_digest

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def wish_for(work: Work, task: str) -> DesiredDeployment | None:
    """What is to run for a task. None: the server names nothing.

    Raises:
        Invalid: it is nothing that a server of ours would want.
    """
    wish = next((one for one in work.deployments if one.task == task), None)
    if wish is not None:
        _check(wish)
    return wish


def _check(wish: DesiredDeployment) -> None:
    if not _COMMIT.fullmatch(wish.commit):
        raise Invalid(f"the server names '{wish.commit[:80]}', which is no commit")
    for blob in (wish.bundle, wish.pack, wish.model):
        if isinstance(blob, BlobRef) and not is_digest(blob.sha256):
            raise Invalid(f"the server names '{blob.sha256[:80]}', which is no digest of a file")
    if wish.subfolder and (not is_inside(wish.subfolder) or wish.subfolder.startswith("-")):
        raise Invalid(f"the server names '{wish.subfolder[:80]}', which is no folder of an app")
