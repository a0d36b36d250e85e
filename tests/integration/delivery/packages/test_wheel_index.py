"""A new machine installs FedOps from the server that it will join, by the lines that an operator pastes."""

from __future__ import annotations

import ensurepip
import os
import subprocess
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from managing import managing
from serving import serving
from toy_fedops import VERSION, toy_fedops
from toy_wheels import toy_wheel

from fedops.core.delivery.install_lines import install_lines
from fedops.core.errors import Conflict, Invalid, Unavailable
from fedops.server.app import create_app, front
from fedops.server.delivery.packages.wheel_index import (
    FAILED_SECONDS,
    MAX_PLATFORMS,
    WheelIndex,
)
from fedops.server.tls.certificates import Certificates
from fedops.server.tls.endpoint import ca_fingerprint
from fedops.settings import ServerSettings
from fedops.testing import FakeEngines

HERE, WINDOWS = "3.11/x86_64-manylinux_2_36", "3.12/x86_64-windows"
JSON = "application/vnd.pypi.simple.v1+json"
PIP_ON_WINDOWS = 'pip/25.0 {"cpu": "AMD64", "python": "3.12.4", "system": {"name": "Windows"}}'


@pytest.fixture
def index(packages: Path, tmp_path: Path) -> WheelIndex:
    return WheelIndex(tmp_path / "home", own=toy_fedops)


@pytest.fixture
def url(tmp_path: Path, index: WheelIndex) -> Iterator[str]:
    """Of a server with that index. It asks no database."""
    with managing(tmp_path) as world:
        world.app.state.services = replace(world.manager.services, index=index)
        yield world.url


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers={k.replace("_", "-"): v for k, v in headers.items()}, timeout=60)


# --- what is asked ---------------------------------------------------------------------------


def test_pages_name_what_fits_the_caller_with_its_digest(
    url: str, index: WheelIndex, packages: Path
) -> None:
    toy_wheel(packages, "toybase", "1.2", tag="py3-none-win_amd64")
    assert get(f"{url}/simple/toybase/").status_code == 404  # nobody asked for FedOps yet
    (own,) = get(f"{url}/simple/fedops/", accept=JSON).json()["files"]
    assert own["filename"] == f"fedops-{VERSION}-py3-none-any.whl"
    listed = get(f"{url}/simple/", accept=JSON)
    assert listed.headers["content-type"] == JSON
    assert [one["name"] for one in listed.json()["projects"]] == ["fedops", "toybase"]
    page = get(f"{url}/simple/toybase/")
    assert "toybase-1.1-py3-none-any.whl</a>" in page.text
    assert "#sha256=" in page.text
    assert get(f"{url}/simple/FedOps/", user_agent=PIP_ON_WINDOWS).status_code == 200
    (file,) = get(f"{url}/simple/ToyBase/", accept=JSON, user_agent=PIP_ON_WINDOWS).json()["files"]
    assert file["filename"] == "toybase-1.2-py3-none-win_amd64.whl"
    got = get(str(httpx.URL(f"{url}/simple/toybase/").join(file["url"])))
    assert len(got.content) == file["size"]
    assert (got.status_code, got.headers["x-content-type-options"]) == (200, "nosniff")


@pytest.mark.parametrize(
    "path",
    [
        "/simple/pip/",
        "/simple/files/" + "0" * 64 + "/toybase-1.1-py3-none-any.whl",
        "/simple/files/" + "0" * 64 + "/..%2f..%2fadmin-token",
        "/simple/files/..%2f..%2f..%2fadmin-token/x",
    ],
)
def test_nothing_else_is_served(url: str, path: str) -> None:
    assert get(url + path).status_code in (404, 422)


def test_what_was_prepared_is_there_after_a_restart_and_new_with_another_fedops(
    index: WheelIndex, packages: Path, tmp_path: Path
) -> None:
    first = index.wheels(HERE, wait=60)
    toy_wheel(packages, "toybase", "1.3")
    again = WheelIndex(tmp_path / "home", own=toy_fedops)
    assert again.wheels(HERE, wait=60) == first

    def newer(folder: Path) -> Path:
        return toy_wheel(folder, "fedops", "2.1.0+src.h1", needs=["toybase"])

    upgraded = WheelIndex(tmp_path / "home", own=newer).wheels(HERE, wait=60)
    assert {wheel.name for wheel in upgraded} == {
        "fedops-2.1.0+src.h1-py3-none-any.whl",
        "toybase-1.3-py3-none-any.whl",
    }


