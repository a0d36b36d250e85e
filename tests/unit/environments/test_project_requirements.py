"""What an app requires is read from its own files; what cannot be installed elsewhere is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedops.core.errors import Invalid
from fedops.environments.project_requirements import read_requirements

PROJECT = """
[project]
name = "x"
version = "1"
requires-python = ">=3.11"
dependencies = ["numpy>=2", "Pandas [x] > 1"]
"""
UV_LOCK = """
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "colorama"
version = "0.4.6"
source = { registry = "https://pypi.org/simple" }
sdist = { url = "https://example.org/colorama-0.4.6.tar.gz", hash = "sha256:HASH" }

[[package]]
name = "click"
version = "8.1.8"
source = { registry = "https://pypi.org/simple" }
dependencies = [{ name = "colorama", marker = "sys_platform == 'win32'" }]
sdist = { url = "https://example.org/click-8.1.8.tar.gz", hash = "sha256:HASH" }

[[package]]
name = "pytest"
version = "8.0.0"
source = { registry = "https://pypi.org/simple" }
sdist = { url = "https://example.org/pytest-8.0.0.tar.gz", hash = "sha256:HASH" }

[[package]]
name = "x"
version = "1"
source = { virtual = "." }
dependencies = [{ name = "click" }]

[package.dev-dependencies]
dev = [{ name = "pytest" }]

[package.metadata]
requires-dist = [{ name = "click" }]

[package.metadata.requires-dev]
dev = [{ name = "pytest" }]
""".replace("HASH", 64 * "0")
PYLOCK = """
lock-version = "1.0"
[[packages]]
name = "numpy"
version = "2.1.0"
[[packages]]
name = "torch"
version = "2.6.0"
marker = "sys_platform == 'linux'"
"""


def _app(tmp_path: Path, **files: str) -> Path:
    for name, text in {"pyproject.toml": PROJECT, **files}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_project_table_is_read_where_there_is_no_lock(tmp_path: Path) -> None:
    assert read_requirements(_app(tmp_path)) == ["Pandas[x]>1", "numpy>=2"]


def test_a_file_of_requirements_goes_before_the_project_table(tmp_path: Path) -> None:
    text = (
        "# comment\nnumpy == 2.1.0  # pinned\n\n-r more.txt\ntorch==2.6.0 \\\n    --hash=sha256:00 "
        "--hash=sha256:11\nhttps-like @ https://example.org/a-1-py3-none-any.whl\n"
    )
    app = _app(
        tmp_path, **{"requirements.txt": text, "more.txt": "pandas ; python_version > '3'\n"}
    )
    assert read_requirements(app) == [
        "https-like@ https://example.org/a-1-py3-none-any.whl",
        "numpy==2.1.0",
        'pandas; python_version > "3"',
        "torch==2.6.0",
    ]


def test_the_locks_go_before_all_else(tmp_path: Path) -> None:
    app = _app(tmp_path, **{"requirements.txt": "nothing", "uv.lock": UV_LOCK})
    assert read_requirements(app) == ["click==8.1.8", 'colorama==0.4.6; sys_platform == "win32"']
    _app(tmp_path, **{"pylock.toml": PYLOCK})
    assert read_requirements(app) == ["numpy==2.1.0", 'torch==2.6.0; sys_platform == "linux"']


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "requirements.txt",
            "numpy >== 2",
            "requirements.txt, line 1: 'numpy >== 2' is no requirement",
        ),
        ("requirements.txt", "-e .", "line 1: '-e' is not understood"),
        (
            "requirements.txt",
            "\n--index-url https://example.org",
            "line 2: '--index-url' is not followed",
        ),
        ("requirements.txt", "x @ git+https://example.org/x", "devices could not get it"),
        ("requirements.txt", "x @ file:///x", "devices could not get it"),
        ("requirements.txt", "-r ../other.txt", "are read within the app's folder"),
        ("requirements.txt", "-r requirements.txt", "and 3 deep"),
        ("requirements.txt", "x\n" * (5 << 20), "is larger than 8 MiB"),
        ("pylock.toml", "packages = 3", "packages must be an array of tables"),
        (
            "pylock.toml",
            "[[packages]]\nname = 'x'\n[packages.vcs]\nurl = 'y'",
            "has no version of an index",
        ),
        ("pylock.toml", "a = " + "[" * 100_000, "pylock.toml is no valid TOML"),
        ("uv.lock", "version = 99", "uv.lock cannot be read"),
        ("pyproject.toml", "[project]\ndependencies = [3]", "must be a list of texts"),
    ],
)
def test_what_cannot_be_installed_elsewhere_is_refused(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    with pytest.raises(Invalid) as caught:
        read_requirements(_app(tmp_path, **{name: text}))
    assert words in caught.value.message
