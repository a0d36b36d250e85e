"""The bundle that an app travels in: one file that Flower can run."""

from __future__ import annotations

from pathlib import Path

from fedops.core.errors import Invalid
from fedops.flower.compat import build_fab
from fedops.scalize.carry import carried_files
from fedops.scalize.project import Project
from fedops.scalize.secrecy import config_without_secret


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