def test_many_who_ask_at_once_have_it_prepared_once(packages: Path, tmp_path: Path) -> None:
    made = []

    def own(folder: Path) -> Path:
        made.append(folder)
        return toy_fedops(folder)

    index, answers = WheelIndex(tmp_path / "home", own=own), []
    threads = [
        threading.Thread(target=lambda: answers.append(index.wheels(HERE, wait=60)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(answers) == 5


def test_strangers_have_it_prepared_for_a_few_platforms_only(
    index: WheelIndex, tmp_path: Path
) -> None:
    (tmp_path / "home" / "index").mkdir(parents=True)
    for number in range(MAX_PLATFORMS):
        (tmp_path / "home" / "index" / f"3.{number}-x86_64-windows.json").touch()
    with pytest.raises(Conflict, match=f"{MAX_PLATFORMS} platforms already"):
        index.wheels(HERE, wait=60)
    with pytest.raises(Invalid):
        index.wheels("3.11/x86_64-plan9", wait=60)


def test_platforms_that_failed_take_no_place_for_ever(packages: Path, tmp_path: Path) -> None:
    seconds, away = [0.0], [True]

    def own(folder: Path) -> Path:
        if away[0]:
            raise Unavailable("the disk is full")
        return toy_fedops(folder)

    index = WheelIndex(tmp_path / "home", monotonic=lambda: seconds[0], own=own)
    for number in range(MAX_PLATFORMS):
        with pytest.raises(Unavailable):
            index.wheels(f"3.{number + 20}/x86_64-windows", wait=60)
    with pytest.raises(Conflict):
        index.wheels(HERE, wait=60)
    seconds[0], away[0] = FAILED_SECONDS + 1, False
    assert index.wheels(HERE, wait=60)


# --- the lines -------------------------------------------------------------------------------


def paste(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """On a machine whose own configuration names another index, and another authority."""
    folder.mkdir()
    (folder / "pip.conf").write_text("[global]\nextra-index-url = http://127.0.0.1:9/simple\n")
    elsewhere = {
        "PIP_CONFIG_FILE": str(folder / "pip.conf"),
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_FIND_LINKS": "/nowhere",
        "REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt",
    }
    first, *rest = install_lines(url)
    assert first == "python3 -m venv fedops &&"
    make_environment(folder / "fedops")
    return subprocess.run(
        ["sh", "-c", "\n".join(rest)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **elsewhere},
        capture_output=True,
        text=True,
        check=False,
    )


def make_environment(folder: Path) -> None:
    """What the first line does, but that pip is not unpacked, which would take the longest of all."""
    venv.create(folder, symlinks=True)
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "pip.pth").write_text(f"{pip}\n")


def said_by_fedops(folder: Path) -> str:
    command = [str(folder / "fedops" / "bin" / "fedops")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_lines_install_fedops_over_http(url: str, tmp_path: Path) -> None:
    done = paste(url, tmp_path / "machine")
    assert done.returncode == 0, done.stdout + done.stderr
    assert said_by_fedops(tmp_path / "machine") == f"toy {VERSION} 1.1"


@contextmanager
def serving_tls(folder: Path, index: WheelIndex) -> Iterator[tuple[str, str]]:
    """The URL of a server with its own authority, and the authority's fingerprint."""
    settings = ServerSettings(home=folder / "server", tls="on")
    certificates = Certificates(settings.tls_folder, lambda: frozenset({"127.0.0.1"}))
    certificates.ensure()
    app = create_app(settings, FakeEngines(), workers=False)
    app.state.services = replace(app.state.services, index=index)
    with serving(front(app), certificate=certificates.server_file) as port:
        yield f"https://127.0.0.1:{port}", ca_fingerprint(settings) or ""


def test_the_lines_install_fedops_by_an_authority_that_they_compare(
    index: WheelIndex, tmp_path: Path
) -> None:
    with serving_tls(tmp_path, index) as (url, fingerprint):
        done = paste(f"{url}#{fingerprint}", tmp_path / "machine")
        assert done.returncode == 0, done.stdout + done.stderr
        other = paste(f"{url}#sha256:{'0' * 64}", tmp_path / "other")
    assert said_by_fedops(tmp_path / "machine") == f"toy {VERSION} 1.1"
    assert other.returncode != 0
    assert "not the server that the line is of" in other.stderr
    assert not (tmp_path / "other" / "fedops" / "bin" / "fedops").exists()
    assert not any("--trusted-host" in line for line in install_lines(f"{url}#{fingerprint}"))
