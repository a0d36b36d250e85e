"""What an app made from functions leaves out of its project's training, as the two are now."""

from __future__ import annotations

from fedops.config.schema import Config
from fedops.core.errors import Invalid
from fedops.scalize.discovery.differences import Difference, kept_differences
from fedops.scalize.discovery.scaffold import propose
from fedops.scalize.flow.manifest import Manifest


def differences_of_app(manifest: Manifest, config: Config) -> list[Difference]:
    """Looked for anew where ``fedops init`` made the app from functions, so that edits count.

    What init wrote is taken where a step is not in the project itself, such as one in the app's folder.

    Raises:
        Invalid: what init wrote is no list of differences.
    """
    if manifest.workdir is None or config.script is not None or config.model is None:
        return kept_differences(manifest.app_dir)
    steps = {
        "model": config.model.target,
        "data": (config.data.target if config.data else "") or manifest.flow.data,
        "train": (config.train.target if config.train else "") or manifest.flow.train,
        "evaluate": (config.evaluate.target if config.evaluate else "") or manifest.flow.evaluate,
    }
    try:
        return list(propose(manifest.workdir).with_answers(steps).differences)
    except Invalid:
        return kept_differences(manifest.app_dir)
