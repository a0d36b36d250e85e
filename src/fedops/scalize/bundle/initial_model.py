"""The initial model of an app that is trained by its own command, as it travels in the app's bundle.

Flower's bundles hold source only. The server makes V0 of this file, since it never runs the command.
"""

from __future__ import annotations

import io
import zipfile

from fedops.scalize.flow.project import Project
from fedops.scalize.script.observation import INITIAL, Observation

#: As in Flower's bundles: the same app gives the same bytes.
_DATE = (2024, 10, 1, 0, 0, 0)


def with_initial_model(bundle: bytes, project: Project) -> bytes:
    """The bundle, with the initial model of an app that has ``[script]``.

    Raises:
        Invalid: the model is missing, damaged or not the observed one.
    """
    script = project.config.script
    if script is None:
        return bundle
    Observation.read(project.app_dir, script).initial()
    buffer = io.BytesIO(bundle)
    entry = zipfile.ZipInfo(INITIAL, _DATE)
    entry.external_attr = 0o600 << 16
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(entry, (project.app_dir / INITIAL).read_bytes())
    return buffer.getvalue()
