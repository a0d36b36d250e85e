"""The bundle that an app travels in."""

import io
import zipfile
from pathlib import Path

import pytest
from tiny_app import PYPROJECT, write_app

from fedops.core.errors import Invalid
from fedops.flower.app_package import build_bundle


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return write_app(tmp_path / "app")


def test_a_bundle_holds_the_app_and_is_the_same_each_time(app: Path) -> None:
    (app / "tiny" / "data.npz").write_bytes(b"not to be sent")
    bundle = build_bundle(app)
    names = set(zipfile.ZipFile(io.BytesIO(bundle)).namelist())
    assert {"pyproject.toml", "tiny/parts.py", "tiny/config.toml"} <= names
    assert "tiny/data.npz" not in names
    assert bundle == build_bundle(app)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("pyproject.toml", None, "it has no pyproject.toml"),
        ("pyproject.toml", "[project\n", "is no valid TOML"),
        ("tiny/config.toml", "num_rounds = 0\nbatchsize = 3\n", "num_rounds = 0"),
        (
            "pyproject.toml",
            PYPROJECT.replace("publisher", "publishr"),
            "cannot be bundled as a Flower app",
        ),
    ],
)
def test_what_is_no_app_is_not_bundled(
    app: Path, file: str, content: str | None, message: str
) -> None:
    path = app / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(Invalid, match=message.replace("[", r"\[")):
        build_bundle(app)
