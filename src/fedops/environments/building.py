"""An environment of exactly these wheels, built by uv without any network, whole or not there.

Its files are hard links into uv's cache, where the disk allows it: the next environment costs little.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.environments.uv import run_uv
from fedops.platforms.files import sync_all
from fedops.storage.atomic_files import sha256_of, write_atomic
from fedops.storage.blobs import is_digest
from fedops.storage.shortages import why_not_written

#: A slow disk and a thousand wheels. Seconds.
BUILD_SECONDS = 900.0
#: Written last. It says of which wheels the environment is.
_COMPLETE = "complete.json"
_VARIABLES = {
    "UV_OFFLINE": "1",
    "UV_FIND_LINKS": "",
    "UV_LINK_MODE": "hardlink",
}


def build_environment(
    target: Path,
    wheels: Sequence[Path],
    *,
    python: Path,
    cache: Path,
    whose: str = "the device",
) -> None:
    """Make ``target`` an environment of these wheels with the interpreter ``python``.

    One that is there and complete, of the same wheels, stays. ``cache``: uv's, on the same disk. A wheel in a
    folder that has its sha256 for a name is checked against it.

    Raises:
        Unavailable: the disk of ``whose`` is full. Nothing of the environment stays.
        Invalid: a wheel is damaged, or not for this interpreter.
    """
    digests = {wheel: _checked_digest(wheel) for wheel in wheels}
    content = sorted(f"{wheel.name} {digest}" for wheel, digest in digests.items())
    if is_complete(target) and _built_of(target) == content:
        return
    try:
        _remove(target, cache)
        _build(target, digests, _Uv(python, cache, whose))
        sync_all()  # uv leaves its files to the system, and what is called complete must have them
        write_atomic(target / _COMPLETE, json.dumps({"wheels": content}).encode())
    except OSError as error:
        _give_up(target, cache)
        raise Unavailable(why_not_written(error, target, whose)) from error
    except Unavailable:
        _give_up(target, cache)
        raise
    except FedOpsError:
        shutil.rmtree(target, ignore_errors=True)
        raise


def environment_python(target: Path) -> Path:
    """The interpreter of an environment."""
    windows = target / "Scripts" / "python.exe"
    return windows if windows.parent.is_dir() else target / "bin" / "python"


def is_complete(target: Path) -> bool:
    """Whether it was built to the end, and the interpreter that it was built with is there still."""
    return (target / _COMPLETE).is_file() and environment_python(target).exists()


def installed_packages(target: Path, names: Iterable[str]) -> dict[str, str]:
    """The versions of these distributions in an environment, by the names given. Others are left out."""
    places = [*target.glob("lib/python3*/site-packages"), *target.glob("Lib/site-packages")]
    found = {
        canonicalize_name(one.metadata["Name"]): one.version
        for one in distributions(path=[str(place) for place in places])
    }
    return {
        name: found[canonicalize_name(name)] for name in names if canonicalize_name(name) in found
    }


def _checked_digest(wheel: Path) -> str:
    """The sha256 of a wheel. ``Invalid``: it is not what its folder says."""
    try:
        digest = sha256_of(wheel)
    except OSError as error:
        raise Invalid(f"the wheel {wheel} cannot be read: {error.strerror or error}") from None
    if is_digest(wheel.parent.name) and wheel.parent.name != digest:
        raise Invalid(f"the wheel {wheel} is damaged: remove it, and it is fetched again")
    return digest


def _built_of(target: Path) -> list[str]:
    try:
        said = json.loads((target / _COMPLETE).read_text(encoding="utf-8"))
        return list(said["wheels"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


@dataclass(frozen=True)
class _Uv:
    """uv with a cache of its own and without any network."""

    python: Path
    cache: Path
    whose: str

    def run(self, arguments: Sequence[str], where: Path) -> None:
        variables = {**_VARIABLES, "UV_CACHE_DIR": str(self.cache.resolve())}
        run_uv(arguments, seconds=BUILD_SECONDS, where=where, whose=self.whose, variables=variables)


def _build(target: Path, digests: Mapping[Path, str], uv: _Uv) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    place = target.resolve()
    uv.run(["venv", "--no-project", "--python", str(uv.python), str(place)], place.parent)
    listed = place / "wheels.txt"
    lines = (_requirement(wheel, digest) for wheel, digest in digests.items())
    listed.write_text("".join(lines), encoding="utf-8")
    install = ["pip", "install", "--python", str(environment_python(place))]
    install += ["--no-index", "--no-deps", "--require-hashes", "--requirement", str(listed)]
    uv.run(install, place.parent)


def _requirement(wheel: Path, digest: str) -> str:
    try:
        name = parse_wheel_filename(wheel.name)[0]
    except InvalidWheelFilename:
        raise Invalid(f"'{wheel.name}' is no file name of a wheel") from None
    return f"{name} @ {wheel.resolve().as_uri()} --hash=sha256:{digest}\n"


def _remove(target: Path, cache: Path) -> None:
    """What is there. Its mark goes first: a half removed one is never taken for whole.

    What an interrupted build left goes with the cache: a power cut may have emptied files of that, too.
    """
    if target.exists() and not (target / _COMPLETE).is_file():
        shutil.rmtree(cache, ignore_errors=True)
    (target / _COMPLETE).unlink(missing_ok=True)
    if target.exists():
        shutil.rmtree(target)


def _give_up(target: Path, cache: Path) -> None:
    """Leave the disk as it was found. A half removed cache goes once more: see ``_remove``."""
    for folder in (cache, target):
        shutil.rmtree(folder, ignore_errors=True)
