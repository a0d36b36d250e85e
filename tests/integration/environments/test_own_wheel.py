"""The wheel of the FedOps that runs here."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

import fedops
from fedops.environments.own_wheel import own_wheel

RUN = "import sys; sys.path.insert(0, sys.argv[1]); sys.path.append(sys.argv[2]); "
MAKE = RUN + (
    "from pathlib import Path; from fedops.environments.own_wheel import own_wheel; "
    "print(own_wheel(Path(sys.argv[3])))"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_wheel(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    folder = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_same_content_is_the_same_file(wheel: Path, tmp_path: Path) -> None:
    again = own_wheel(tmp_path)
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())
    made = wheel.stat().st_mtime_ns
    assert own_wheel(wheel.parent) == wheel
    assert wheel.stat().st_mtime_ns == made


def test_it_says_what_pyproject_says(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    found = Distribution.at(info)
    assert found.version.startswith("2.")
    assert "+src.h" in found.version
    assert any(need.startswith("flwr") for need in found.requires or ())
    assert 'torch>=2.6; extra == "torch"' in (found.requires or ())
    assert "torch" in found.metadata.get_all("Provides-Extra", [])
    assert {"fedops", "pytorch"} <= {point.name for point in found.entry_points}
    listed = {str(file) for file in found.files or ()}
    there = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*")}
    assert {f for f in there if (unpacked / f).is_file()} == listed
    assert "fedops/py.typed" in listed
    assert not any("__pycache__" in file for file in listed)


def test_an_installed_one_makes_the_same_wheel_of_itself(
    wheel: Path, unpacked: Path, tmp_path: Path
) -> None:
    """What a device that installed it would serve, or a server that was installed from another."""
    home = tmp_path / "installed"
    shutil.copytree(unpacked, home)
    libraries = next(path for path in sys.path if (Path(path) / "pydantic").is_dir())
    done = subprocess.run(
        [sys.executable, "-I", "-c", MAKE, str(home), libraries, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).name == wheel.name
    assert Path(fedops.__file__).parent != home / "fedops"
