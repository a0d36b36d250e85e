"""The bundle that an app travels in: one file that Flower can run."""

from __future__ import annotations

from pathlib import Path

from fedops.core.errors import Invalid
from fedops.flower.codec.compat import build_fab
from fedops.scalize.bundle.bundle_files import carried_files
from fedops.scalize.bundle.config_redaction import config_without_secret
from fedops.scalize.flow.project import Project


def build_bundle(app_dir: Path) -> bytes:
    """The app as one file that Flower can run: its code and config, no data.

    Raises:
        Invalid: it is no app folder, or Flower does not accept it.
    """
    project = Project.open(app_dir)  # says what is wrong with it in our words
    changed = {**carried_files(app_dir), **config_without_secret(project)}
    try:
        return build_fab(app_dir, changed)
    except (ValueError, OSError) as error:
        raise Invalid(f"{app_dir} cannot be bundled as a Flower app: {error}") from None
