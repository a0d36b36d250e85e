"""Environments built by the real uv, and the store of their wheels."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_disk import small_disk
from toy_wheels import toy_wheel, wheel_ref

from fedops.core.errors import Invalid, Unavailable
from fedops.environments.building import (
    build_environment,
    environment_python,
    installed_packages,
    is_complete,
)
from fedops.environments.wheel_store import WheelStore

PYTHON = Path(sys.executable)


@pytest.fixture
def store(tmp_path: Path) -> WheelStore:
    return WheelStore(tmp_path / "wheels")


def kept(store: WheelStore, wheel: Path) -> Path:
    return store.add(wheel, wheel_ref(wheel))


def version_in(target: Path, module: str) -> str:
    command = [environment_python(target), "-I", "-c", f"import {module}; print({module}.VERSION)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_an_environment_has_exactly_its_wheels(tmp_path: Path, store: WheelStore) -> None:
    wheels = [
        kept(store, toy_wheel(tmp_path, "toyone", "1.5", needs=["toymissing"])),
        kept(store, toy_wheel(tmp_path, "toytwo")),
    ]
    target, cache = tmp_path / "env", tmp_path / "cache"
    assert not is_complete(target)
    build_environment(target, wheels, python=PYTHON, cache=cache)
    assert is_complete(target)
    assert version_in(target, "toyone") == "1.5"
    names = ["toyone", "Toy.Two", "toytwo", "pytest"]
    assert installed_packages(target, names) == {"toyone": "1.5", "toytwo": "1.0"}
    made = environment_python(target).lstat().st_mtime_ns
    build_environment(target, wheels, python=PYTHON, cache=cache)
    assert environment_python(target).lstat().st_mtime_ns == made


def test_what_was_interrupted_is_built_anew(tmp_path: Path, store: WheelStore) -> None:
    wheel = kept(store, toy_wheel(tmp_path, "toyone"))
    target = tmp_path / "env"
    (target / "bin").mkdir(parents=True)
    (target / "bin" / "python").symlink_to(PYTHON)
    assert not is_complete(target)
    build_environment(target, [wheel], python=PYTHON, cache=tmp_path / "cache")
    assert version_in(target, "toyone") == "1.0"
    newer = kept(store, toy_wheel(tmp_path, "toyone", "2.0"))
    build_environment(target, [newer], python=PYTHON, cache=tmp_path / "cache")
    assert version_in(target, "toyone") == "2.0"


def test_a_cache_that_a_power_cut_has_damaged_is_not_used(
    tmp_path: Path, store: WheelStore
) -> None:
    wheel = kept(store, toy_wheel(tmp_path, "toyone"))
    target, cache = tmp_path / "env", tmp_path / "cache"
    build_environment(target, [wheel], python=PYTHON, cache=cache)
    (emptied,) = cache.glob("archive-*/*/toyone/__init__.py")
    emptied.write_text("")
    (target / "complete.json").unlink()
    build_environment(target, [wheel], python=PYTHON, cache=cache)
    assert version_in(target, "toyone") == "1.0"


def test_a_damaged_wheel_and_one_of_another_platform_are_refused(
    tmp_path: Path, store: WheelStore
) -> None:
    target, cache = tmp_path / "env", tmp_path / "cache"
    foreign = kept(store, toy_wheel(tmp_path, "toyone", tag="cp311-cp311-win_amd64"))
    with pytest.raises(Invalid, match=r"toyone|platform"):
        build_environment(target, [foreign], python=PYTHON, cache=cache)
    wheel = kept(store, toy_wheel(tmp_path, "toytwo"))
    wheel.unlink()
    wheel.write_bytes(b"something else")
    with pytest.raises(Invalid, match="damaged"):
        build_environment(target, [wheel], python=PYTHON, cache=cache)
    assert not target.exists()


def test_on_a_full_disk_nothing_stays_and_it_is_said(tmp_path: Path) -> None:
    large = "DATA = '" + "".join(f"{n * 7919 % 104729:x}" for n in range(1_000_000)) + "'\n"
    wheel = toy_wheel(tmp_path, "toylarge", code=large)
    disk = tmp_path / "disk"
    with small_disk(disk, 3 << 20):
        with pytest.raises(Unavailable, match="the device's disk is full"):
            build_environment(disk / "env", [wheel], python=PYTHON, cache=disk / "cache")
        assert not (disk / "env").exists()
        assert shutil.disk_usage(disk).free > 2 << 20


def test_a_store_keeps_wheels_by_digest_under_their_names(
    tmp_path: Path, store: WheelStore
) -> None:
    wheel = toy_wheel(tmp_path, "toyone")
    ref = wheel_ref(wheel)
    assert store.path(ref) is None
    path = store.add(wheel, ref)
    assert path == store.path(ref) == store.add(wheel, ref)
    assert (path.parent.name, path.name) == (ref.sha256, wheel.name)
    other = toy_wheel(tmp_path, "toytwo")
    with pytest.raises(Invalid, match="not what was announced"):
        store.add(other, ref.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(Invalid, match="no file name of a wheel"):
        store.path(ref.model_copy(update={"name": "../../toyone-1.0-py3-none-any.whl"}))
    store.add(other, wheel_ref(other))
    store.free({ref.sha256})
    assert store.path(wheel_ref(other)) is None
    assert store.path(ref) == path
