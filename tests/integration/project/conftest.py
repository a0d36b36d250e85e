"""Each test gets a project, and leaves nothing imported of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project_files import CONFIG, DATA, NETS, PYPROJECT


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.split(".")[0] in ("myapp", "lone"):
            del sys.modules[name]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    package = tmp_path / "app" / "myapp"
    (package / "conf").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "nets.py").write_text(NETS)
    (package / "data.py").write_text(DATA)
    (package / "conf" / "config.toml").write_text(CONFIG)
    (tmp_path / "app" / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path / "app"
