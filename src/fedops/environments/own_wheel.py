"""The FedOps that runs here, as a wheel: no index has it, and devices are to run the same."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import fedops
from fedops.core.errors import Unavailable
from fedops.environments.wheel_files import WHEEL, content_digest, folder_files, write_wheel

#: How much of the digest is in the version.
_DIGITS = 8


@dataclass(frozen=True)
class _Description:
    """What a wheel says of itself: the version, and METADATA without it, entry points and licence."""

    version: str
    metadata: str
    files: dict[str, bytes]


def own_wheel(folder: Path) -> Path:
    """The running FedOps as a wheel in ``folder``. It is made once for the same content.

    Its version ends with a digest of the content (``2.0.0.dev0+src.h0123abcd``), so that uv and pip take no
    other for it. ``Unavailable``: this FedOps does not say what it is made of.
    """
    package = Path(fedops.__file__).parent
    said = _of_source(package) or _of_installed()
    code = folder_files(package, "fedops")
    whole = content_digest({**code, **said.files, "METADATA": said.metadata.encode()})
    # A letter first: a segment of digits alone would be read as a number, and lose leading zeros.
    version = f"{said.version}+src.h{whole[:_DIGITS]}"
    path = folder / f"fedops-{version}-py3-none-any.whl"
    if not path.is_file():
        info = f"fedops-{version}.dist-info"
        about = {"METADATA": _with_version(said.metadata, version), "WHEEL": WHEEL, **said.files}
        write_wheel(
            path, info, {**code, **{f"{info}/{name}": data for name, data in about.items()}}
        )
    return path


def _with_version(metadata: str, version: str) -> bytes:
    first, rest = metadata.split("\n", 1)
    return f"{first}\nVersion: {version}\n{rest}".encode()


# --- from an installed FedOps ----------------------------------------------------------------


def _of_installed() -> _Description:
    try:
        found = distribution("fedops")
    except PackageNotFoundError:
        raise Unavailable(
            "this FedOps is not installed and has no pyproject.toml beside it: install it with pip"
        ) from None
    head, _, _ = (found.read_text("METADATA") or "").partition("\n\n")
    lines = [line for line in head.splitlines() if not line.startswith("Version:")]
    return _Description(
        version=found.version.partition("+")[0],
        metadata="\n".join([*lines, ""]),
        files=_texts(found),
    )


def _texts(found: Distribution) -> dict[str, bytes]:
    names = ("entry_points.txt", "licenses/LICENSE")
    texts = {name: found.read_text(name) for name in names}
    return {name: text.encode() for name, text in texts.items() if text}


# --- from a source tree ----------------------------------------------------------------------


def _of_source(package: Path) -> _Description | None:
    """Of a FedOps that runs from its source tree: what is installed of it may be older than that."""
    root = package.parent.parent
    file = root / "pyproject.toml"
    if package.parent.name != "src" or not file.is_file():
        return None
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    if project.get("name") != "fedops":
        return None
    files = {"entry_points.txt": _entry_points(project)}
    if (root / "LICENSE").is_file():
        files["licenses/LICENSE"] = (root / "LICENSE").read_bytes()
    return _Description(str(project["version"]), _metadata(project), files)


def _metadata(project: dict[str, Any]) -> str:
    """METADATA without the version."""
    lines = [
        "Metadata-Version: 2.4",
        "Name: fedops",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {one}" for one in project["dependencies"]),
    ]
    for extra, wanted in project.get("optional-dependencies", {}).items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {_of_extra(one, extra)}" for one in wanted]
    return "\n".join([*lines, ""])


def _of_extra(requirement: str, extra: str) -> str:
    name, _, marker = requirement.partition(";")
    both = f'({marker.strip()}) and extra == "{extra}"' if marker else f'extra == "{extra}"'
    return f"{name.strip()}; {both}"


def _entry_points(project: dict[str, Any]) -> bytes:
    groups = {"console_scripts": project.get("scripts", {}), **project.get("entry-points", {})}
    lines = []
    for group, points in sorted(groups.items()):
        lines += [f"[{group}]", *(f"{name} = {what}" for name, what in sorted(points.items())), ""]
    return "\n".join(lines).encode()
