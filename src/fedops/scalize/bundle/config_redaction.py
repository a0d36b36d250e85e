"""The config file of an app as it may leave the device: without the key in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

from fedops.core.errors import Invalid
from fedops.core.validation_messages import REDACTED
from fedops.scalize.flow.project import Project


def config_without_secret(project: Project) -> dict[str, Path | bytes]:
    """Path in the app's bundle -> the config file's content. Empty when it holds no secret.

    Raises:
        Invalid: the key is written in a way that hides it.
    """
    file = project.manifest.config_file
    text = file.read_text(encoding="utf-8")
    secret = _secret(text)
    if not secret:
        return {}
    clean = text.replace(f'"{secret}"', f'"{REDACTED}"').replace(f"'{secret}'", f"'{REDACTED}'")
    if _secret(clean):
        raise Invalid(f"{file}: take [wandb] key out and set WANDB_API_KEY on the device instead")
    return {file.relative_to(project.app_dir).as_posix(): clean.encode()}


def _secret(text: str) -> str:
    key = str(tomllib.loads(text).get("wandb", {}).get("key", ""))
    return "" if key.startswith("your ") or key == REDACTED else key
