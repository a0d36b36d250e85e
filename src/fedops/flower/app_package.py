"""The bundle that an app travels in: one file that Flower can run.

``python -m fedops.flower.app_package APP_DIR BUNDLE_FILE ANSWER_FILE`` makes one without importing the app.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fedops.core.errors import FedOpsError, Invalid
from fedops.environments.project_requirements import read_requirements
from fedops.flower.codec.compat import build_fab
from fedops.processes.spawn import die_with_parent
from fedops.scalize.bundle.bundle_files import carried_files
from fedops.scalize.bundle.config_redaction import config_without_secret
from fedops.scalize.bundle.initial_model import with_initial_model
from fedops.scalize.bundle.plain_apps import described_files
from fedops.scalize.flow.project import Project


def build_bundle(app_dir: Path) -> bytes:
    """The app as one file that Flower can run: its code and config, no data.

    Raises:
        Invalid: it is no app folder, or Flower does not accept it.
    """
    project = Project.open(app_dir)  # says what is wrong with it in our words
    changed = {
        **carried_files(app_dir),
        **config_without_secret(project),
        **described_files(project.manifest),
    }
    try:
        bundle = build_fab(app_dir, changed)
    except (ValueError, OSError) as error:
        raise Invalid(f"{app_dir} cannot be bundled as a Flower app: {error}") from None
    return with_initial_model(bundle, project)


def main(app_dir: str, bundle: str, answer: str) -> None:
    """Write the app's bundle, and into the file ``answer`` what it requires, or what is wrong with it."""
    die_with_parent()
    told: dict[str, Any] = {"problem": ""}
    try:
        Path(bundle).write_bytes(build_bundle(Path(app_dir)))
        told["requirements"] = read_requirements(Path(app_dir))
    except FedOpsError as error:
        told["problem"] = error.message
    Path(answer).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:4])
