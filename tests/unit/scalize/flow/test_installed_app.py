"""An app that Flower has unpacked finds the code that lies beside the folder it was installed from."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fedops.core.errors import Invalid
from fedops.flower.app_package import build_bundle
from fedops.scalize.discovery.scaffold import init_project
from fedops.scalize.flow.installed_app import app_folder

Install = Callable[[str, bool], None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "with space" / "spam"
    folder.mkdir(parents=True)
    (folder / "spam.py").write_text(
        "from sklearn.naive_bayes import GaussianNB\n"
        "def make_model(): return GaussianNB()\ndef load_data(): return [[0.0]], [0]\n"
    )
    return init_project(folder).folder


@pytest.fixture
def unpacked(project: Path, tmp_path: Path) -> Path:
    """What a bundle of Flower's own making has of the app: its folder alone."""
    target = tmp_path / "apps" / "local.spam.0.1.0"
    for file in project.rglob("*"):
        if file.is_file():
            copy = target / file.relative_to(project)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    return target


@pytest.fixture
def install(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Notes an installation as pip does."""

    def note(name: str, editable: bool) -> None:
        info = tmp_path / "site" / f"{name.replace('-', '_')}-0.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        noted = {"url": project.as_uri(), "dir_info": {"editable": True} if editable else {}}
        (info / "direct_url.json").write_text(json.dumps(noted))
        monkeypatch.syspath_prepend(str(tmp_path / "site"))

    return note


def test_a_folder_with_its_code_is_taken_as_it_is(project: Path) -> None:
    assert app_folder(project) == project


def test_the_folder_of_an_editable_installation(
    unpacked: Path, project: Path, install: Install
) -> None:
    install("spam-federated", True)
    assert app_folder(unpacked) == project


def test_what_building_left_in_the_folder_does_not_hide_it(
    unpacked: Path, project: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a simulation the app's own folder comes first on the import path."""
    install("spam-federated", True)
    left = project / "spam_federated.egg-info"
    left.mkdir()
    (left / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: spam-federated\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(str(project))
    assert app_folder(unpacked) == project


@pytest.mark.parametrize("installed", ["", "spam-federated", "other"])
def test_without_one_it_says_what_to_do(unpacked: Path, install: Install, installed: str) -> None:
    if installed:
        install(installed, installed == "other")
    with pytest.raises(Invalid, match=r"'spam-federated'.*pip install -e \."):
        app_folder(unpacked)


def test_a_bundle_for_the_server_carries_its_code(project: Path, tmp_path: Path) -> None:
    import io
    import zipfile

    zipfile.ZipFile(io.BytesIO(build_bundle(project))).extractall(tmp_path / "bundle")
    assert app_folder(tmp_path / "bundle") == tmp_path / "bundle"
