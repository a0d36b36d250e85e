"""What an app requires, as its own files say: a lock where there is one, else its project table."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from fedops.core.errors import Invalid, Unavailable

#: No file of requirements and no lock is larger. Bytes.
MAX_BYTES = 8 << 20
#: No app requires more.
MAX_REQUIREMENTS = 2_000
_DEEPEST = 3
_EXPORT_SECONDS = 60.0
_HASHES = re.compile(r"\s--hash[=\s]\S+")
_COMMENT = re.compile(r"(^|\s)#.*$")
#: Options of pip that say where packages are from.
_INDEXES = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index")


def read_requirements(app_dir: Path) -> list[str]:
    """The requirements of an app, sorted: of ``pylock.toml``, ``uv.lock`` or ``requirements.txt``, else of
    ``[project] dependencies``.

    Raises:
        Invalid: one is none, or of a kind that cannot be installed on another machine.
        Unavailable: ``uv.lock`` cannot be read here.
    """
    if (app_dir / "pylock.toml").is_file():
        found = list(_of_pylock(app_dir / "pylock.toml"))
    elif (app_dir / "uv.lock").is_file():
        found = list(_of_lines(_exported(app_dir), "uv.lock", app_dir, 0))
    elif (app_dir / "requirements.txt").is_file():
        found = list(_of_file(app_dir / "requirements.txt", app_dir, 0))
    else:
        found = list(_of_project(app_dir / "pyproject.toml"))
    if len(found) > MAX_REQUIREMENTS:
        raise Invalid(f"the app has {len(found)} requirements, more than {MAX_REQUIREMENTS:,}")
    return sorted(set(found))


def _requirement(text: str, where: str) -> str:
    """One requirement in its usual form."""
    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0][:200]
        raise Invalid(f"{where}: '{text[:200]}' is no requirement: {reason}") from None
    if found.url is not None and found.url.partition(":")[0] not in ("https", "http"):
        raise Invalid(
            f"{where}: '{text[:200]}' is not a package of an index nor a file to download: devices could not "
            "get it. Put its code into the app, or publish it as a package"
        )
    return str(found)


# --- the project table -----------------------------------------------------------------------


def _of_project(file: Path) -> Iterator[str]:
    project = _toml(file).get("project", {})
    listed = project.get("dependencies", []) if isinstance(project, Mapping) else []
    where = "pyproject.toml [project] dependencies"
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise Invalid(f"{where}: must be a list of texts")
    for text in listed:
        yield _requirement(text, where)


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{file.name} is no valid TOML: {error}") from None


def _text(file: Path) -> str:
    if file.stat().st_size > MAX_BYTES:
        raise Invalid(f"{file.name} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"{file.name} is not UTF-8 text") from None


# --- pylock.toml -----------------------------------------------------------------------------


def _of_pylock(file: Path) -> Iterator[str]:
    """The pins of a lock (PEP 751)."""
    packages = _toml(file).get("packages", [])
    if not isinstance(packages, list) or not all(isinstance(one, Mapping) for one in packages):
        raise Invalid(f"{file.name}: packages must be an array of tables")
    for package in packages:
        name, version = package.get("name"), package.get("version")
        marker = f" ; {package['marker']}" if package.get("marker") else ""
        archive = package.get("archive")
        if isinstance(archive, Mapping) and archive.get("url"):
            yield _requirement(f"{name} @ {archive['url']}{marker}", file.name)
        elif version is None or "vcs" in package or "directory" in package:
            raise Invalid(
                f"{file.name}: '{name}' has no version of an index: devices could not get it. Put its code "
                "into the app, or publish it as a package"
            )
        else:
            yield _requirement(f"{name}=={version}{marker}", file.name)


# --- uv.lock ---------------------------------------------------------------------------------


def _exported(app_dir: Path) -> str:
    """The pins of the project alone, without those for its development."""
    from uv import find_uv_bin

    words = ["export", "--frozen", "--offline", "--no-dev", "--no-emit-project", "--no-hashes"]
    words += ["--no-header", "--no-annotate", "--no-config", "--no-python-downloads", "--quiet"]
    command = [find_uv_bin(), *words, "--python", sys.executable, "--project", str(app_dir)]
    try:
        done = subprocess.run(
            command,
            cwd=app_dir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_EXPORT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"uv.lock cannot be read: {error}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise Invalid(f"uv.lock cannot be read: {said[0][:300] if said else 'uv said nothing'}")
    return done.stdout.decode(errors="replace")


# --- requirements.txt ------------------------------------------------------------------------


def _of_file(file: Path, app_dir: Path, depth: int) -> Iterator[str]:
    inside = file.resolve().is_relative_to(app_dir.resolve())
    if not inside or not file.is_file() or depth > _DEEPEST:
        raise Invalid(
            f"{file.name}: files of requirements are read within the app's folder, and {_DEEPEST} deep"
        )
    yield from _of_lines(_text(file), file.name, app_dir, depth)


def _of_lines(text: str, name: str, app_dir: Path, depth: int) -> Iterator[str]:
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        line = _HASHES.sub("", _COMMENT.sub("", line)).strip()
        if line:
            yield from _of_line(line, f"{name}, line {number}", app_dir, depth)


def _of_line(line: str, where: str, app_dir: Path, depth: int) -> Iterator[str]:
    word, _, rest = line.replace("=", " ", 1).partition(" ") if line[0] == "-" else ("", "", "")
    if word in ("-r", "--requirement"):
        yield from _of_file(app_dir / rest.strip(), app_dir, depth + 1)
    elif word in _INDEXES:
        raise Invalid(
            f"{where}: '{word}' is not followed: the server takes packages from the index that it is set up "
            "with. Take the line out"
        )
    elif word:
        raise Invalid(f"{where}: '{word}' is not understood: one requirement a line is")
    else:
        yield _requirement(line, where)
