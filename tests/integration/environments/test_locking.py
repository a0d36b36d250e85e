"""Locking by the real uv, from a folder of small wheels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from toy_wheels import only_from, toy_wheel

from fedops.core.errors import Invalid, Unavailable
from fedops.environments.lock_file import Lock
from fedops.environments.locking import lock

HERE = "3.11/x86_64-manylinux_2_36"
SERVER = "2.0.0.dev0+src.h0123abcd"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    only_from(monkeypatch, folder)
    return folder


@pytest.fixture
def own(tmp_path: Path, index: Path) -> Path:
    """A FedOps that needs 'toybase', and 'toytorch' for its extra."""
    toy_wheel(index, "toybase", "1.0")
    toy_wheel(index, "toybase", "1.1")
    toy_wheel(index, "toytorch")
    needs = ["toybase", 'toytorch; extra == "torch"']
    return toy_wheel(tmp_path / "own", "fedops", SERVER, needs=needs, extras=["torch"])


def versions(found: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in found.wheels}


def test_fedops_is_the_servers_own_with_the_extras_that_the_app_asks_for(own: Path) -> None:
    found = lock(["fedops[torch]>=2.0.0.dev0"], HERE, own_wheel=own)
    assert versions(found) == {"fedops": SERVER, "toybase": "1.1", "toytorch": "1.0"}
    assert found.named == ("fedops",)
    wheel = next(one for one in found.wheels if one.name == "fedops")
    assert (wheel.file, Path(wheel.location)) == (own.name, own)
    assert wheel.sha256 == hashlib.sha256(own.read_bytes()).hexdigest()


def test_an_app_that_does_not_name_fedops_gets_it_too(own: Path, index: Path) -> None:
    toy_wheel(index, "helper", needs=["fedops>=2"])  # of no release that is known here
    found = lock(["helper"], HERE, own_wheel=own)
    assert versions(found) == {"fedops": SERVER, "helper": "1.0", "toybase": "1.1"}
    assert found.named == ("helper",)


def test_what_is_installed_on_the_server_is_preferred_where_it_fits(own: Path) -> None:
    kept = lock([], HERE, own_wheel=own, prefer={"toybase": "1.0", "other": "3"})
    assert versions(kept)["toybase"] == "1.0"
    asked = lock(["toybase>1.0"], HERE, own_wheel=own, prefer={"toybase": "1.0"})
    assert versions(asked)["toybase"] == "1.1"


def test_the_best_wheel_of_a_package_is_that_for_the_platform(own: Path, index: Path) -> None:
    old, new = "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64"
    mac, newer = "cp312-cp312-macosx_11_0_arm64", "cp311-cp311-manylinux_2_38_x86_64"
    for tag in ("py3-none-any", old, new, mac, newer):
        toy_wheel(index, "native", tag=tag)

    def chosen(platform: str) -> str:
        found = lock(["native"], platform, own_wheel=own)
        return next(one.file for one in found.wheels if one.name == "native")

    assert chosen(HERE) == f"native-1.0-{new}.whl"
    assert chosen("3.12/arm64-macos_14.0") == f"native-1.0-{mac}.whl"
    assert chosen("3.12/x86_64-windows") == "native-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["toybase>=1", "toybase<1"], "toybase>=1 and toybase<1"),
        (["no-such-thing"], "no-such-thing was not found"),
        (["fedops==1.0"], "this server runs FedOps 2.0.0.dev0"),
        (["--index-url https://x"], "is no requirement"),
        (["x @ file:///etc/passwd"], "a URL that is no wheel"),
        (["x @ git+https://example.org/x"], "a URL that is no wheel"),
        (["a"] * 501, "names 501 dependencies"),
    ],
)
def test_what_cannot_be_had_is_said(own: Path, wanted: list[str], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        lock(wanted, HERE, own_wheel=own)


def test_a_package_without_a_wheel_for_the_platform_is_named(own: Path, index: Path) -> None:
    toy_wheel(index, "native", tag="cp311-cp311-manylinux_2_17_x86_64")
    with pytest.raises(Invalid, match="native"):
        lock(["native"], "3.12/x86_64-windows", own_wheel=own)


def test_an_index_that_cannot_be_reached_is_no_fault_of_the_app(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://user:hidden-word@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(Unavailable, match="cannot be reached") as refused:
        lock(["other"], HERE, own_wheel=own)
    assert "hidden-word" not in refused.value.message


def test_what_an_index_has_as_source_only_is_taken_from_what_is_installed(
    own: Path, index: Path
) -> None:
    found = lock(["antlr4-python3-runtime>=4.9"], HERE, own_wheel=own)
    wheel = next(one for one in found.wheels if one.name == "antlr4-python3-runtime")
    assert Path(wheel.location).parent == own.parent / "installed"
