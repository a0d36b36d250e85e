"""An app of plain Flower on its way to the server: what FedOps has to know of it is added to its bundle.

Its folder stays as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w

from fedops.config.loading import read_toml
from fedops.core.errors import Conflict
from fedops.scalize.flow.manifest import Manifest

#: The config in the bundle.
CONFIG = "fedops-config.toml"


def described_files(manifest: Manifest) -> dict[str, Path | bytes]:
    """Bundle path -> content. Empty for an app that says itself what FedOps has to know.

    Raises:
        Conflict: the app has a file of that name.
    """
    if manifest.plain_config is None:
        return {}
    if (manifest.app_dir / CONFIG).exists():
        raise Conflict(
            f"{manifest.app_dir / CONFIG}: rename it, FedOps puts a file of this name there"
        )
    data: dict[str, Any] = read_toml(manifest.app_dir / "pyproject.toml")
    data["tool"]["fedops"] = {
        "package": list(manifest.packages),
        "config": CONFIG,
        "serverapp": "own",
    }
    return {
        "pyproject.toml": tomli_w.dumps(data).encode(),
        CONFIG: tomli_w.dumps(dict(manifest.plain_config)).encode(),
    }
