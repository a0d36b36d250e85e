"""Which files of a project are its source, and what their modules are called."""

from __future__ import annotations

import os
from pathlib import Path

_SKIPPED = {
    "tests",
    "test",
    "docs",
    "doc",
    "build",
    "dist",
    "node_modules",
    "federated",
    "env",
    "venv",
    "site-packages",
    "notebooks",
    "outputs",
    "wandb",
    "lightning_logs",
    "__pycache__",
}
LIMIT = 2_000  #: files; a project with more is probably not one


def import_root(project: Path) -> Path:
    """``src`` where the project has that layout, else the project's folder."""
    src = project / "src"
    packaged = src.is_dir() and not (src / "__init__.py").exists()
    return src if packaged and any(src.rglob("*.py")) else project


def python_files(project: Path) -> list[Path]:
    """The project's own Python files, in a fixed order."""
    found: list[Path] = []
    for folder, folders, files in os.walk(project):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not _foreign(here / name))
        found += [here / name for name in sorted(files) if _is_source(name)]
    return found


def _foreign(folder: Path) -> bool:
    name = folder.name
    return name.startswith(".") or name in _SKIPPED or (folder / "pyvenv.cfg").exists()


def _is_source(name: str) -> bool:
    ours = not name.startswith("test_") and not name.endswith("_test.py")
    return name.endswith(".py") and ours and name not in {"setup.py", "conftest.py"}


def module_name(file: Path, root: Path) -> str | None:
    """The dotted name under which ``file`` is imported; None when it cannot be."""
    if not file.is_relative_to(root):
        return None
    parts = list(file.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else None
